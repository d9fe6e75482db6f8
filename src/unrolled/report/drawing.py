"""How the figures look: one hue an architecture; the first clipping row dark and solid, its twins lighter and dashed.

Values far beyond what an axis can show (an unclipped arm reaches 1e17) stand as triangles with their number at its
upper edge.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from unrolled.ground.atomic import workplace
from unrolled.report.colours import run_colour

Dash = tuple[float, Sequence[float]]  # offset, lengths on and off

DASHES: Sequence[Dash] = ((0, ()), (0, (4, 1.6)), (0, (1.2, 1.2)))
INK, FAINT = "#262626", "#8C8C8C"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": FAINT,
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.hashsalt": "unrolled",  # else matplotlib draws random ids
}
BASELINES: Sequence[dict[str, Any]] = [
    {"color": INK, "linewidth": 1.4, "linestyle": (0, dashes)} for dashes in ((6, 1.5, 1, 1.5), (1, 1.5), (1, 4))
]
THRESHOLD: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (6, 3))}
THIN: dict[str, Any] = {"color": INK, "linewidth": 1}
PANEL = 4.8, 3.9  # inches
KEY, LETTER, ROW = 0.75, 0.1, 0.24  # inches that a key of a legend takes, a letter beside it, and a row of them
POINTS = 100  # of a curve by step: the largest of each stretch, so that an explosion shows and the rest is a line

Panel = Callable[[Axes], None]


@dataclass(frozen=True)
class Line:
    """How an arm is drawn, wherever it is drawn: those of one configuration alike, and thinner."""

    arm: str
    configuration: str
    arch: str
    clip_norm: float | None
    colour: str
    dash: Dash
    width: float = 2.0

    @property
    def look(self) -> dict[str, Any]:
        """Open markers on a dashed line, so that a twin that it runs over still shows."""
        face = self.colour if self.dash == DASHES[0] else "white"
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width, "markerfacecolor": face}


def lines(grid: Sequence[Mapping[str, Any]], clip_norms: Mapping[str, float | None]) -> list[Line]:
    """One hue an arch, one shade and dash a clipping row, by their places in ``grid``.

    Of the arms whose threshold is in ``clip_norms``: one that is not there yet leaves the others their colours.
    """
    archs, clippings = (list(dict.fromkeys(cell[axis] for cell in grid)) for axis in ("arch", "clipping"))
    seeds, drawn = len(dict.fromkeys(cell["seed"] for cell in grid)), []
    for cell in (cell for cell in grid if cell["arm"] in clip_norms):
        twin = clippings.index(cell["clipping"])
        colour, dash = run_colour(archs.index(cell["arch"]), twin), DASHES[twin % len(DASHES)]
        name, width = f"{cell['arch']}-{cell['clipping']}", 2.0 if seeds == 1 else 1.2
        drawn.append(Line(cell["arm"], name, cell["arch"], clip_norms[cell["arm"]], colour, dash, width))
    return drawn


def row(panels: Sequence[Panel], arms: Sequence[Line], extras: Sequence[Line2D] = (), *, share: bool = False) -> Figure:
    """Panels side by side, at most three a row, one legend for all; a single panel has it at its right."""
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    size = (PANEL[0] * columns, PANEL[1] * rows + 0.7) if len(panels) > 1 else (PANEL[0] + 3.6, PANEL[1])
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.02))
    grid = figure.subplots(rows, columns, sharey=share, squeeze=False).ravel()
    for panel, axes in zip(panels, grid, strict=False):
        panel(axes)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _legend(figure, arms, extras, below=len(panels) > 1)
    return figure


def draw(
    axes: Axes, line: Line, x: pd.Series, y: pd.Series, *, top: float = math.inf, dodge: float = 0.0, **style: Any
) -> None:
    """One arm's line; what lies above `top` becomes a triangle at the axis' edge, what is nan a gap."""
    beyond = y > top
    look = line.look | {"markersize": 5} | style
    axes.plot(x, y.clip(upper=top), markevery=(~beyond).to_numpy().tolist(), **look)
    edge: dict[str, Any] = {"marker": "^", "markersize": 8, "linestyle": "none", "clip_on": False, "zorder": 5}
    if len(y) > 2 * POINTS // 5:  # of many in a row the first
        beyond &= ~beyond.shift(fill_value=False)
    if beyond.any():
        axes.plot(x[beyond] + dodge, np.full(beyond.sum(), top), color=line.colour, **edge)


def finish(
    axes: Axes, values: pd.Series, *, top: float = math.inf, bottom: float = 0.0, own: pd.Series | None = None
) -> None:
    """Limits and ticks of a logarithmic axis, and how far beyond it a panel's own values go."""
    shown = values[np.isfinite(values) & (values > bottom) & (values <= top)]
    if len(shown):
        low, high = shown.min(), shown.max()
        room = 1.1 * (high / low) ** 0.04
        axes.set_ylim(low / room, top if (values > top).any() else high * room)
    beyond = (values if own is None else own).max()
    if beyond > top:
        axes.set_xlabel(f"{axes.get_xlabel()}\n▲ beyond the axis: up to {_plain(beyond)}")
    low, high = axes.get_ylim()
    subs = (1, 1.5, 2, 3, 5, 7) if high / low < 8 else (1, 2, 5) if high / low < 300 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())  # and a quarter of the time to draw
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _plain(value: float) -> str:
    """1,000 rather than 10^3 as far as that reads well, then 3e17."""
    if not math.isfinite(value):
        return "infinity"
    if 1e-3 <= value < 1e5:
        return f"{value:,.6f}".rstrip("0").rstrip(".") if value < 10 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, fill(text, 30), ha="center", va="center", transform=axes.transAxes)


def _legend(figure: Figure, arms: Sequence[Line], extras: Sequence[Line2D], *, below: bool) -> None:
    """Beside the panels one column; below them a column an arch, in as many rows of columns as the width asks for.

    Padded, since matplotlib fills columns.
    """
    archs = dict.fromkeys(line.arch for line in arms)
    looks = {line.configuration: line.look for line in arms}
    of = {line.configuration: line.arch for line in arms}
    columns = [[key(name, look) for name, look in looks.items() if of[name] == arch] for arch in archs]
    columns = [column for column in (*columns, list(extras)) if column]
    place: dict[str, Any] = {"loc": "outside right center"}
    if below and columns:
        height, blank = max(map(len, columns)), key("", {"linestyle": "none"})
        widest = max(len(line) for column in columns for each in column for line in str(each.get_label()).split("\n"))
        across = min(len(columns), max(1, int(figure.get_figwidth() / (KEY + LETTER * widest))))
        padded = [column + [blank] * (height - len(column)) for column in columns]
        padded += [[blank] * height] * (-len(columns) % across)
        columns = [[each for column in padded[first::across] for each in column] for first in range(across)]
        place = {"loc": "outside lower center", "ncols": across}
        figure.set_figheight(figure.get_figheight() + ROW * max(0, len(columns[0]) - 2))
    else:
        labels = [str(each.get_label()) for column in columns for each in column]
        figure.set_figheight(max(figure.get_figheight(), ROW * sum(1 + label.count("\n") for label in labels) + 0.4))
    if handles := [handle for column in columns for handle in column]:
        figure.legend(handles=handles, **place)


def key(label: str, style: dict[str, Any]) -> Line2D:
    return Line2D([], [], label=fill(label, 28), **style)


def save(figure: Figure, path: Path) -> None:
    """As svg and png, each whole or not at all, neither with a date.

    Straight from the canvases: `savefig` draws everything twice.
    """
    figure.set_facecolor("white")
    with workplace(path) as place:
        svg, png = place / f"{path.name}.svg", place / f"{path.name}.png"
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
        figure.set_layout_engine("none")  # keep the layout: finding it takes longer than drawing
        figure.set_dpi(160)
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
        for whole in (svg, png):
            os.replace(whole, path.with_suffix(whole.suffix))
