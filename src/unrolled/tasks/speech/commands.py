"""`unrolled transcribe`: what can be done with a network that listens alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from unrolled.shell.endings import ANSWERED, ending
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import pipeline

TOGETHER = 256  # files answered at a time: enough to put sounds of one length side by side
SURE, UNSURE = 0.9, 0.5  # probabilities below which a word is coloured on a terminal
STRETCHED = 2  # times the longest sound of training: beyond that attention may lose its way
PICTURES = (".svg", ".png")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--arm", help="The arm that listens; by default, the one with the fewest validation errors.")
@click.option("--confidence", is_flag=True, help="Put its probability behind each word.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON a file: its text, words, probabilities.")
@click.option(
    "--show", "picture", type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the sound of one FILE, and where each word was heard, as .svg or .png.",
)  # fmt: skip
@ending(ANSWERED)
def transcribe(files: tuple[Path, ...], arm: str | None, confidence: bool, as_json: bool, picture: Path | None) -> None:
    """Write down what is said in each FILE.

    For each one a line: its name, a colon, and the text. Audio of any rate and number of channels is read: WAV, FLAC,
    Ogg, MP3 and others, up to a minute each.
    """
    if picture is not None:
        _check_picture(picture, files)
    from unrolled.tasks.speech.audio.inference import longest_trained, read_transcriber  # here: torch takes seconds

    here = pipeline(task="speech")
    name, transcriber = read_transcriber(arm, here)
    if picture is not None and transcriber.network.attention is None:
        raise UserError(f"{name} has no attention to draw; name an arm whose network.conditioning is attention")
    click.echo(click.style(f"{name}:", dim=True), err=True)
    sounds = transcriber.read(files)
    _warn_of_lengths(files, [len(each) / transcriber.rate for each in sounds], longest_trained(here))
    for first in range(0, len(files), TOGETHER):
        some = slice(first, first + TOGETHER)
        for file, found in zip(files[some], transcriber.transcripts(sounds[some]), strict=True):
            name = click.format_filename(file)  # a name may hold bytes that are no text
            click.echo(_line(name, found.words, found.probabilities, confidence=confidence, as_json=as_json))
            if picture is not None:
                _draw(picture, click.format_filename(file.name), transcriber.features(sounds[0]), found)


def _check_picture(picture: Path, files: Sequence[Path]) -> None:
    if len(files) > 1:
        raise UserError(f"--show draws one sound, not {len(files)}; name one file")
    if picture.suffix.lower() not in PICTURES:
        raise UserError(f"--show: {picture} must end in {' or '.join(PICTURES)}")
    if not picture.parent.is_dir():
        raise UserError(f"--show: {picture.parent} is no folder; make it first")


def _warn_of_lengths(files: Sequence[Path], seconds: Sequence[float], longest: float | None) -> None:
    if longest is None:
        return
    beyond = [(file, each) for file, each in zip(files, seconds, strict=True) if each > STRETCHED * longest]
    if beyond:
        (file, length), more = beyond[0], len(beyond) - 1
        others = f" ({more:,} more are too long as well)" if more else ""
        said = f"{file} is {length:.1f} s long{others}, and the longest sound of training {longest:.1f} s"
        click.echo(f"{said}: attention may lose its way, read the text with care", err=True)


def _line(file: str, words: Sequence[str], probabilities: Sequence[float], *, confidence: bool, as_json: bool) -> str:
    """Of one file; an unsure word is coloured with its probability, which shows on a terminal alone."""
    if as_json:
        rounded = [round(each, 6) for each in probabilities]
        answer = {"file": file, "text": " ".join(words), "words": list(words), "probabilities": rounded}
        return json.dumps(answer, ensure_ascii=False)
    if not confidence:
        return f"{file}: {' '.join(words)}".rstrip()
    shown = [click.style(f"{word} {p:.2f}", fg=_colour(p)) for word, p in zip(words, probabilities, strict=True)]
    return f"{file}: {'  '.join(shown)}".rstrip()


def _draw(picture: Path, title: str, sound: Any, found: Any) -> None:
    """Of the features of a sound, and its transcript."""
    from unrolled.tasks.speech.picture import draw  # here: no other command draws

    words = [f"{word} {share:.2f}" for word, share in zip(found.words, found.probabilities, strict=True)]
    draw(picture, title, sound, words, found.attention, found.step)
    click.echo(f"drawn in {picture}", err=True)


def _colour(probability: float) -> str | None:
    return None if probability >= SURE else "yellow" if probability >= UNSURE else "red"


COMMANDS = (transcribe,)
