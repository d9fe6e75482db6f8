"""resolved/: params.yaml, validated, as the other stages read it."""

import click

from unrolled.settings.resolve import resolve
from unrolled.shell.endings import one_line_errors


@click.command()
@one_line_errors
def main() -> None:
    """Validate params.yaml and resolve the settings of every stage and arm."""
    resolve()


if __name__ == "__main__":
    main()
