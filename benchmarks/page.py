"""results.md: a section a part, each under the conditions it was measured in; a part measured anew replaces its own."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import fill

from unrolled.ground.atomic import whole_text

HEAD = """# Speed beside what everyone writes

`python -m benchmarks.run` writes this page, a section a part; `--only` measures some parts anew and leaves the others
as they stand, each with the conditions of its own. A ratio above 1: ours wins.
"""


def paragraph(*sentences: str) -> str:
    return fill(" ".join(sentences), 120) + "\n"


def columns(*names: str, text: int = 1) -> tuple[str, str]:
    """The head of a table, its first ``text`` columns text, the others numbers."""
    return row(*names), "|" + "---|" * text + "--:|" * (len(names) - text)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def against(figure: float, target: float) -> str:
    """Three columns: the figure, its target, whether it is met, in the digits that are shown."""
    return f"**{figure:.2f}** | {target:.2f} | {'yes' if round(figure, 2) >= target else 'no'}"


def read(path: Path) -> dict[str, str]:
    """The sections of a page by title; none if there is no page."""
    if not path.exists():
        return {}
    sections = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {title: body.strip() for title, _, body in (section.partition("\n") for section in sections)}


def write(path: Path, sections: Mapping[str, str], order: Iterable[str]) -> None:
    """The page, its sections in the given order, whole or not at all; titles that are not in it are left out."""
    kept = [f"## {title}\n\n{sections[title]}\n" for title in order if title in sections]
    whole_text(path, "\n".join([HEAD, *kept]))
