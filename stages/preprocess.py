"""data/text: the corpus as plain lines, split into train, valid and test."""

from pathlib import Path

import click

from unrolled.corpus.catalogue import facts
from unrolled.corpus.readers import READERS
from unrolled.corpus.splits import write_splits
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage


@click.command()
@stage
def main() -> None:
    """Read the corpus and write its splits."""
    corpus = read_resolved("preprocess")["corpus"]
    place = Path(corpus["path"] if corpus["name"] == "text" else "data/raw")
    write_splits(
        READERS[corpus["name"]](place, corpus["pattern"]),
        Path("data/text"),
        valid_share=corpus["valid_share"],
        test_share=corpus["test_share"],
        seed=corpus["seed"],
        facts=facts(corpus["name"]) | {"settings": corpus},
    )


if __name__ == "__main__":
    main()
