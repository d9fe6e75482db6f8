"""`unrolled ...`: what a person does outside the pipeline."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from unrolled.settings import PARAMS, Settings, UserError

P = ParamSpec("P")


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a user's mistake into one line on stderr and exit status 1; a defect of ours keeps its traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (UserError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(1) from None

    return wrapped


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


@main.command()
@one_line_errors
def arms() -> None:
    """Print the name of every arm of the grid."""
    for arm in Settings.arms(PARAMS):
        click.echo(arm)
