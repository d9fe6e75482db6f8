"""`unrolled generate`, `score`, `explain`, `distances` and `units`: what can be done with language models alone."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click

from unrolled.corpus.lines import decoded, decoded_lines
from unrolled.report.experiments import folder_in_repository, settings_of, shown_by_dvc
from unrolled.shell.endings import ANSWERED, ending, one_line_errors
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import pipeline

TASK = "language_model"
TOGETHER = 64  # lines written at a time


@click.command()
@click.argument("prompt", default="-")
@click.option("--arm", help="Which arm writes; the best that reads from left to right if none is named.")
@click.option("--length", default=60, show_default=True, help="Tokens after the prompt.")
@click.option("--samples", default=1, show_default=True, help="How many texts.")
@click.option("--seed", default=1, show_default=True, help="The same seed, the same text.")
@click.option("--temperature", default=1.0, show_default=True, help="Below 1: the likely becomes likelier; 0: greedy.")
@click.option("--top-k", type=int, help="Draw from the k likeliest tokens only.")
@click.option("--nucleus", type=float, help="Draw from the likeliest tokens that together reach this probability.")
@click.option("--unknown", is_flag=True, help="Let <unk>, which stands for all rare words, be drawn.")
@ending(ANSWERED)
def generate(prompt: str, arm: str | None, **options: Any) -> None:
    """Let a trained network finish PROMPT; without one, or with -, what is piped in, but for the line end behind it.

    Each token is written as it is drawn.
    """
    from unrolled.tasks.language_model.text.inference import Trained  # here, not above: torch takes seconds to import

    trained = Trained.read(arm, pipeline(task=TASK))
    given = _piped() if prompt == "-" else prompt
    click.echo(click.style(f"{trained.title}:", dim=True), err=True)
    last = None
    for number, piece in trained.said(given, **options):
        click.echo(piece if last in (None, number) else f"\n{piece}", nl=False)
        last = number
    click.echo()


def _piped() -> str:
    """Standard input without its last line end; empty where a person sits at it. UserError where it is no text."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    return "".join(decoded(sys.stdin.buffer, "the prompt")).removesuffix("\n")


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--arm", help="Which arm reads; the best that reads from left to right if none is named.")
@click.option(
    "--state", type=click.Choice(["carried", "anew"]),
    help="Whether the network reads a line with what stood before it, or each from its start; as it was trained if "
    "not given.",
)  # fmt: skip
@click.option("--json", "form", flag_value="json", help="A line of JSON a line: its bits and those of each word.")
@click.option("--csv", "form", flag_value="csv", help="A table with a row a word.")
@ending(ANSWERED)
def score(file: BinaryIO, arm: str | None, state: str | None, form: str | None) -> None:
    """Print how little a trained network expected each word of FILE (or of what is piped in), in bits and in colour.

    A word that it does not know is read as <unk>, and marked so: its bits are those of <unk>, which stands for all such
    words together. Below the text stands why they are unknown. Blank lines are none.
    """
    from unrolled.tasks.language_model.text import formats, inference  # here, not above: torch takes seconds to import

    trained = inference.Trained.read(arm, pipeline(task=TASK))
    anew = trained.network.anew if state is None else state == "anew"
    totals = formats.Totals(trained.unknown)
    lines = trained.surprisals(decoded_lines(file, "the text", trained.reading), anew)
    written = formats.FORMS[form or "words"]
    for rows in _some(enumerate(lines, 1)):
        for _, line in rows:
            totals.add(line)
        click.echo("\n".join(written(number, line, trained.unknown) for number, line in rows))
    for said in totals.said(trained.title, anew=anew):
        click.echo(said, err=True)


def _some(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of up to TOGETHER."""
    stream = iter(rows)
    while some := list(islice(stream, TOGETHER)):
        yield some


@click.command()
@click.argument("text", default="-")
@click.option(
    "--arm", "arms", multiple=True, help="Which arm; may be given several times; without it, all that did not diverge."
)
@click.option("--word", help="Which word's loss, itself or its number; the last if not given.")
@click.option("--html", "place", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to hover on.")
@one_line_errors
def explain(text: str, arms: tuple[str, ...], word: str | None, place: Path | None) -> None:
    """Show how little each word of TEXT was expected, and how far back its loss reaches, arm by arm.

    The page has the same of every word, and of the networks before their training.
    """
    from unrolled.tasks.language_model import explain as found  # here, not above: torch takes seconds to import

    given = _piped() if text == "-" else text
    explanations = [found.explain(each, given) for each in found.arms(pipeline(task=TASK), arms)]
    for explanation in explanations:
        for line in found.told(explanation, word):
            click.echo(line)
    if place is not None:
        found.write_page(explanations, given, place)
        click.echo(f"{place}: a page to open in a browser", err=True)


@click.command()
@click.option("--picture", "place", type=click.Path(dir_okay=False, path_type=Path), help="Draw it, as .svg and .png.")
@one_line_errors
def distances(place: Path | None) -> None:
    """Over how many words each arm learns to remember, from DVC's experiments with one mean distance and one seed each.

    To try some, on text with a subject to remember: unrolled use distances, then dvc queue start.
    """
    from unrolled.tasks.language_model import distances as found  # here: scipy takes a while to import

    def gathered(shown: list[Any], folder: str) -> list[Any]:
        return found.over_distances(list(found.trials(shown, folder)))

    _tell_of_experiments(
        gathered, found.table, found.draw, place,
        "no two distances were tried, in experiments with one each; in pipelines/known-entropy: dvc exp run --queue "
        "-S 'corpus.source.distances=[4],[16],[64]' -S 'seeds=[1],[2],[3]', then dvc queue start",
    )  # fmt: skip


@click.command()
@click.option(
    "--picture", "place", type=click.Path(path_type=Path, dir_okay=False), help="Draw it too, as .svg and .png."
)
@one_line_errors
def units(place: Path | None) -> None:
    """What a byte of the text costs in characters, subwords and words, from DVC's experiments with one unit each.

    To try some: unrolled use units, then dvc exp run --queue -S vocabulary.unit=character,subword,word, and dvc queue
    start.
    """
    from unrolled.tasks.language_model import units as found  # here: numpy takes a while to import

    _tell_of_experiments(
        found.over_units, found.table, found.draw, place,
        "no two units were tried with settings that are alike otherwise; try some with: dvc exp run --queue -S "
        "vocabulary.unit=character,subword,word, then dvc queue start",
    )  # fmt: skip


def _tell_of_experiments(
    gathered: Callable[[list[Any], str], Sequence[tuple[Any, Any]]], table: Callable[..., Iterator[str]],
    draw: Callable[[Any, Path], None], place: Path | None, none: str,
) -> None:  # fmt: skip
    """The tables of what was ``gathered`` from DVC's experiments, by settings; the last of them drawn at ``place`` too.

    UserError with the text ``none`` where there is nothing to compare.
    """
    here = pipeline()
    shown, folder = shown_by_dvc(here), folder_in_repository(here)
    groups = gathered(shown, folder)
    if not groups:
        raise UserError(none)
    beside = settings_of(shown[0].get("data") or {}, folder)
    for settings, compared in groups:
        for line in table(settings, compared, beside):
            click.echo(line)
    if place is not None:
        draw(groups[-1][1], place)
        click.echo(f"drawn in {place}" + (", the last of these alone" if len(groups) > 1 else ""))


COMMANDS = (generate, score, explain, distances, units)
