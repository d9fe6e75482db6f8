"""data/text: the corpus as plain lines, split into train, valid and test."""

from pathlib import Path

import click

from unrolled.corpus.catalogue import facts
from unrolled.corpus.readers import READERS
from unrolled.corpus.splits import write_splits
from unrolled.errors import one_line_errors
from unrolled.settings import Settings


@click.command()
@one_line_errors
def main() -> None:
    """Read the corpus that params.yaml names and write its splits."""
    corpus = Settings.load(Path("params.yaml")).corpus
    place = Path(corpus.path if corpus.name == "text" else "data/raw")
    write_splits(
        READERS[corpus.name](place, corpus.pattern),
        Path("data/text"),
        valid_share=corpus.valid_share,
        test_share=corpus.test_share,
        seed=corpus.seed,
        facts=facts(corpus.name),
    )


if __name__ == "__main__":
    main()
