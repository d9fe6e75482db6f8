"""`unrolled ...`: what a person does outside the pipeline."""

import math
from pathlib import Path
from typing import Any, TextIO

import click

from unrolled.errors import UserError, one_line_errors
from unrolled.lab.recipes import Measurement, Rung, measured, read
from unrolled.lab.recipes import names as all_recipes
from unrolled.lab.recipes import use as use_recipe
from unrolled.lab.remains import take_away
from unrolled.perplexity import perplexity
from unrolled.settings import PARAMS, Settings

HEAT = [(4.0, "green"), (8.0, "yellow"), (12.0, "red"), (math.inf, "magenta")]  # up to so many bits


@click.group()
def main() -> None:
    """A reproducible laboratory of recurrent language models."""


@main.command()
@one_line_errors
def check() -> None:
    """Validate params.yaml, see that its corpus is there, and clear away what a killed DVC left half-written."""
    settings = Settings.load(PARAMS)
    if settings.corpus.name == "text" and not Path(settings.corpus.path).exists():
        raise UserError(f"{PARAMS}: 'corpus.path': {settings.corpus.path!r} does not exist; name a file or a folder")
    if remains := take_away():
        click.echo(f"{', '.join(map(str, remains))}: half-written when DVC was killed; taken away", err=True)


@main.command()
@one_line_errors
def doctor() -> None:
    """Look whether all that a training needs is there, and say how to mend what is not."""
    # Here, not above: torch takes seconds to import, and the other commands are to answer at once.
    from unrolled.doctor import examine

    ill = 0
    for finding in examine():
        mark = click.style("ok  ", fg="green") if finding.well else click.style("ILL ", fg="red")
        click.echo(f"{mark} {finding.about + ':':14}{finding.said}")
        ill += not finding.well
    if ill:
        raise UserError(f"{ill} of these must be mended first" if ill > 1 else "this must be mended first")


@main.command()
@one_line_errors
def arms() -> None:
    """Print the name of every arm of the grid."""
    for arm in Settings.arms(PARAMS):
        click.echo(arm)


@main.command()
@one_line_errors
def recipes() -> None:
    """List the recipes, and what their arms are expected to reach."""
    for name in all_recipes():
        recipe, kept = read(name), measured(name)
        click.echo(f"{name}: {recipe.about}")
        for rung in recipe.rungs:
            click.echo(f"    {rung.title}: {_expected(rung, [kept[arm] for arm in rung.arms if arm in kept])}")


def _expected(rung: Rung, runs: list[Measurement]) -> str:
    """Test perplexity of each seed, minutes and date as measured here, beside what was published."""
    scores = [f"{run['scores'][rung.score]:.2f}" for run in runs if rung.score in run["scores"]]
    valid = [f"{run['valid_perplexity']:.2f}" for run in runs if run.get("valid_perplexity")]
    said = f"test {', '.join(scores)}" if scores else "not measured here yet"
    if scores and rung.sees_both_sides:
        said = f"pseudo-perplexity, {said}"
    if scores and rung.score == "forward_perplexity":
        said = f"valid {', '.join(valid)}; {said}"
    if seconds := [run["seconds"] for run in runs if "seconds" in run and rung.score == "forward_perplexity"]:
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
def use(name: str) -> None:
    """Write the recipe NAME into params.yaml; `git diff` shows what that changes."""
    use_recipe(name)
    click.echo(f"{PARAMS} now is {name}; run it with: dvc repro")


@main.command()
@click.argument("name")
@one_line_errors
def keep(name: str) -> None:
    """Note what runs/ and evaluation/ hold as what the recipe NAME measured."""
    # Here, not above: torch takes seconds to import, and the other commands are to answer at once.
    from unrolled.lab.measurements import keep as keep_measurements

    for arm in keep_measurements(name):
        click.echo(f"{name}: {arm} noted")


@main.command()
@click.argument("prompt", default="")
@click.option("--arm", help="Which arm writes; the best that reads from left to right if none is named.")
@click.option("--length", default=60, show_default=True, help="Tokens after the prompt.")
@click.option("--samples", default=1, show_default=True, help="How many texts.")
@click.option("--seed", default=1, show_default=True, help="The same seed, the same text.")
@click.option("--temperature", default=1.0, show_default=True, help="Below 1: the likely becomes likelier; 0: greedy.")
@click.option("--top-k", type=int, help="Draw from the k likeliest tokens only.")
@click.option("--nucleus", type=float, help="Draw from the likeliest tokens that together reach this probability.")
@click.option("--unknown", is_flag=True, help="Let <unk>, which stands for all rare words, be drawn.")
@one_line_errors
def generate(prompt: str, arm: str | None, **options: Any) -> None:
    """Let a trained network finish PROMPT."""
    from unrolled.lab.trained import Trained  # here, not above: torch takes seconds to import

    trained = Trained.read(arm)
    click.echo(click.style(f"{trained.arm}:", dim=True), err=True)
    for text in trained.continued(prompt, **options):
        click.echo(text)


@main.command()
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@click.option("--arm", help="Which arm reads; the best that reads from left to right if none is named.")
@one_line_errors
def score(file: TextIO, arm: str | None) -> None:
    """Print how little a trained network expected each word of FILE (or of what is piped in), in bits and in colour."""
    from unrolled.lab.trained import Trained  # here, not above: torch takes seconds to import

    trained = Trained.read(arm)
    lines = trained.surprisals(_read(file))
    for line in lines:
        click.echo(" ".join(click.style(f"{each.word}·{each.bits:.1f}", fg=_heat(each.bits)) for each in line))
    bits = [each.bits for line in lines for each in line]
    unknown = sum(not each.known for line in lines for each in line)
    click.echo(
        f"{trained.arm}: {len(bits)} tokens ({unknown} read as <unk>), {sum(bits) / len(bits):.2f} bits each, "
        f"perplexity {perplexity(sum(bits) * math.log(2), len(bits)):,.1f}",
        err=True,
    )


def _read(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{file.name} is no UTF-8: {error}") from None


def _heat(bits: float) -> str:
    """From expected to astonishing."""
    return next(colour for limit, colour in HEAT if bits <= limit)


@main.command()
@click.option("--port", default=5000, show_default=True, help="Where to listen; the next free one is taken.")
@one_line_errors
def ui(port: int) -> None:
    """Open the results in MLflow's user interface."""
    # Here, not above: mlflow takes 2 s to import, and `unrolled check` is to answer at once.
    from unrolled.tracking.publishing import serve_ui

    serve_ui(Path(), port)


if __name__ == "__main__":
    main()
