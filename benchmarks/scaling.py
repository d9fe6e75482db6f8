"""The part `scaling`: what a training step costs as one size grows, and whether it is a straight line in its work."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.contestants import Shape, our_step, plain_step, step_flops
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race
from unrolled.report.chart import Chart
from unrolled.report.panel import Key, Look, Panel, Series

TARGET = 0.99
FIGURE = "scaling.svg"
START = Shape(35, 20, 128, 1, 4_000)
FACTORS = 1, 2, 4, 8
SIZES = {
    "steps": "time steps T",
    "columns": "columns B",
    "hidden": "hidden units H",
    "words": "words V",
    "layers": "layers",
}
LOOKS = {
    "ours": Look("#0B6E99", width=1.4, marker="circle", size=6),
    "plain": Look("#C4621A", (6, 3), 1.4, marker="square", size=6, open=True),
}


class Curve(NamedTuple):
    """Milliseconds of a step at each value of one size, and the line fitted to them: ms = fixed + slope x FLOPs."""

    milliseconds: list[float]
    fixed: float
    slope: float
    r_squared: float


Panels = dict[tuple[str, str], dict[str, Curve]]  # (cell, size) -> the curve of each contestant


def scaling_section(conditions: Conditions) -> Iterator[str]:
    steps, columns_, hidden, layers, words = START
    yield paragraph(
        conditions.sentence(conditions.few),
        f"One size grows, the others stay: T = {steps}, B = {columns_}, H = {hidden}, V = {words:,}, {layers} layer.",
        "Fitted is a straight line in the step's unavoidable FLOPs, which are linear in T, B, V and layers and",
        "quadratic in H; R² says how much of the cost it explains.",
    )
    yield f"![Milliseconds of a training step against each size]({FIGURE})\n"
    titles = *(f"{factor} x" for factor in FACTORS), "plain 8 x", "R²", "target", "met", "R² of plain"
    yield from columns("cell", "size, ours in ms", *titles, text=2)
    panels: Panels = {}
    for cell in conditions.cells:
        for size in SIZES:
            curves = panels[cell, size] = measure(cell, size, conditions)
            ours, plain = curves["ours"], curves["plain"]
            cost = " | ".join(f"{each:.1f}" for each in (*ours.milliseconds, plain.milliseconds[-1]))
            fit = f"{against(ours.r_squared, TARGET)} | {plain.r_squared:.2f}"
            yield row(cell, f"{SIZES[size]} from {getattr(START, size):,}", cost, fit)
    draw(panels, conditions.folder / FIGURE)


def shapes(size: str) -> list[Shape]:
    return [START._replace(**{size: getattr(START, size) * factor}) for factor in FACTORS]


def measure(cell: str, size: str, conditions: Conditions) -> dict[str, Curve]:
    grown = shapes(size)
    flops = [step_flops(cell, shape) for shape in grown]
    calls = {f"ours {factor}": our_step(cell, shape) for factor, shape in zip(FACTORS, grown, strict=True)}
    calls |= {f"plain {factor}": plain_step(cell, shape) for factor, shape in zip(FACTORS, grown, strict=True)}
    taken = race(calls, rounds=conditions.few, clock=conditions.clock)
    return {who: fitted(flops, [taken[f"{who} {factor}"].median * 1e3 for factor in FACTORS]) for who in LOOKS}


def fitted(flops: Sequence[float], milliseconds: list[float]) -> Curve:
    """Least squares."""
    slope, fixed = np.polyfit(flops, milliseconds, 1)
    left = np.asarray(milliseconds) - (fixed + slope * np.asarray(flops))
    r_squared = 1 - float((left**2).sum()) / (np.var(milliseconds) * len(milliseconds))
    return Curve(milliseconds, float(fixed), float(slope), float(r_squared))


def draw(panels: Mapping[tuple[str, str], Mapping[str, Curve]], path: Path) -> None:
    """A row a cell, a panel a size: points as measured, the fitted line through them."""
    drawn = [_panel(cell, size, curves) for (cell, size), curves in panels.items()]
    legend = [[Key(who, look)] for who, look in LOOKS.items()]
    Chart(drawn, legend, alike=True, size=(180.0, 150.0), across=len(SIZES)).write(path, (".svg",))


def _panel(cell: str, size: str, curves: Mapping[str, Curve]) -> Panel:
    panel = Panel()
    panel.set("", SIZES[size], f"{cell}: ms a step")
    values = [getattr(shape, size) for shape in shapes(size)]
    smooth = np.linspace(0, values[-1], 60)
    work = np.asarray([step_flops(cell, START._replace(**{size: value})) for value in smooth])
    for who, curve in curves.items():
        look = LOOKS[who]
        panel.add(Series("", f"{who}, fitted", look._replace(marker=None)), smooth, curve.fixed + curve.slope * work)
        panel.add(Series("", who, look._replace(width=0)), values, curve.milliseconds)
    # all are ticks, but the second would be written over the first
    panel.x.ticks, panel.x.labels = values, [f"{value:,}" if value != values[1] else "" for value in values]
    highest = max(row["y"] for row in panel.rows)
    panel.x.limits, panel.y.limits = (0, 1.03 * values[-1]), (0, 1.05 * highest)
    return panel
