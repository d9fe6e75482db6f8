"""evaluation/kneser_ney: the test split scored by a Kneser-Ney n-gram model, the peer of all arms."""

import time
from pathlib import Path

import click

from unrolled.corpus.folders import whole_text
from unrolled.errors import one_line_errors
from unrolled.lab.evaluate import evaluate_ngrams, read_text
from unrolled.settings import PARAMS, Settings


@click.command()
@one_line_errors
def main() -> None:
    """Count the training split's n-grams and score the test split with them."""
    settings = Settings.load(PARAMS)
    text = read_text(Path("data/encoded"), Path("data/corpus.json"))
    started = time.monotonic()
    evaluate_ngrams(Path("evaluation/kneser_ney"), text, settings.evaluate)
    whole_text(Path("timings/kneser_ney.json"), f'{{"seconds": {time.monotonic() - started:.3f}}}\n')


if __name__ == "__main__":
    main()
