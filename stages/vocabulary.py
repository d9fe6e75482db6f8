"""data/encoded and data/corpus.json: the vocabulary, the encoded splits and the corpus report."""

from pathlib import Path

import click

from unrolled.corpus.catalogue import CATALOGUE
from unrolled.corpus.encode import encode_corpus
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage


@click.command()
@stage
def main() -> None:
    """Build the vocabulary from the training split alone and encode all three."""
    settings = read_resolved("vocabulary")
    source = CATALOGUE[settings["corpus"]["name"]]
    encode_corpus(
        Path("data/text"),
        Path("data/encoded"),
        Path("data/corpus.json"),
        **settings["vocabulary"],
        tokenised=source.tokenised,
        own_vocabulary=source.own_vocabulary,
    )


if __name__ == "__main__":
    main()
