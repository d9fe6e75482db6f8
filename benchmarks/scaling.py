"""The part `scaling`: what a training step costs as one size grows, and whether it is a straight line in its work."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.contestants import Shape, our_step, plain_step, step_flops
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race

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
INK, FAINT = "#262626", "#8C8C8C"
LOOKS: dict[str, dict[str, Any]] = {
    "ours": {"color": "#0B6E99", "marker": "o", "zorder": 3},
    "plain": {"color": "#C4621A", "marker": "s", "markerfacecolor": "white", "linestyle": (0, (4, 1.6))},
}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": FAINT,
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.hashsalt": "unrolled",  # else matplotlib draws random ids
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
    cells = list(dict.fromkeys(cell for cell, _ in panels))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 2.6 * len(cells) + 0.6), layout="constrained")
        grid = figure.subplots(len(cells), len(SIZES), squeeze=False)
        for (cell, size), curves in panels.items():
            place = cells.index(cell), list(SIZES).index(size)
            draw_panel(grid[place], cell, size, curves)
            grid[place].set_xlabel(SIZES[size])
        for cell, first in zip(cells, grid[:, 0], strict=True):
            first.set_ylabel(f"{cell}: ms a step")
        handles = [Line2D([], [], label=who, markersize=5, linewidth=1.4, **look) for who, look in LOOKS.items()]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        figure.savefig(path, metadata={"Date": None})


def draw_panel(axes: Axes, cell: str, size: str, curves: Mapping[str, Curve]) -> None:
    values = [getattr(shape, size) for shape in shapes(size)]
    smooth = np.linspace(0, values[-1], 60)
    work = np.asarray([step_flops(cell, START._replace(**{size: value})) for value in smooth])
    for who, curve in curves.items():
        look = LOOKS[who]
        axes.plot(smooth, curve.fixed + curve.slope * work, linewidth=1.4, **(look | {"marker": ""}))
        axes.plot(values, curve.milliseconds, linewidth=0, markersize=5, **look)
    # all are ticks, but the second would be written over the first
    axes.set_xticks(values, [f"{value:,}" if value != values[1] else "" for value in values])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
