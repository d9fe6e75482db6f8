"""The report's figures, drawn from the same tables that `dvc plots` reads; how they look is in drawing.py."""

import itertools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from unrolled.probing.gradient_norms import window_maxima
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import (
    BASELINES,
    INK,
    POINTS,
    STYLE,
    THIN,
    THRESHOLD,
    Line,
    Panel,
    draw,
    finish,
    key,
    lines,
    note,
    row,
    save,
)
from unrolled.report.markdown import ENDLESS
from unrolled.report.phenomena_figures import PhenomenaFigures
from unrolled.report.sweeps import SweepFigures

PROFILES = {  # table -> its x axis, what that is called, and what the norms are of
    "profile": ("time_step", "time step in the window", "all losses of the window"),
    "lag_profile": ("distance", "time steps back from the loss", "one loss"),
}
SUMS: dict[str, dict[str, Any]] = {  # beside the addends
    "norm of their sum": {"marker": "o", "markersize": 6, "linestyle": "none"},
    "if they were orthogonal": {"marker": "_", "markersize": 10, "linestyle": "none"},
    "if they were aligned": {"marker": "v", "markersize": 6, "linestyle": "none"},
}


@dataclass(frozen=True)
class Figures:
    """Draws the tables of one comparison."""

    comparison: Comparison

    @cached_property
    def arms(self) -> list[Line]:
        """How each arm is drawn."""
        return lines(self.comparison.grid, {arm.name: arm.clip_norm for arm in self.comparison.arms})

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return self.comparison.tables

    def write(self, folder: Path, names: Collection[str] | None = None) -> None:
        """Those of ``names``, or all, as svg and png, byte-identical for the same tables."""
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context(STYLE):
            for name, make in self._makers().items():
                if names is None or name in names:
                    save(make(), folder / name)

    def _makers(self) -> dict[str, Callable[[], Figure]]:
        norms = [self.norm_panel(arch) for arch in dict.fromkeys(line.arch for line in self.arms)]
        overview = [self.score, self.norm_panel(self._furthest_apart()), self.lag_overview()]
        names = self.comparison.wording.baselines
        baselines = [key(f"{names[name]} (test)", look) for name, look in self._baselines().items()]
        clipping = [line for line in self.arms if line.clip_norm is not None]
        thresholds = dict.fromkeys(
            f"clip_norm {line.clip_norm:g}; loss: {self.comparison.reduction}" for line in clipping
        )
        threshold = [key(label, THRESHOLD) for label in thresholds]
        marks = [key(label, {"color": INK} | mark) for label, mark in SUMS.items()]

        def profile(name: str) -> Figure:
            panels = self._by_stack(name, partial(self._profile_panel, name))
            return row(panels, self.arms, self._layers(name), share=True)

        def addends() -> Figure:
            panels, arms = self._by_stack("addends", self._addend_panel), set(self.tables["spectra"]["arm"])
            recurrent = [line for line in self.arms if line.arm in arms]
            return row(panels, recurrent, [*self._layers("addends"), *marks], share=True)

        return {
            "score": lambda: row([self.score], self.arms, baselines),
            **self.comparison.wording.pictures(self.arms, self.comparison),
            "grad_norm": lambda: row(norms, self.arms, threshold, share=True),
            "clipped_share": lambda: row([self.clipped_share], clipping),
            **{name: partial(profile, name) for name in PROFILES},
            **({"addends": addends} if len(self.tables["spectra"]) else {}),  # else no arm has a recurrent matrix
            "overview": lambda: row(overview, self.arms, [*baselines, *threshold]),
            **PhenomenaFigures(self.arms, self.comparison, self._beyond()).makers(self.lag_overview()),
            **SweepFigures(self.tables, self.comparison.main).makers(),
        }

    # ---- panels: each draws into one axes -------------------------------------------------------------------------

    def score(self, axes: Axes) -> None:
        """The validation split's main score by epoch."""
        main, table, top = self.comparison.main, self.tables["score"], self._beyond()
        better = "lower" if main.lower_is_better else "higher"
        axes.set(title=f"Validation {main.heading} ({better} is better)", xlabel="epoch")
        axes.set_yscale("log" if main.ratio else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        beyond = table[table[main.name] > top]["arm"].unique().tolist()
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            dodge = 0.06 * (beyond.index(line.arm) - (len(beyond) - 1) / 2) if line.arm in beyond else 0.0
            draw(axes, line, mine["epoch"], mine[main.name], top=top, marker="o", dodge=dodge)
        heights = [self.comparison.baselines[name] for name in self._baselines()]
        for height, look in zip(heights, self._baselines().values(), strict=True):
            axes.axhline(height, **look)
        if main.ratio:
            finish(axes, pd.concat([table[main.name], pd.Series(heights, dtype=float)]), top=top)

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
                draw(axes, line, step, pd.Series(norms, step.index), top=top, linewidth=0.8 * line.width)
            for clip_norm in {line.clip_norm for line in twins if line.clip_norm is not None}:
                axes.axhline(clip_norm, **THRESHOLD)
            mine = table[table["arm"].isin([line.arm for line in twins])]
            finish(axes, table["window_max"], top=top, bottom=typical / 100, own=mine["window_max"])

        return panel

    def clipped_share(self, axes: Axes) -> None:
        """Share of an epoch's steps whose norm exceeded clip_norm, of the arms that clip."""
        axes.set(title="Share of clipped steps", xlabel="epoch", ylim=(-0.02, 1.02))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        table = self.tables["clipped_share"]
        clipping = [line for line in self.arms if line.clip_norm is not None]
        for above, line in zip(range(len(clipping) - 1, -1, -1), clipping, strict=True):
            mine = table[table["arm"] == line.arm]
            width = 2 + min(above, 4)  # equal shares are common: what lies below is wider
            draw(axes, line, mine["epoch"], mine["clipped_share"], marker="o", linewidth=width, markersize=3 + width)
        if not clipping:
            note(axes, "no arm clips")

    def lag_overview(self) -> Panel:
        """Every arm's main stack, lowest layer: how far back the gradient of one loss reaches."""
        lowest = self.comparison.of_main_stack("lag_profile")
        return self._profile_panel("lag_profile", "How far back one loss reaches", lowest, lowest)

    def _by_stack(self, name: str, panel: Callable[[str, pd.DataFrame, pd.DataFrame], Panel]) -> list[Panel]:
        """One panel a stack of an arch, of its title, its rows of the table, and the table."""
        table = self.tables[name].assign(arch=self.tables[name]["arm"].map({line.arm: line.arch for line in self.arms}))
        if table.empty:  # every arm diverged in its first epoch
            return [lambda axes: note(axes, "nothing to draw: no arm came through its first epoch")]
        stacks = table.groupby("arch")["stack"].nunique()
        panels = []
        for (arch, stack), rows in table.groupby(["arch", "stack"], sort=False):
            title = f"{arch}, {stack} stack" if stacks[str(arch)] > 1 else str(arch)
            panels.append(panel(title, rows, table))
        return panels

    def _profile_panel(self, name: str, title: str, rows: pd.DataFrame, table: pd.DataFrame) -> Panel:
        """Norm of dL/dh of `rows`, on an axis for all of `table`: around what the arms have where the losses are."""
        x, label, of = PROFILES[name]
        nearest = table.loc[table["distance"] == 0, "norm"].median()
        top = 1e4 * nearest

        def panel(axes: Axes) -> None:
            axes.set(title=title, xlabel=label, yscale="log")
            place = axes.get_subplotspec()
            axes.set_ylabel(f"norm of dL/dh, {of}" if rows is table or (place and place.is_first_col()) else "")
            for line in self.arms:
                for layer, mine in rows[rows["arm"] == line.arm].groupby("layer"):
                    draw(axes, line, mine[x], mine["norm"], top=top, linewidth=line.width / (1 + 0.5 * int(str(layer))))
            finish(axes, table["norm"], top=top, bottom=1e-12 * nearest, own=rows["norm"])

        return panel

    def _addend_panel(self, title: str, rows: pd.DataFrame, table: pd.DataFrame) -> Panel:
        """What each time step adds to dL/dW_hh; to the right the norm of the sum, and what it is measured by."""
        totals = table.groupby(["arm", "stack", "layer"])["norm"].sum()
        values = pd.concat([table["norm"], table["sum_norm"], totals])
        typical = table["norm"].where(table["norm"] > 0).median()
        last = rows["time_step"].max()

        def panel(axes: Axes) -> None:
            axes.set(title=title, xlabel="time step in the window", yscale="log")
            axes.set_xticks([tick for tick in MaxNLocator(4, integer=True).tick_values(0, last) if tick <= last])
            place = axes.get_subplotspec()
            axes.set_ylabel("addends of dL/dW_hh, norm" if place and place.is_first_col() else "")
            beside = 1.04 * last
            for line in self.arms:
                own = rows[rows["arm"] == line.arm]
                if len(own) and not own["norm"].any():  # a saturated tanh passes no gradient on
                    axes.set_xlabel(f"{axes.get_xlabel()}\n{self._name(line)}: 0 at every step")
                    continue
                for layer, mine in own.groupby("layer"):
                    width = line.width / (1 + 0.5 * int(str(layer)))
                    draw(axes, line, mine["time_step"], mine["norm"], top=1e4 * typical, linewidth=width)
                    beside += 0.05 * last
                    heights = [mine["sum_norm"].iloc[0], math.hypot(*mine["norm"]), mine["norm"].sum()]
                    axes.plot([beside] * 3, heights, color=line.colour, linewidth=width / 2)
                    for mark, height in zip(SUMS.values(), heights, strict=True):
                        axes.plot(beside, height, **line.look | mark)
            finish(axes, values, top=1e4 * typical, bottom=1e-12 * typical, own=rows["norm"])

        return panel

    def _beyond(self) -> float:
        """A score that no arm reaches but one that exploded; infinite where the axis shows all there are."""
        main, baselines = self.comparison.main, self.comparison.baselines
        reached = self.tables["score"][main.name]
        highest = float(max(baselines.values()) if baselines else reached[reached < ENDLESS].max())
        return 1.6 * highest if main.ratio and math.isfinite(highest) else math.inf

    def _baselines(self) -> dict[str, dict[str, Any]]:
        """How the baselines are drawn that lie on the score's axis; those with an evaluation of their own always do."""
        wording, reached = self.comparison.wording, self.tables["score"][self.comparison.main.name]
        top = self._beyond() if (reached > self._beyond()).any() or not self.comparison.main.ratio else reached.max()
        looks = dict(zip(self.comparison.baselines, itertools.cycle(BASELINES), strict=False))
        return {
            name: look
            for name, look in looks.items()
            if name not in wording.measured or self.comparison.baselines[name] <= top
        }

    def _name(self, line: Line) -> str:
        return line.arm if self.comparison.several else line.configuration

    # ---- the frame around them ------------------------------------------------------------------------------------

    def _layers(self, name: str) -> list[Line2D]:
        return [key("thinner: higher layers", THIN)] if self.tables[name]["layer"].max() > 0 else []

    def _furthest_apart(self) -> str:
        """The arch whose twins' gradient norms differ most: where clipping has most to say."""
        table = self.tables["grad_norm"]
        typical = np.log10(table["window_max"].fillna(math.inf).clip(1e-30, 1e30)).groupby(table["arm"]).mean()
        return str(typical.groupby({line.arm: line.arch for line in self.arms}, sort=False).agg(np.ptp).idxmax())
