"""The report's figures, drawn from the same tables that `dvc plots` reads; how they look is in drawing.py."""

import itertools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.probing.gradient_norms import window_maxima
from unrolled.report.axis import whole_ticks
from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import (
    BASELINES,
    POINTS,
    THIN,
    THRESHOLD,
    Draw,
    Line,
    draw,
    finish,
    lines,
    norm_at_losses,
    row,
)
from unrolled.report.markdown import ENDLESS, number
from unrolled.report.panel import INK, Key, Look, Panel
from unrolled.report.phenomena_figures import PhenomenaFigures
from unrolled.report.sweeps import SweepFigures

PROFILES = {  # table -> its x axis, what that is called, and what the norms are of
    "profile": ("time_step", "time step in the window", "all losses of the window"),
    "lag_profile": ("distance", "time steps back from the loss", "one loss"),
}
DEAD = 1e-6  # of the usual addend: so small, an arm's would press all others flat, and is told in words
SUMS: dict[str, dict[str, Any]] = {  # beside the addends
    "norm of their sum": {"marker": "circle", "size": 6},
    "if they were orthogonal": {"marker": "stroke", "size": 11},
    "if they were aligned": {"marker": "triangle-down", "size": 7},
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
        """Those of ``names``, or all, as svg, png and json, byte-identical for the same tables."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, make in self._makers().items():
            if names is None or name in names:
                make().write(folder / name, (".svg", ".png", ".json"))

    def _makers(self) -> dict[str, Callable[[], Chart]]:
        norms = [self.norm_panel(arch) for arch in dict.fromkeys(line.arch for line in self.arms)]
        overview = [self.score, self.norm_panel(self._furthest_apart()), self.lag_overview()]
        names = self.comparison.wording.baselines
        baselines = [Key(f"{names[name]} (test)", look) for name, look in self._baselines().items()]
        clipping = [line for line in self.arms if line.clip_norm is not None]
        thresholds = dict.fromkeys(
            f"clip_norm {line.clip_norm:g}; loss: {self.comparison.reduction}" for line in clipping
        )
        threshold = [Key(label, THRESHOLD) for label in thresholds]
        marks = [Key(label, Look(INK, width=0, **mark)) for label, mark in SUMS.items()]

        def profile(name: str) -> Chart:
            draws = self._by_stack(name, partial(self._profile_panel, name))
            return row(draws, self.arms, self._layers(name), share=True)

        def addends() -> Chart:
            draws, arms = self._by_stack("addends", self._addend_panel), set(self.tables["spectra"]["arm"])
            recurrent = [line for line in self.arms if line.arm in arms]
            return row(draws, recurrent, [*self._layers("addends"), *marks], share=True)

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

    # ---- panels: each is drawn into --------------------------------------------------------------------------------

    def score(self, panel: Panel) -> None:
        """The validation split's main score by epoch."""
        main, table, top = self.comparison.main, self.tables["score"], self._beyond()
        better = "lower" if main.lower_is_better else "higher"
        panel.set(f"Validation {main.heading} ({better} is better)", "epoch", log="y" if main.ratio else "")
        panel.x.whole = True
        beyond = table[table[main.name] > top]["arm"].unique().tolist()
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            dodge = 0.06 * (beyond.index(line.arm) - (len(beyond) - 1) / 2) if line.arm in beyond else 0.0
            draw(panel, line, mine["epoch"], mine[main.name], top=top, marker="circle", dodge=dodge)
        heights = [self.comparison.baselines[name] for name in self._baselines()]
        for height, (name, look) in zip(heights, self._baselines().items(), strict=True):
            panel.rule(height, look, f"{self.comparison.wording.baselines[name]}: {number(height)}")
        if main.ratio:
            finish(panel, pd.concat([table[main.name], pd.Series(heights, dtype=float)]), top=top)

    def norm_panel(self, arch: str) -> Draw:
        """Gradient norm before clipping by step, an arch's twins in one panel."""

        def into(panel: Panel) -> None:
            panel.set(f"{arch}: gradient norm before clipping", "step", log="y")
            table = self.tables["grad_norm"]
            typical = table["window_max"].median()
            top = 1e6 * typical  # above, an explosion would press everything else flat
            twins = [line for line in self.arms if line.arch == arch]
            for line in reversed(twins):  # the clipped arm's dark line lies on top
                last, norms = window_maxima(table[table["arm"] == line.arm]["window_max"], POINTS)
                step = table[table["arm"] == line.arm]["step"].iloc[last]
                draw(panel, line, step, norms, top=top, width=0.8 * line.width)
            for clip_norm in {line.clip_norm for line in twins if line.clip_norm is not None}:
                panel.rule(clip_norm, THRESHOLD, f"clip_norm {clip_norm:g}")
            mine = table[table["arm"].isin([line.arm for line in twins])]
            finish(panel, table["window_max"], top=top, bottom=typical / 100, own=mine["window_max"])

        return into

    def clipped_share(self, panel: Panel) -> None:
        """Share of an epoch's steps whose norm exceeded clip_norm, of the arms that clip."""
        panel.set("Share of clipped steps", "epoch")
        panel.x.whole, panel.y.percent, panel.y.limits = True, True, (-0.02, 1.02)
        table = self.tables["clipped_share"]
        clipping = [line for line in self.arms if line.clip_norm is not None]
        for above, line in zip(range(len(clipping) - 1, -1, -1), clipping, strict=True):
            mine = table[table["arm"] == line.arm]
            width = 2 + min(above, 4)  # equal shares are common: what lies below is wider
            draw(panel, line, mine["epoch"], mine["clipped_share"], marker="circle", width=width, size=3 + width)
        if not clipping:
            panel.note("no arm clips")

    def lag_overview(self) -> Draw:
        """Every arm's main stack, lowest layer: how far back the gradient of one loss reaches."""
        lowest = self.comparison.of_main_stack("lag_profile")
        return self._profile_panel("lag_profile", "How far back one loss reaches", lowest, lowest)

    def _by_stack(self, name: str, of_stack: Callable[[str, pd.DataFrame, pd.DataFrame], Draw]) -> list[Draw]:
        """One panel a stack of an arch, of its title, its rows of the table, and the table."""
        table = self.tables[name].assign(arch=self.tables[name]["arm"].map({line.arm: line.arch for line in self.arms}))
        if table.empty:  # every arm diverged in its first epoch
            return [lambda panel: panel.note("nothing to draw: no arm came through its first epoch")]
        stacks = table.groupby("arch")["stack"].nunique()
        draws = []
        for (arch, stack), rows in table.groupby(["arch", "stack"], sort=False):
            title = f"{arch}, {stack} stack" if stacks[str(arch)] > 1 else str(arch)
            draws.append(of_stack(title, rows, table))
        return draws

    def _profile_panel(self, name: str, title: str, rows: pd.DataFrame, table: pd.DataFrame) -> Draw:
        """Norm of dL/dh of `rows`, on an axis for all of `table`: around what the arms have where the losses are."""
        x, label, of = PROFILES[name]
        nearest = norm_at_losses(table)
        top = 1e4 * nearest
        layers = bool(table["layer"].max() > 0)

        def into(panel: Panel) -> None:
            panel.set(title, label, f"norm of dL/dh, {of}", log="y")
            panel.x.whole = True
            for line in self.arms:
                for layer, mine in rows[rows["arm"] == line.arm].groupby("layer"):
                    width, part = line.width / (1 + 0.5 * int(str(layer))), f"layer {int(str(layer)) + 1}" * layers
                    draw(panel, line, mine[x], mine["norm"], top=top, width=width, part=part)
            finish(panel, table["norm"], top=top, bottom=1e-12 * nearest, own=rows["norm"])

        return into

    def _addend_panel(self, title: str, rows: pd.DataFrame, table: pd.DataFrame) -> Draw:
        """What each time step adds to dL/dW_hh; to the right the norm of the sum, and what it is measured by."""
        totals = table.groupby(["arm", "stack", "layer"])["norm"].sum()
        values = pd.concat([table["norm"], table["sum_norm"], totals])
        typical = table["norm"].where(table["norm"] > 0).median()
        last = rows["time_step"].max()
        layers = bool(table["layer"].max() > 0)

        def into(panel: Panel) -> None:
            panel.set(title, "time step in the window", "addends of dL/dW_hh, norm", log="y")
            panel.x.ticks = whole_ticks([0, last])
            beside = 1.04 * last
            for line in self.arms:
                own = rows[rows["arm"] == line.arm]
                if len(own) and (own["norm"] <= DEAD * typical).all():  # saturated units pass no gradient on
                    most = float(own["norm"].max())
                    panel.x.below.append(f"{line.name}: {'at most ' * bool(most)}{number(most)} at every step")
                    continue
                for layer, mine in own.groupby("layer"):
                    width, part = line.width / (1 + 0.5 * int(str(layer))), f"layer {int(str(layer)) + 1}" * layers
                    draw(panel, line, mine["time_step"], mine["norm"], top=1e4 * typical, width=width, part=part)
                    beside += 0.05 * last
                    heights = [mine["sum_norm"].iloc[0], math.hypot(*mine["norm"]), mine["norm"].sum()]
                    panel.add(line.series("sum", dash=(), width=width / 2), [beside] * 3, heights)
                    for (what, mark), height in zip(SUMS.items(), heights, strict=True):
                        panel.add(line.series(what, dash=(), width=0, **mark), [beside], [height])
            finish(panel, values, top=1e4 * typical, bottom=DEAD * typical, own=rows["norm"])

        return into

    def _beyond(self) -> float:
        """A score that no arm reaches but one that exploded; infinite where the axis shows all there are."""
        main, baselines = self.comparison.main, self.comparison.baselines
        reached = self.tables["score"][main.name]
        highest = float(max(baselines.values()) if baselines else reached[reached < ENDLESS].max())
        return 1.6 * highest if main.ratio and math.isfinite(highest) else math.inf

    def _baselines(self) -> dict[str, Look]:
        """How the baselines are drawn that lie on the score's axis; those with an evaluation of their own always do."""
        wording, reached = self.comparison.wording, self.tables["score"][self.comparison.main.name]
        top = self._beyond() if (reached > self._beyond()).any() or not self.comparison.main.ratio else reached.max()
        looks = dict(zip(self.comparison.baselines, itertools.cycle(BASELINES), strict=False))
        return {
            name: look
            for name, look in looks.items()
            if name not in wording.measured or self.comparison.baselines[name] <= top
        }

    # ---- the frame around them ------------------------------------------------------------------------------------

    def _layers(self, name: str) -> list[Key]:
        return [Key("thinner: higher layers", THIN)] if self.tables[name]["layer"].max() > 0 else []

    def _furthest_apart(self) -> str:
        """The arch whose twins' gradient norms differ most: where clipping has most to say."""
        table = self.tables["grad_norm"]
        typical = np.log10(table["window_max"].fillna(math.inf).clip(1e-30, 1e30)).groupby(table["arm"]).mean()
        return str(typical.groupby({line.arm: line.arch for line in self.arms}, sort=False).agg(np.ptp).idxmax())
