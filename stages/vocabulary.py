"""data/encoded and data/corpus.json: the vocabulary, the encoded splits and the corpus report."""

from pathlib import Path

import click

from unrolled.corpus.catalogue import CATALOGUE
from unrolled.corpus.encoding import encode_corpus
from unrolled.errors import one_line_errors
from unrolled.settings import Settings


@click.command()
@one_line_errors
def main() -> None:
    """Build the vocabulary from the training split alone and encode all three."""
    settings = Settings.load(Path("params.yaml"))
    vocabulary, source = settings.vocabulary, CATALOGUE[settings.corpus.name]
    encode_corpus(
        Path("data/text"),
        Path("data/encoded"),
        Path("data/corpus.json"),
        unit=vocabulary.unit,
        lowercase=vocabulary.lowercase,
        min_count=vocabulary.min_count,
        max_size=vocabulary.max_size,
        tokenised=source.tokenised,
        own_vocabulary=source.own_vocabulary,
    )


if __name__ == "__main__":
    main()
