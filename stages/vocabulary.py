"""data/encoded and data/corpus.json: the vocabulary, the encoded splits and the corpus report."""

import json
from pathlib import Path

import click

from unrolled.corpus.of_task import data_of
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage

REPORT = Path("data/corpus.json")


@click.command()
@stage
def main() -> None:
    """Build the vocabulary from the training split alone, encode all three, and say what makes figures mislead."""
    settings = read_resolved("vocabulary")
    data_of(settings["task"]).encode(settings, Path("data/text"), Path("data/encoded"), REPORT)
    for warning in json.loads(REPORT.read_text(encoding="utf-8")).get("warnings", {}).values():
        click.echo(f"warning: {warning}", err=True)


if __name__ == "__main__":
    main()
