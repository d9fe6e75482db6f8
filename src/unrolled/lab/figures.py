"""The report's figures, drawn from the same tables that `dvc plots` reads.

One hue an architecture; the first clipping row dark and solid, its twins lighter and dashed. Values far beyond what an
axis can show (an unclipped arm reaches 1e17) stand as triangles with their number at its upper edge.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from unrolled.lab.saved_view import run_colour
from unrolled.measures import window_maxima
from unrolled.settings import Settings

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
YARDSTICK: dict[str, Any] = {"color": INK, "linewidth": 1.4, "linestyle": (0, (1, 1.5))}
THRESHOLD: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (6, 3))}
THIN: dict[str, Any] = {"color": INK, "linewidth": 1}
PANEL = 4.8, 3.9  # inches
POINTS = 100  # of a curve by step: the largest of each stretch, so that an explosion shows and the rest is a line
PROFILES = {  # table -> its x axis, what that is called, and what the norms are of
    "profile": ("time_step", "time step in the window", "all losses of the window"),
    "lag_profile": ("distance", "time steps back from the loss", "one loss"),
}

Panel = Callable[[Axes], None]


@dataclass(frozen=True)
class Line:
    """How an arm is drawn, wherever it is drawn."""

    arm: str
    arch: str
    clip_norm: float | None
    colour: str
    dash: Dash

    @property
    def look(self) -> dict[str, Any]:
        """Open markers on a dashed line, so that a twin that it runs over still shows."""
        face = self.colour if self.dash == DASHES[0] else "white"
        return {"color": self.colour, "linestyle": self.dash, "linewidth": 2, "markerfacecolor": face}


def lines(arms: Sequence[Settings]) -> list[Line]:
    """One hue an arch, one shade and dash a clipping row, in the grid's order."""
    archs = list(dict.fromkeys(arm.arch for arm in arms))
    clippings = list(dict.fromkeys(arm.clipping for arm in arms))
    drawn = []
    for arm in arms:
        twin = clippings.index(arm.clipping)
        colour, dash = run_colour(archs.index(arm.arch), twin), DASHES[twin % len(DASHES)]
        drawn.append(Line(str(arm.arm), str(arm.arch), arm.train.clip_norm, colour, dash))
    return drawn


@dataclass(frozen=True)
class Figures:
    """Draws the tables of one comparison; `reduction` is what the losses behind clip_norm were averaged over."""

    arms: Sequence[Line]
    tables: Mapping[str, pd.DataFrame]
    unigram: float
    uniform: float
    reduction: str

    def write(self, folder: Path) -> None:
        """All figures as svg and png, byte-identical for the same tables."""
        folder.mkdir(parents=True, exist_ok=True)
        norms = [self.norm_panel(arch) for arch in dict.fromkeys(line.arch for line in self.arms)]
        overview = [self.perplexity, self.norm_panel(self._furthest_apart()), self.lag_overview()]
        unigram = _key("unigram of the test split", YARDSTICK)
        clipping = [line for line in self.arms if line.clip_norm is not None]
        thresholds = dict.fromkeys(f"clip_norm {line.clip_norm:g}; loss: {self.reduction}" for line in clipping)
        threshold = [_key(label, THRESHOLD) for label in thresholds]
        with matplotlib.rc_context(STYLE):
            _save(self._row([self.perplexity], self.arms, [unigram]), folder / "perplexity")
            _save(self._row(norms, self.arms, threshold, share=True), folder / "grad_norm")
            _save(self._row([self.clipped_share], clipping), folder / "clipped_share")
            for name in PROFILES:
                layers = [_key("thinner: higher layers", THIN)] if self.tables[name]["layer"].max() > 0 else []
                _save(self._row(self.profile_panels(name), self.arms, layers, share=True), folder / name)
            _save(self._row(overview, self.arms, [unigram, *threshold]), folder / "overview")

    # ---- panels: each draws into one axes -------------------------------------------------------------------------

    def perplexity(self, axes: Axes) -> None:
        """Validation perplexity by epoch, of the head that sees the left."""
        axes.set(title="Validation perplexity (lower is better)", xlabel="epoch", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        table = self.tables["perplexity"]
        top = 1.6 * max(self.unigram, self.uniform)
        beyond = table[table["forward_perplexity"] > top]["arm"].unique().tolist()
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            dodge = 0.06 * (beyond.index(line.arm) - (len(beyond) - 1) / 2) if line.arm in beyond else 0.0
            _draw(axes, line, mine["epoch"], mine["forward_perplexity"], top=top, marker="o", dodge=dodge)
        axes.axhline(self.unigram, **YARDSTICK)
        _finish(axes, table["forward_perplexity"], top=top)

    def norm_panel(self, arch: str) -> Panel:
        """Gradient norm before clipping by step, an arch's twins in one panel."""

        def panel(axes: Axes) -> None:
            axes.set(title=f"{arch}: gradient norm before clipping", xlabel="step", yscale="log")
            table = self.tables["grad_norm"]
            typical = table["window_max"].median()
            top = 1e6 * typical  # above, an explosion would press everything else flat
            twins = [line for line in self.arms if line.arch == arch]
            for line in reversed(twins):  # the clipped arm's dark line lies on top
                last, norms = window_maxima(table[table["arm"] == line.arm]["window_max"], POINTS)
                step = table[table["arm"] == line.arm]["step"].iloc[last]
                _draw(axes, line, step, pd.Series(norms, step.index), top=top, linewidth=1.6)
            for clip_norm in {line.clip_norm for line in twins if line.clip_norm is not None}:
                axes.axhline(clip_norm, **THRESHOLD)
            mine = table[table["arm"].isin([line.arm for line in twins])]
            _finish(axes, table["window_max"], top=top, bottom=typical / 100, own=mine["window_max"])

        return panel

    def clipped_share(self, axes: Axes) -> None:
        """Share of an epoch's steps whose norm exceeded clip_norm, of the arms that clip."""
        axes.set(title="Share of steps that were clipped", xlabel="epoch", ylim=(-0.02, 1.02))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        table = self.tables["clipped_share"]
        clipping = [line for line in self.arms if line.clip_norm is not None]
        for above, line in zip(range(len(clipping) - 1, -1, -1), clipping, strict=True):
            mine = table[table["arm"] == line.arm]
            width = 2 + min(above, 4)  # equal shares are common: what lies below is wider
            _draw(axes, line, mine["epoch"], mine["clipped_share"], marker="o", linewidth=width, markersize=3 + width)
        if not clipping:
            _note(axes, "no arm clips")

    def profile_panels(self, name: str) -> list[Panel]:
        """One panel a stack of an arch: norm of dL/dh by time step, or by distance from one loss."""
        table = self.tables[name].assign(arch=self.tables[name]["arm"].map({line.arm: line.arch for line in self.arms}))
        if table.empty:  # every arm diverged in its first epoch
            return [lambda axes: _note(axes, "nothing to draw: no arm came through its first epoch")]
        two = table[table["stack"] == "backward"]["arch"].unique()
        panels = []
        for (arch, stack), rows in table.groupby(["arch", "stack"], sort=False):
            title = f"{arch}, {stack} stack" if arch in two else str(arch)
            panels.append(self._profile_panel(name, title, rows, table))
        return panels

    def lag_overview(self) -> Panel:
        """Every arm's forward stack, lowest layer: how far back the gradient of one loss reaches."""
        table = self.tables["lag_profile"]
        lowest = table[(table["stack"] == "forward") & (table["layer"] == 0)]
        return self._profile_panel("lag_profile", "How far back one loss is felt", lowest, lowest)

    def _profile_panel(self, name: str, title: str, rows: pd.DataFrame, table: pd.DataFrame) -> Panel:
        """`rows`, on an axis for all of `table`: around what the arms have where the losses are."""
        x, label, of = PROFILES[name]
        nearest = table.loc[table["distance"] == 0, "norm"].median()
        top = 1e4 * nearest

        def panel(axes: Axes) -> None:
            axes.set(title=title, xlabel=label, yscale="log")
            place = axes.get_subplotspec()
            axes.set_ylabel(f"norm of dL/dh, {of}" if rows is table or (place and place.is_first_col()) else "")
            for line in self.arms:
                for layer, mine in rows[rows["arm"] == line.arm].groupby("layer"):
                    _draw(axes, line, mine[x], mine["norm"], top=top, linewidth=2 / (1 + 0.5 * int(str(layer))))
            _finish(axes, table["norm"], top=top, bottom=1e-12 * nearest, own=rows["norm"])

        return panel

    # ---- the frame around them ------------------------------------------------------------------------------------

    def _furthest_apart(self) -> str:
        """The arch whose twins' gradient norms differ most: where clipping has most to say."""
        table = self.tables["grad_norm"]
        typical = np.log10(table["window_max"].fillna(math.inf).clip(1e-30, 1e30)).groupby(table["arm"]).mean()
        return str(typical.groupby({line.arm: line.arch for line in self.arms}, sort=False).agg(np.ptp).idxmax())

    def _row(
        self, panels: Sequence[Panel], arms: Sequence[Line], extras: Sequence[Line2D] = (), *, share: bool = False
    ) -> Figure:
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


# ---- drawing -----------------------------------------------------------------------------------------------------


def _draw(
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


def _finish(
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
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,), numticks=9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """1,000 rather than 10^3 as far as that reads well, then 3e17."""
    if not math.isfinite(value):
        return "infinity"
    if 1e-3 <= value < 1e5:
        return f"{value:,.6f}".rstrip("0").rstrip(".") if value < 1 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, fill(text, 30), ha="center", va="center", transform=axes.transAxes)


def _legend(figure: Figure, arms: Sequence[Line], extras: Sequence[Line2D], *, below: bool) -> None:
    """Beside the panels one column; below them a column an arch, padded, since matplotlib fills columns."""
    archs = dict.fromkeys(line.arch for line in arms)
    columns = [[_key(line.arm, line.look) for line in arms if line.arch == arch] for arch in archs]
    columns = [column for column in (*columns, list(extras)) if column]
    if below:
        height = max(map(len, columns))
        columns = [column + [_key("", {"linestyle": "none"})] * (height - len(column)) for column in columns]
    handles = [handle for column in columns for handle in column]
    if handles:
        place = {"loc": "outside lower center", "ncols": len(columns)} if below else {"loc": "outside right center"}
        figure.legend(handles=handles, **place)


def _key(label: str, style: dict[str, Any]) -> Line2D:
    return Line2D([], [], label=fill(label, 28), **style)


def _save(figure: Figure, path: Path) -> None:
    """As svg and png, each whole or not at all, neither with a date."""
    for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 160, "metadata": {"Software": None}})):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{kind}")
        figure.savefig(temporary, format=kind, facecolor="white", **options)
        figure.set_layout_engine("none")  # keep the layout: finding it takes longer than drawing
        os.replace(temporary, path.with_suffix(f".{kind}"))
