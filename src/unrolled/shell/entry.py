"""The command `unrolled`, also where only the library is installed, which has no commands."""

import sys

from unrolled.shell.errors import laboratory_missing


def main() -> None:
    """Run the command line; without the laboratory's packages, one line that says what to install."""
    try:
        from unrolled.shell.cli import main as commands  # here, for it may not be there
    except ModuleNotFoundError as error:
        sys.exit(f"error: {laboratory_missing(error)}")
    commands()
