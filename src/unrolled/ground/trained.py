"""A trained arm of a pipeline's folder, beside the corpus that it was trained on: what a person talks to."""

from collections.abc import Callable
from pathlib import Path

from unrolled.ground.checksums import json_of, load, stage_of
from unrolled.ground.corpus import Corpus, read_corpus
from unrolled.ground.resolved import RESOLVED, arm_named, seeded
from unrolled.ground.run import Run
from unrolled.shell.errors import UserError

ENCODED = Path("data/encoded")
SHOWN = 12  # arms of one message

Loss = float | tuple[float, ...]


def read_trained(
    arm: str | None, task: str, loss: Callable[[Run], Loss | None], workspace: Path = Path(), *, that: str = ""
) -> tuple[Run, Corpus]:
    """``arm`` of runs/, and the corpus; without a name the arm whose ``loss`` is least, of those that have one.

    ``that``: what an arm must be to have one, as " that reads from left to right". UserError where there is none, it
    is of another task, not trained or damaged, or was trained on another corpus than data/encoded now holds.
    """
    runs = workspace / "runs"
    there = sorted(path.parent.name for path in runs.glob("[!.]*/summary.json"))
    if arm is None:
        run = _best([Run.read(runs / name) for name in there], task, loss, that)
    elif (name := seeded(arm, there)) in there or (name and (runs / name).is_dir()):
        run = Run.read(runs / name)
    else:
        raise UserError(_untrained(arm_named(arm, workspace / RESOLVED), workspace))
    if run.arm != run.directory.name:
        raise UserError(
            f"{run.directory} holds {run.arm}; make it again with: dvc repro -f -s {stage_of(run.directory)}"
        )
    if run.settings["task"] != task:
        raise UserError(f"{run.directory} is of the task {run.settings['task']}, not {task}; go to that one's pipeline")
    corpus = read_corpus(workspace / ENCODED)
    run.check(corpus.digest)
    return run, corpus


def place_of(directory: Path) -> tuple[str, Path, str]:
    """Of a run directory, as runs/lstm-clipped: its arm, its pipeline's folder, its task. UserError where it is none.

    A seed need not be named where there is one alone.
    """
    runs = directory.absolute().parent
    arm = seeded(directory.name, (path.parent.name for path in runs.glob("[!.]*/summary.json")))
    if runs.name != "runs" or not (runs / arm).is_dir():
        raise UserError(
            f"{directory} is no run directory; name one as runs/lstm-clipped, in the folder of its pipeline"
        )
    return arm, directory.parent.parent, str(load(runs / arm, "settings.json", json_of).get("task"))


def _untrained(arm: str, workspace: Path) -> str:
    """What to do about an arm that is not in runs/."""
    resolved = workspace / RESOLVED / "arms"
    if arm and (not resolved.is_dir() or (resolved / f"{arm}.json").is_file()):
        return f"runs/{arm} does not exist; train it with: dvc repro train@{arm}"
    known = sorted(path.stem for path in resolved.glob("*.json"))
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"there is no arm '{arm}'; params.yaml has {', '.join(known[:SHOWN]) or 'none'}{more}"


def _best(runs: list[Run], task: str, loss: Callable[[Run], Loss | None], that: str) -> Run:
    losses = {run.arm: found for run in runs if run.settings["task"] == task and (found := loss(run)) is not None}
    if losses:
        best = min(losses, key=lambda name: losses[name])
        return next(run for run in runs if run.arm == best)
    if runs and all(run.settings["task"] != task for run in runs):
        raise UserError(f"runs/ is of the task {runs[0].settings['task']}, not {task}; go to that one's pipeline")
    raise UserError(f"runs/ holds no trained arm of the task {task}{that}; in its pipeline, train them with: dvc repro")
