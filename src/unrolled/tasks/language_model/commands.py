"""`unrolled generate`, `unrolled score`, `unrolled distances`: what can be done with language models alone."""

import math
from pathlib import Path
from typing import Any, BinaryIO

import click

from unrolled.corpus.text_files import decoded_lines
from unrolled.ground.perplexity import perplexity
from unrolled.report.experiments import folder_in_repository, settings_of, shown_by_dvc
from unrolled.shell.endings import one_line_errors
from unrolled.shell.errors import UserError

HEAT = [(4.0, "green"), (8.0, "yellow"), (12.0, "red"), (math.inf, "magenta")]  # up to so many bits


@click.command()
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
    from unrolled.tasks.language_model.text.inference import Trained  # here, not above: torch takes seconds to import

    trained = Trained.read(arm)
    click.echo(click.style(f"{trained.arm}:", dim=True), err=True)
    for text in trained.continued(prompt, **options):
        click.echo(text)


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--arm", help="Which arm reads; the best that reads from left to right if none is named.")
@one_line_errors
def score(file: BinaryIO, arm: str | None) -> None:
    """Print how little a trained network expected each word of FILE (or of what is piped in), in bits and in colour."""
    from unrolled.tasks.language_model.text.inference import Trained  # here, not above: torch takes seconds to import

    trained = Trained.read(arm)
    lines = trained.surprisals(decoded_lines(file, "the text"))
    for line in lines:
        click.echo(" ".join(click.style(f"{each.word}·{each.bits:.1f}", fg=_heat(each.bits)) for each in line))
    bits = [each.bits for line in lines for each in line]
    unknown = sum(not each.known for line in lines for each in line)
    click.echo(
        f"{trained.arm}: {len(bits)} tokens ({unknown} read as <unk>), {sum(bits) / len(bits):.2f} bits each, "
        f"perplexity {perplexity(sum(bits) * math.log(2), len(bits)):,.1f}",
        err=True,
    )


def _heat(bits: float) -> str:
    """From expected to astonishing."""
    return next(colour for limit, colour in HEAT if bits <= limit)


@click.command()
@click.option("--picture", "place", type=click.Path(dir_okay=False, path_type=Path), help="Draw it, as .svg and .png.")
@one_line_errors
def distances(place: Path | None) -> None:
    """Over how many words each arm learns to remember, from DVC's experiments with one mean distance and one seed each.

    To try some, on text with a subject to remember: unrolled use distances, then dvc queue start.
    """
    from unrolled.tasks.language_model import distances as found  # here: matplotlib takes a while to import

    shown, folder = shown_by_dvc(), folder_in_repository()
    groups = found.over_distances(list(found.trials(shown, folder)))
    if not groups:
        raise UserError(
            "no two distances were tried, in experiments with one each; in pipelines/known-entropy: dvc exp run "
            "--queue -S 'corpus.source.distances=[4],[16],[64]' -S 'seeds=[1],[2],[3]', then dvc queue start"
        )
    for settings, arms in groups:
        for line in found.table(settings, arms, settings_of(shown[0].get("data") or {}, folder)):
            click.echo(line)
    if place is not None:
        found.draw(groups[-1][1], place)
        click.echo(f"drawn in {place}" + (", the last of these alone" if len(groups) > 1 else ""))


COMMANDS = (generate, score, distances)
