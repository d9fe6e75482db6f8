"""`unrolled ...`: what a person does outside the pipeline."""

import json
import time
from pathlib import Path

import click

from unrolled.errors import UserError, one_line_errors
from unrolled.settings import PARAMS, Settings


@click.group()
def main() -> None:
    """A reproducible laboratory of recurrent language models."""


@main.command()
@one_line_errors
def check() -> None:
    """Validate params.yaml, and that the corpus it names is there."""
    settings = Settings.load(PARAMS)
    if settings.corpus.name == "text" and not Path(settings.corpus.path).exists():
        raise UserError(f"{PARAMS}: 'corpus.path': {settings.corpus.path!r} does not exist; name a file or a folder")
    _take_away_broken_lock(Path(".dvc/tmp/rwlock"))


def _take_away_broken_lock(lock: Path) -> None:
    """DVC writes its list of readers and writers in place: a kill at that moment leaves it unreadable, for ever.

    It is read twice, for a living DVC may be writing it right now.
    """
    for wait in (1.0, 0.0):
        try:
            json.loads(lock.read_text(encoding="utf-8"))
            return
        except FileNotFoundError:
            return
        except ValueError:
            time.sleep(wait)
    lock.unlink(missing_ok=True)
    click.echo(f"{lock} was half-written when DVC was killed; taken away", err=True)


@main.command()
@one_line_errors
def arms() -> None:
    """Print the name of every arm of the grid."""
    for arm in Settings.arms(PARAMS):
        click.echo(arm)


@main.command()
@click.option("--port", default=5000, show_default=True, help="Where to listen; the next free one is taken.")
@one_line_errors
def ui(port: int) -> None:
    """Open the results in MLflow's user interface."""
    # Here, not above: mlflow takes 2 s to import, and `unrolled check` is to answer at once.
    from unrolled.lab.tracking import serve_ui

    serve_ui(Path(), port)


if __name__ == "__main__":
    main()
