"""data/text: the corpus as its task wants to read it, in plain files, split into train, valid and test."""

from pathlib import Path

import click

from unrolled.corpus.of_task import data_of
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage


@click.command()
@stage
def main() -> None:
    """Read the corpus and write its splits."""
    settings = read_resolved("preprocess")
    data_of(settings["task"]).read(settings["corpus"], Path("data/raw"), Path("data/text"))


if __name__ == "__main__":
    main()
