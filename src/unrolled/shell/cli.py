"""`unrolled ...`: what a person does outside the pipeline."""

import os
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from unrolled.ground.registry import has_part, task_names, task_part
from unrolled.settings.loader import PARAMS, load_params
from unrolled.settings.own_path import check_path
from unrolled.settings.recipes import Measurement, Rung, measured, read
from unrolled.settings.recipes import names as all_recipes
from unrolled.settings.recipes import use as use_recipe
from unrolled.shell.endings import ending, one_line_errors
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import pipeline, repository
from unrolled.tracking.environment import set_mlflow_defaults

P = ParamSpec("P")


@click.group()
@click.version_option(package_name="unrolled", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """A reproducible laboratory of recurrent language models.

    `make repro` trains what params.yaml asks for; these commands do the rest. They work on the pipeline of the folder
    that they are called in: the language model at the root, or a task in pipelines/.
    """
    if os.environ.get("NO_COLOR"):  # no-color.org; click does not heed it
        context.color = False


def in_pipeline(command: Callable[P, None]) -> Callable[P, None]:
    """Work in the pipeline's folder that the caller is in or below, and say so where it is another."""

    @wraps(command)
    def moved(*args: P.args, **kwargs: P.kwargs) -> None:
        with _its_folder():
            command(*args, **kwargs)

    return moved


@contextmanager
def _its_folder() -> Iterator[None]:
    folder = pipeline()
    if folder != Path():
        click.echo(click.style(f"in {folder}:", dim=True), err=True)
    with chdir(folder):
        yield


@main.command()
@one_line_errors
@in_pipeline
def check() -> None:
    """Validate params.yaml, and remove what a killed DVC left.

    Also sees that your own corpus is where params.yaml says.
    """
    # Here, not above: they take seconds to import, and the other commands are to answer at once.
    from unrolled.corpus.of_task import data_of
    from unrolled.shell.dvc_leftovers import take_away

    params = load_params(PARAMS)
    corpus = params.sections["corpus"]
    check_path(corpus.get("path"))
    if data_of(params.task).CATALOGUE[corpus["name"]].own and not Path(corpus["path"]).exists():
        raise UserError(f"{PARAMS}: 'corpus.path': {corpus['path']!r} does not exist; name a file or a folder")
    if remains := take_away():
        click.echo(f"{', '.join(map(str, remains))}: half-written when DVC was killed; removed", err=True)


@main.command()
@one_line_errors
@in_pipeline
def doctor() -> None:
    """Check that a training has all that it needs.

    Looks at versions, threads, device, write access, DVC, MLflow, the corpus and room on the disk, and says how to fix
    what is amiss. Ends with status 1 where something must be fixed first.
    """
    # Here, not above: torch takes seconds to import, and the other commands are to answer at once.
    from unrolled.shell.doctor import examine

    ill = 0
    for finding in examine():
        mark = click.style("ok  ", fg="green") if finding.well else click.style("FAIL", fg="red")
        click.echo(f"{mark} {finding.about + ':':14}{finding.said}")
        ill += not finding.well
    if ill:
        raise UserError(f"{ill} problems must be fixed first" if ill > 1 else "one problem must be fixed first")


@main.command()
@one_line_errors
@in_pipeline
def arms() -> None:
    """Print the name of every arm in params.yaml."""
    for arm in load_params(PARAMS).arms:
        click.echo(arm)


@main.command()
@one_line_errors
@in_pipeline
def recipes() -> None:
    """List the recipes, with what they reached here.

    And what was published, where it was.
    """
    task = load_params(PARAMS).task
    for name in all_recipes():
        recipe, kept = read(name), measured(name)
        click.echo(f"{name}: {recipe.about}")
        for rung in recipe.rungs:
            click.echo(f"    {rung.title}: {_expected(task, rung, [kept[arm] for arm in rung.arms if arm in kept])}")


def _expected(task: str, rung: Rung, runs: list[Measurement]) -> str:
    """The test score of each seed, minutes and date as measured here, beside what was published."""
    declared, key = task_part(task, "scores").SCORES, task_part(task, "ladder").VALID
    score, own = rung.name_of_score(declared), rung.own_score(declared)
    main = score == declared[0].name
    scores = [f"{figure:.2f}" for run in runs if (figure := rung.reached(run, declared)) is not None]
    valid = [f"{run[key]:.2f}" for run in runs if run.get(key)]
    said = f"test {', '.join(scores)}" if scores else "not measured here yet"
    if scores and own:
        said = f"{own.heading}, {said}"
    if scores and main:
        said = f"valid {', '.join(valid)}; {said}"
    if seconds := [run["seconds"] for run in runs if "seconds" in run and main]:
        unit, length = ("seconds", 1) if max(seconds) < 60 else ("minutes a seed", 60)
        ends = dict.fromkeys(f"{end(seconds) / length:.0f}" for end in (min, max))
        said += f"; {' to '.join(ends)} {unit}"
    if dates := [run["date"] for run in runs]:
        said += f" ({max(dates)})"
    if rung.published and rung.published.test:
        said += f"; published: test {rung.published.test:g}"
    return said


@main.command()
@click.argument("name")
@one_line_errors
@in_pipeline
def use(name: str) -> None:
    """Write the recipe NAME into params.yaml.

    `unrolled recipes` lists the names, and `git diff` shows what has changed. Then train with: dvc repro
    """
    use_recipe(name)
    click.echo(f"{PARAMS} now holds recipe {name}; run it with: dvc repro")


@main.command()
@click.argument("name")
@one_line_errors
@in_pipeline
def keep(name: str) -> None:
    """Note the results that stand here as those of the recipe NAME.

    They are read from runs/, evaluation/ and baselines/, and written to recipes/ and to the ladder in docs/.
    """
    # Here, not above: torch takes seconds to import, and the other commands are to answer at once.
    from unrolled.report.ladder import climb, write
    from unrolled.report.recipe_results import keep as keep_measurements

    for arm in keep_measurements(name):
        click.echo(f"{name}: {arm} noted")
    write(climb(load_params(PARAMS).task, corpus=read(name).section("corpus").get("name")), Path("docs"))


@main.command()
@click.argument("beside", metavar="[CLONE]...", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@one_line_errors
def lecture(beside: tuple[Path, ...]) -> None:
    """Write docs/lecture.md: the lecture, and whether it held here.

    Each of its statements stands beside what the pipelines that have run here found. CLONE: another one of this
    repository, where an experiment ran that has figures of its own, as after: unrolled use depth && dvc repro.
    """
    from unrolled.report.lecture import write  # here: a task's report takes seconds to import

    root = repository(Path())
    for folder in write(root, root / "docs" / "lecture.md", beside):
        click.echo(f"of {folder if folder != '.' else 'the root'}: told")


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port; if taken, the next free one.")
@ending("the user interface is closed; what was published stays")
def ui(port: int) -> None:
    """Open the results in MLflow's user interface."""
    set_mlflow_defaults()
    # Here, not above: mlflow reads its environment while it is imported, and takes 2 s for it.
    from unrolled.tracking.ui import serve

    serve(Path(), port)


@main.command()
@ending("the store is as it was")
def relocate() -> None:
    """Mend the MLflow store after the repository was moved.

    The places that it names are those of the new folder from then on; experiments and runs stay as they are.
    """
    from unrolled.shell.store import Store
    from unrolled.tracking.relocation import relocate as point_here  # here: a task's network takes seconds to import

    store = Store.locate(Path())
    moved = point_here(store)
    told = f"{moved} places in {store.database} now point to {store.artifacts}"
    click.echo(told if moved else f"{store.database} is where it was made; nothing to change")


@main.command()
@click.argument("address")
@click.option("--any-worker", is_flag=True, envvar="UNROLLED_ANY_WORKER", help="Also by workers of other versions.")
@click.option("--check", is_flag=True, help="Send nothing; see that the remote and workers are there.")
@click.option("--queue", is_flag=True, help="Run DVC's queue of experiments, in place of dvc queue start.")
@ending("arms that were pushed stand, the others end; the same command goes on")
@in_pipeline
def distribute(address: str, any_worker: bool, check: bool, queue: bool) -> None:
    """Have arms made by the workers of a Dask cluster.

    ADDRESS is that of its scheduler, as tcp://127.0.0.1:8786. Arms that are up to date are left out. `dvc repro` then
    compares and records them; `make repro CLUSTER=ADDRESS` does all of it.
    """
    # Here, not above: Dask takes a second to import, and the other commands are to answer at once.
    from unrolled.cluster import client, queued

    if queue and any_worker:
        raise UserError("--queue takes workers of these versions alone, as no experiment would tell what differed")
    if check:
        client.check(address, any_worker)
    elif queue:
        queued.distribute_queue(address)
    else:
        client.distribute(address, list(load_params(PARAMS).arms), any_worker)


@main.command()
@click.option("--local", default=0, metavar="N", help="Start N workers on this machine.")
@click.option("--ssh", default="", metavar="HOST,HOST", help="Start a worker on each host, in the same folder there.")
@click.option("--slurm", type=click.Path(dir_okay=False), metavar="FILE", help="Write a job script of one worker.")
@click.option("--folder", type=click.Path(), help="The clone on those hosts; by default, the same path as here.")
@click.option("--threads", default=1, show_default=True, help="Threads of each worker.")
@click.option("--host", help="Address of this machine for the workers; found out if not given.")
@click.option("--port", default=8786, show_default=True, help="Port of the scheduler.")
@ending("the cluster is closed; arms that were pushed stand")
def cluster(
    local: int, ssh: str, slurm: str | None, folder: str | None, threads: int, host: str | None, port: int
) -> None:
    """Start a Dask scheduler and workers.

    Prints its address, for `make repro CLUSTER=ADDRESS` in another terminal. Ctrl-C ends them all.
    """
    from unrolled.cluster import start  # here, as above

    hosts, clone = [each for each in ssh.split(",") if each], Path(folder or repository(Path()).resolve())
    host = host or (start.reachable_host() if hosts or slurm else None)
    with start.scheduler(local, threads, host, port) as address:
        if slurm:
            Path(slurm).write_text(start.slurm_script(address, threads, clone), encoding="utf-8")
            click.echo(f"{slurm} starts a worker; sbatch --array=1-8 {slurm} starts eight")
        with start.by_ssh(hosts, address, threads, clone) as processes:
            click.echo(f"the scheduler is ready; in another terminal: make repro CLUSTER={address}")
            start.wait_for(processes)


for _task in task_names():  # what can be done with the networks of one task alone
    for _command in task_part(_task, "commands").COMMANDS if has_part(_task, "commands") else ():
        main.add_command(_command)


if __name__ == "__main__":
    main()
