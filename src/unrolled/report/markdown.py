"""How numbers and tables read in a page of text."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

ENDLESS = 1e6  # a score beyond it is that of an arm that exploded, whatever its digits


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown, numbers to the right; a bar within a cell, as in a name, does not end it."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return [f"| {' | '.join(_in_a_cell(cell) for cell in cells)} |" for cells in lines]


def _in_a_cell(text: str) -> str:
    return text.replace("|", r"\|")


def number(value: float | None, *, signed: bool = False) -> str:
    """Four significant digits or so: 0.2503, 96.31, 1,234, 3.2e+17, 0 where it is exactly that; empty for None."""
    if value is None:
        return ""
    plus = "+" if signed else ""
    if value == 0:
        return "0"
    if isinstance(value, int):
        return f"{value:{plus},}"
    size = abs(value)
    if not math.isfinite(value) or size >= ENDLESS or 0 < size < 1e-3:
        return f"{value:{plus}.2g}"
    return f"{value:{plus},.{0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3}f}"


def with_interval(row: Mapping[str, Any], name: str, *, signed: bool = False) -> str:
    value = row[name]
    if value is None or not abs(value) <= ENDLESS:
        return bounded(value)
    if math.isnan(row[f"{name}_low"]):  # as of a test split that is one unit
        return with_spread(row, name, signed=signed)
    low, high = (number(row[f"{name}_{end}"], signed=signed) for end in ("low", "high"))
    return f"{with_spread(row, name, signed=signed)} [{low}, {high}]"


def with_spread(row: Mapping[str, Any], name: str, *, signed: bool = False) -> str:
    """The value, and the standard deviation over seeds where there are several."""
    value, over_seeds = row[name], row.get(f"{name}_seeds")
    if value is None or over_seeds is None or not abs(value) <= ENDLESS:
        return number(value, signed=signed) if value is not None and abs(value) <= ENDLESS else bounded(value)
    return f"{number(value, signed=signed)} ± {defined(over_seeds)}"


def over_seeds(values: Sequence[float | None], form: Callable[[float], str]) -> str:
    """The median of what the seeds gave, and the range of it where they differ; empty where none gave anything."""
    given = [value for value in values if value is not None]
    finite, others = sorted(filter(math.isfinite, given)), [each for each in given if not math.isfinite(each)]
    parts = []
    if finite:
        middle, low, high = (form(each) for each in (finite[(len(finite) - 1) // 2], finite[0], finite[-1]))
        parts.append(middle if low == high else f"{middle} ({low} to {high})")
    said = Counter(form(each) for each in others)
    parts += [word if count == len(given) else f"{count} {word}" for word, count in said.items()]
    return "; ".join(parts)


def bounded(value: float | None) -> str:
    """In words where an arm exploded: no interval says more."""
    if value is None or abs(value) <= ENDLESS:
        return number(value)
    return "undefined" if math.isnan(value) else "above 1e6" if value > 0 else "below -1e6"


def or_bounded(form: Callable[[float], str]) -> Callable[[float], str]:
    """As ``form`` says it, where an arm did not explode."""
    return lambda value: form(value) if abs(value) <= ENDLESS else bounded(value)


def defined(value: float, *, signed: bool = False) -> str:
    return number(value, signed=signed) if math.isfinite(value) else "undefined"
