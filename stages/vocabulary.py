"""data/encoded and data/corpus.json: the vocabulary, the encoded splits and the corpus report."""

from pathlib import Path

import click

from unrolled.corpus.of_task import data_of
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage


@click.command()
@stage
def main() -> None:
    """Build the vocabulary from the training split alone and encode all three."""
    settings = read_resolved("vocabulary")
    data_of(settings["task"]).encode(settings, Path("data/text"), Path("data/encoded"), Path("data/corpus.json"))


if __name__ == "__main__":
    main()
