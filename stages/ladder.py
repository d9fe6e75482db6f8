"""docs/ladder.md: what every recipe reached here, beside what was published."""

from pathlib import Path

import click

from unrolled.errors import one_line_errors
from unrolled.lab.recipes import RECIPES
from unrolled.report.ladder import climb, write


@click.command()
@one_line_errors
def main() -> None:
    """Write the page and its figure from what `unrolled keep` noted."""
    write(climb(RECIPES), Path("docs/ladder.md"), Path("docs/ladder.svg"))


if __name__ == "__main__":
    main()
