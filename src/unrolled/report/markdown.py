"""How numbers and tables read in a page of text."""

import math
from collections.abc import Iterable, Sequence

ENDLESS = 1e6  # a score beyond it is that of an arm that exploded, whatever its digits


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown, numbers to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def number(value: float | None, *, signed: bool = False) -> str:
    """Four significant digits or so: 0.2503, 96.31, 1,234, 3.2e+17; empty for None."""
    if value is None:
        return ""
    plus = "+" if signed else ""
    if isinstance(value, int):
        return f"{value:{plus},}"
    size = abs(value)
    if not math.isfinite(value) or size >= ENDLESS or 0 < size < 1e-3:
        return f"{value:{plus}.2g}"
    return f"{value:{plus},.{0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3}f}"
