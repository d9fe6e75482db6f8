"""Publish every arm of the grid to MLflow, from files alone; recorded.json says what is there."""

import json
from pathlib import Path

import click

from unrolled.corpus.folders import whole_text
from unrolled.errors import one_line_errors
from unrolled.settings import PARAMS, Settings
from unrolled.tracking.publishing import publish

RECEIPT = Path("recorded.json")


@click.command()
@one_line_errors
def record() -> None:
    """Publish what is not yet published; nothing changes where everything is."""
    settings = [Settings.load(PARAMS, arm) for arm in Settings.arms(PARAMS)]
    keys = {}
    for run in publish(settings, Path()):
        click.echo(f"{run.arm}: {run.change}")
        keys[run.arm] = run.key
    # Content keys only: no run ids, times or addresses, so that a forced publish leaves dvc.lock as it was.
    whole_text(RECEIPT, json.dumps(keys, indent=2) + "\n")


if __name__ == "__main__":
    record()
