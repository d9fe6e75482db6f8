"""`unrolled units`: one text in characters, subwords and words, by DVC's experiments with one unit each.

Perplexities of different units do not compare, as they are means over different tokens. What the whole text costs does:
its nats, with each `<unk>` spelled out, a byte of it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.report.chart import Chart
from unrolled.report.drawing import lines, row
from unrolled.report.experiments import Metrics, Settings, finished, unlike
from unrolled.report.panel import FAINT, Key, Look, Panel, Series

BITS, PERPLEXITY = "spelled_bits_per_byte", "forward_perplexity"
KEYS = ("unit", "min_count", "max_size", "subwords", "size")  # of the section vocabulary: what makes a row
COUNTED = "kneser_ney"  # the one baseline that is worth standing beside the arms
ORDER = ("character", "subword", "word")


class Row(NamedTuple):
    """One experiment: its unit as it is told, the number of types, how much of the test is ``<unk>``, what came out."""

    label: str
    types: int
    unknown: float
    bits: dict[str, float]  # a byte of the test split, by arm
    perplexity: dict[str, float]  # a token of it


def over_units(shown: Sequence[Mapping[str, Any]], folder: str) -> list[tuple[Settings, list[Row]]]:
    """By settings, a row a unit. Of a unit tried twice, the last.

    What stands alone with its settings comes first, so that one sees by which it differs; nothing where all does.
    ``shown``: what DVC shows; ``folder``: the pipeline's.
    """
    groups: dict[str, dict[str, Row]] = {}
    for settings, metrics in finished(shown, folder):
        vocabulary = {key: json.loads(settings.pop(f"vocabulary.{key}", "null")) for key in KEYS}
        if found := _row(vocabulary, metrics):
            groups.setdefault(json.dumps(settings, sort_keys=True), {})[found.label] = found
    tables = [(json.loads(settings), sorted(rows.values(), key=_place)) for settings, rows in groups.items()]
    tables.sort(key=lambda each: len(each[1]) > 1)
    return tables if tables and len(tables[-1][1]) > 1 else []


def _row(vocabulary: Mapping[str, Any], metrics: Metrics) -> Row | None:
    known = {
        name: each
        for name, each in metrics.items()
        if ("-" in name or name == COUNTED) and {BITS, PERPLEXITY} <= {*each}
    }
    if not known:
        return None
    first = next(iter(known.values()))
    label = str(vocabulary["unit"])
    if label == "subword":
        label += f", {vocabulary['subwords']} {vocabulary['size']:,}"
    elif label == "word":
        label += f", seen {vocabulary['min_count']} times" * (vocabulary["min_count"] > 1)
        label += f", {vocabulary['max_size']:,} at most" if vocabulary["max_size"] else ""
    bits, perplexity = ({name: each[of] for name, each in known.items()} for of in (BITS, PERPLEXITY))
    return Row(label, int(first["vocabulary_size"]), float(first["unknown_share"]), bits, perplexity)


def _place(unit: Row) -> tuple[int, int]:
    return ORDER.index(unit.label.partition(",")[0]), unit.types


def table(settings: Settings, rows: Sequence[Row], beside: Settings) -> Iterator[str]:
    """Of each unit what a byte of the test split costs each arm; ``beside``: settings that need no mention."""
    yield f"{unlike(settings, beside)}: bits a byte of the test split (perplexity a token)"
    arms, width = _arms(rows), max(len(each.label) for each in rows)
    yield f"  {'':{width}}    types   <unk>  " + " ".join(f"{name:>19}" for name in arms)
    for unit in rows:
        told = (f"{unit.bits[name]:.3f} ({unit.perplexity[name]:,.2f})" if name in unit.bits else "" for name in arms)
        cells = " ".join(f"{each:>19}" for each in told)
        yield f"  {unit.label:{width}}  {unit.types:>7,}  {unit.unknown:>5.1%}  {cells}"


def _arms(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for each in rows for name in each.bits))


def draw(rows: Sequence[Row], place: Path) -> None:
    """Bits a byte by unit, a bar an arm; ``place``: .svg, and .png beside it."""
    picture(rows).write(place)


def picture(rows: Sequence[Row]) -> Chart:
    """As `draw`."""
    arms = _arms(rows)
    cells = {name: dict(zip(("arch", "clipping"), name.rsplit("-", 1), strict=True)) for name in arms if "-" in name}
    drawn = lines([{**cell, "arm": name, "seed": 1} for name, cell in cells.items()], dict.fromkeys(cells))
    counted = [Key(name.replace("_", "-"), Look(FAINT, width=6), name) for name in arms if name not in cells]
    return row([partial(_bars, rows, arms, {line.arm: line.series() for line in drawn})], drawn, counted)


def _bars(rows: Sequence[Row], arms: Sequence[str], drawn: Mapping[str, Series], panel: Panel) -> None:
    """What diverged has no bar."""
    panel.set("What a byte of the test split costs", y="bits, each <unk> spelled out")
    panel.x.ticks, panel.x.labels = range(len(rows)), [each.label.replace(", ", "\n", 1) for each in rows]
    panel.x.grid, panel.x.limits = False, (-0.5, len(rows) - 0.5)
    share = 0.8 / len(arms)
    for number, name in enumerate(arms):
        costs = [each.bits.get(name, math.nan) for each in rows]
        there = [place for place, cost in enumerate(costs) if math.isfinite(cost)]
        places = np.array(there) + (number - (len(arms) - 1) / 2) * share
        heights = [costs[place] for place in there]
        of = drawn.get(name, Series(name, name, Look(FAINT)))
        panel.bars(of, places, heights, 0.9 * share, [rows[place].label for place in there])
        panel.words(places, heights, [f"{height:.2f}" for height in heights], dy=-7)
