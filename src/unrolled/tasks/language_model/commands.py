"""`unrolled generate`, `score`, `explain`, `distances` and `units`: what can be done with language models alone."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click

from unrolled.corpus.files.lines import decoded, decoded_lines
from unrolled.report.experiments import folder_in_repository, settings_of, shown_by_dvc
from unrolled.shell.endings import ANSWERED, ending, one_line_errors
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import pipeline

TASK = "language_model"
TOGETHER = 64  # lines written at a time


class File(click.Path):
    """A file to write, as a Path; click takes the empty name of a variable that is not set for one."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty; name a file", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("prompt", default="-")
@click.option("--arm", help="The arm that writes; by default, the best that reads from left to right.")
@click.option("--length", default=60, show_default=True, help="How many tokens to write.")
@click.option("--samples", default=1, show_default=True, help="How many texts to write.")
@click.option("--seed", default=1, show_default=True, help="Of the draws: the same seed, the same text.")
@click.option("--temperature", default=1.0, show_default=True, help="Below 1: likelier tokens; 0: the likeliest.")
@click.option("--top-k", type=int, help="Draw from the k likeliest tokens only.")
@click.option("--nucleus", type=float, help="Draw from the likeliest tokens that together reach this probability.")
@click.option("--unknown", is_flag=True, help="Also draw <unk>, which stands for all rare words.")
@ending(ANSWERED)
def generate(prompt: str, arm: str | None, **options: Any) -> None:
    """Let a trained network finish PROMPT.

    Without PROMPT, or where it is -, what is piped in is finished, its last line end left out. Each token is shown as
    it is drawn.
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
@click.option("--arm", help="The arm that reads; by default, the best that reads from left to right.")
@click.option(
    "--state", type=click.Choice(["carried", "anew"]),
    help="Whether the network carries its state from line to line, or starts each line anew; by default, as in "
    "training.",
)  # fmt: skip
@click.option("--json", "form", flag_value="json", help="For each line, one of JSON: its bits, and those of each word.")
@click.option("--csv", "form", flag_value="csv", help="A table, one row for each word.")
@ending(ANSWERED)
def score(file: BinaryIO, arm: str | None, state: str | None, form: str | None) -> None:
    """Show how surprising each word of FILE is to a network.

    In bits and in colour; without FILE, of what is piped in. A word that the network does not know is read as <unk>
    and marked: its bits are those of <unk>, which stands for all such words. Why they are unknown is said below the
    text. Blank lines are left out.
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
    "--arm", "arms", multiple=True, help="An arm, or several by several --arm; by default, all that did not diverge."
)
@click.option("--word", help="The word whose loss is followed back, or its number; by default, the last.")
@click.option("--html", "place", type=File(), help="Write a page of every word.")
@one_line_errors
def explain(text: str, arms: tuple[str, ...], word: str | None, place: Path | None) -> None:
    """Show how far back the loss of a word in TEXT reaches.

    Arm by arm, with how surprising each word was. Without TEXT, or where it is -, what is piped in is read. The page of
    --html shows the networks before their training too.
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
@click.option("--picture", "place", type=File(), help="Draw it too, as .svg and .png.")
@one_line_errors
def distances(place: Path | None) -> None:
    """Tell over how many words each arm learns to remember.

    From DVC's experiments with one mean distance and one seed each. To try some, in pipelines/known-entropy: unrolled
    use distances, then dvc exp run --queue -S 'corpus.source.distances=[4],[16],[64]' -S 'seeds=[1],[2],[3]', and dvc
    queue start.
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
@click.option("--picture", "place", type=File(), help="Draw it too, as .svg and .png.")
@one_line_errors
def units(place: Path | None) -> None:
    """Compare characters, subwords and words by bits a byte.

    From DVC's experiments with one unit each. To try some: unrolled use units, then dvc exp run --queue -S
    vocabulary.unit=character,subword,word, and dvc queue start.
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
    here = pipeline(task=TASK)
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
