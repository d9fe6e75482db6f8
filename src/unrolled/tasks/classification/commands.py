"""`unrolled classify`, `unrolled folds`: what can be done with text classifiers alone."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import click

from unrolled.report.experiments import folder_in_repository, settings_of, shown_by_dvc
from unrolled.shell.endings import ANSWERED, ending, one_line_errors
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import pipeline

TEXTS = 2048  # read before any is answered: enough to put texts of one length side by side


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--arm", help="The arm that labels; by default, the one with the fewest validation errors.")
@ending(ANSWERED)
def classify(file: BinaryIO, arm: str | None) -> None:
    """Label each line of FILE, or of what is piped in.

    Each line is a text, and gets a line of JSON: its likeliest label, and the probability of every label. Texts are
    read as those of training were: where these were tokenised, as in sentence_polarity, words are parted by spaces.
    """
    from unrolled.tasks.classification.text.inference import read_classifier  # here: torch takes seconds to import

    name, classifier = read_classifier(arm, pipeline(task="classification"))
    click.echo(click.style(f"{name}:", dim=True), err=True)
    lines = _lines(file)
    while texts := list(islice(lines, TEXTS)):
        for row in classifier.probabilities(texts).tolist():
            of_labels = dict(zip(classifier.labels, (round(each, 6) for each in row), strict=True))
            answer = {"label": max(of_labels, key=lambda label: of_labels[label]), "probabilities": of_labels}
            click.echo(json.dumps(answer, ensure_ascii=False))


def _lines(file: BinaryIO) -> Iterator[str]:
    """UserError names a line that is empty, not UTF-8 or no text: each line is answered by one."""
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(f"line {number} is not UTF-8 ({error.reason}); convert the text to UTF-8") from None
        if "\0" in text:
            raise UserError(f"line {number} is not text but binary (it holds a NUL)")
        if not text:
            raise UserError(f"line {number} is empty; give a text a line")
        yield text


@click.command()
@one_line_errors
def folds() -> None:
    """Tell the mean accuracy over folds of arms and baselines.

    From DVC's experiments, one a fold. To test all ten: dvc exp run --queue -S 'corpus.fold=range(10)', then dvc
    queue start.
    """
    from unrolled.tasks.classification import over_folds as found  # here: numpy takes a while to import

    here = pipeline(task="classification")
    shown, folder = shown_by_dvc(here), folder_in_repository(here)
    groups = found.over_folds(list(found.fold_scores(shown, folder)))
    if not groups:
        raise UserError(
            "one fold alone is tested; test all: dvc exp run --queue -S 'corpus.fold=range(10)', then dvc queue start"
        )
    for group in groups:
        for line in found.lines(group, settings_of(shown[0].get("data") or {}, folder)):
            click.echo(line)


COMMANDS = (classify, folds)
