"""`unrolled tag`: what can be done with a trained tagger alone."""

import sys
import time
from typing import BinaryIO

import click

from unrolled.shell.endings import ANSWERED, ending
from unrolled.shell.workspace import pipeline


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--arm", help="The arm that tags; by default, the one with the fewest validation errors.")
@click.option(
    "--to", "form", type=click.Choice(["conllu", "colour"]), help="By default colour on a terminal, else conllu."
)
@click.option(
    "--marks/--no-marks",
    default=True,
    help="Mark words that the vocabulary lacks, and unsure tags, in MISC; on by default.",
)
@ending(ANSWERED)
def tag(file: BinaryIO, arm: str | None, form: str | None, marks: bool) -> None:
    """Tag the sentences of FILE, or of what is piped in.

    FILE is CoNLL-U, or has one sentence a line, its words parted by spaces. Nothing is tokenised: cut the words as
    the training text has them, "do n't" and "de le" among them. In CoNLL-U, ranges, empty nodes and comments stay
    as they are.
    """
    from unrolled.tasks.tagging.text import formats, tagger  # here, not above: torch takes seconds to import

    trained = tagger.Tagger.read(arm, pipeline(task="tagging"))
    colour = (form or ("colour" if sys.stdout.isatty() else "conllu")) == "colour"
    name = getattr(file, "name", "<stdin>")
    words = unknown = unsure = 0
    started = time.monotonic()
    for sentences in formats.in_turn(formats.read(file, "the text" if name == "<stdin>" else name), tagger.READ):
        given = [each.column(trained.given) for each in sentences] if trained.given else None
        for sentence, tagged in zip(sentences, trained.tagged([each.words for each in sentences], given), strict=True):
            words += len(tagged)
            unknown += sum(not each.known for each in tagged)
            unsure += sum(each.probability < formats.SURE for each in tagged)
            if colour:
                click.echo(formats.coloured(tagged), color=True)
            else:
                click.echo(formats.conllu(sentence, tagged, trained.tags, marks=marks), nl=False)
    rate = words / max(time.monotonic() - started, 1e-9)
    click.echo(
        f"{trained.arm}: {words:,} words, {unknown:,} of them unknown, {unsure:,} tags with a probability below "
        f"{formats.SURE:.0%}; {rate:,.0f} words/s",
        err=True,
    )


COMMANDS = (tag,)
