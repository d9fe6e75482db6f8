"""Publish every arm of the grid to MLflow, from files alone; recorded.json says what is there."""

import json
from pathlib import Path

import click

from unrolled.ground.atomic import whole_text
from unrolled.ground.resolved import read_resolved
from unrolled.shell.stage import stage
from unrolled.tracking.environment import set_mlflow_defaults

RECEIPT = Path("recorded.json")


@click.command()
@stage
def main() -> None:
    """Publish what is not yet published; nothing changes where everything is."""
    set_mlflow_defaults()
    from unrolled.tracking.publish import publish  # here, not above: mlflow reads its environment while it is imported

    keys = {}
    for run in publish(read_resolved("grid"), Path()):
        click.echo(f"{run.arm}: {run.change}")
        keys[run.arm] = run.key
    # Content keys only: no run ids, times or addresses, so that a forced publish leaves dvc.lock as it was.
    whole_text(RECEIPT, json.dumps(keys, indent=2) + "\n")


if __name__ == "__main__":
    main()
