"""evaluation/kneser_ney: the test split scored by a Kneser-Ney n-gram model, the peer of all arms."""

from pathlib import Path

import click

from unrolled.errors import one_line_errors
from unrolled.lab.evaluate import evaluate_ngrams, read_text
from unrolled.settings import PARAMS, Settings


@click.command()
@one_line_errors
def main() -> None:
    """Count the training split's n-grams and score the test split with them."""
    settings = Settings.load(PARAMS)
    text = read_text(Path("data/encoded"), Path("data/corpus.json"))
    evaluate_ngrams(Path("evaluation/kneser_ney"), text, settings.evaluate)


if __name__ == "__main__":
    main()
