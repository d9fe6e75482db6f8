"""Figures of what a trained network remembers, how its gradients grow and how it exploded; see phenomena.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from unrolled.report.axis import NOTHING
from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import THRESHOLD, Draw, Line, draw, finish, norm_at_losses, row
from unrolled.report.panel import INK, Key, Look, Panel
from unrolled.report.phenomena import WHEN

# Where dashes tell something else than arms.
WHEN_LOOK: dict[str, dict[str, Any]] = dict(
    zip(WHEN, ({"dash": (1.4, 2.8), "width": 1.4}, {"dash": (), "width": 1.0}, {"dash": (), "width": 2.0}), strict=True)
)
SPECTRA: dict[str, dict[str, Any]] = {
    "spectral_radius": {"dash": (), "marker": "circle", "open": False},
    "largest_singular_value": {"dash": (7, 3), "marker": "diamond", "open": False, "size": 6.5},
}
DOT: dict[str, Any] = {"marker": "circle", "size": 9, "width": 0}
LOWEST_EXPONENT = -4.0  # nats a step: what fades faster is gone after three steps


@dataclass(frozen=True)
class PhenomenaFigures:
    """Draws the tables of one comparison; ``beyond``: a score above which an arm is drawn at the upper edge."""

    arms: Sequence[Line]
    comparison: Comparison
    beyond: float

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return self.comparison.tables

    def makers(self, lag: Draw) -> dict[str, Callable[[], Chart]]:
        """By name; ``lag``: the panel that stands beside the memory's, of gradients by distance."""
        archs = list(dict.fromkeys(line.arch for line in self.arms))
        solid = [replace(line, dash=()) for line in self.arms]  # where dashes tell something else than arms
        carrying = [line for line in self.arms if line.arm in set(self.tables["time_constants"]["arm"])]
        recurrent = [line for line in solid if line.arm in set(self.tables["spectra"]["arm"])]
        whens = [Key(when, Look(INK, **look)) for when, look in WHEN_LOOK.items()]
        kinds = [Key(kind.replace("_", " "), Look(INK, **look)) for kind, look in SPECTRA.items()]
        level = [Key("neither grows nor fades", THRESHOLD)]
        clip_norms = dict.fromkeys(line.clip_norm for line in self.arms if line.clip_norm is not None)
        threshold = [Key(f"clip_norm {clip_norm:g}", THRESHOLD) for clip_norm in clip_norms]
        landed = [
            Key("where the step landed", Look(INK, **DOT)),
            Key("where it would have, clipped", Look(INK, **DOT, open=True)),
        ]
        steps = [self._steps(arch, what) for what in ("loss", "grad_norm") for arch in archs]

        def by_arch(
            of_arch: Callable[[str], Draw], arms: Sequence[Line], extras: Sequence[Key] = (), *, share: bool = True
        ) -> Chart:
            return row([of_arch(arch) for arch in dict.fromkeys(line.arch for line in arms)], arms, extras, share=share)

        context = {"context": lambda: row([self.memory, lag], self.arms)} if len(self.tables["context"]) else {}
        matrix = {"spectra": lambda: by_arch(self._spectra, recurrent, kinds)} if recurrent else {}
        return {
            **context,
            "lag_training": lambda: by_arch(self._lags, solid, whens),
            "exponents": lambda: row([self.exponents], self.arms, level),
            **matrix,
            "saturation": lambda: by_arch(self._saturation, solid),
            "time_constants": lambda: row([self.time_constants], carrying),
            "explosion": lambda: row(steps, self.arms, threshold),
            "cliff": lambda: by_arch(self._cliff, self.arms, landed, share=False),
        }

    # ---- memory ---------------------------------------------------------------------------------------------------

    def memory(self, panel: Panel) -> None:
        """The test split's main score by how much context the network is given."""
        table, main = self.tables["context"], self.comparison.main
        panel.set(f"Test {main.heading} by context", f"{main.unit}s of context", log="xy" if main.ratio else "x")
        contexts = sorted(table.loc[np.isfinite(table["context"]), "context"].unique().tolist())
        whole = 2.5 * max(contexts, default=1.0)
        reached = table.loc[table[main.name] < self.beyond, main.name]
        top = 1.3 * reached.max() if main.ratio and len(reached) else self.beyond
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            draw(panel, line, mine["context"].replace(np.inf, whole), mine[main.name], top=top, marker="circle")
        panel.x.ticks, panel.x.labels = [*contexts, whole], [*(f"{each:g}" for each in contexts), "all"]
        if main.ratio:
            finish(panel, table[main.name], top=top)

    def _lags(self, arch: str) -> Draw:
        """The main stack's lowest layer before, halfway through and after training."""
        table = self.comparison.of_main_stack("lag_training")
        nearest = norm_at_losses(table)

        def into(panel: Panel) -> None:
            panel.set(arch, "time steps back from the loss", "norm of dL/dh, one loss", log="y")
            for line in (line for line in self.arms if line.arch == arch):
                for when, look in WHEN_LOOK.items():
                    mine = table[(table["arm"] == line.arm) & (table["when"] == when)]
                    draw(panel, line, mine["distance"], mine["norm"], top=1e4 * nearest, part=when, **look)
            own = table[table["arm"].isin([line.arm for line in self.arms if line.arch == arch])]
            finish(panel, table["norm"], top=1e4 * nearest, bottom=1e-12 * nearest, own=own["norm"])

        return into

    # ---- why ------------------------------------------------------------------------------------------------------

    def exponents(self, panel: Panel) -> None:
        """The Lyapunov spectrum of each arm's main stack."""
        table = self.comparison.of_main_stack("exponents")
        table = table[table["exponent"] > LOWEST_EXPONENT]
        panel.set("Lyapunov exponents", "index, largest first", "nats per time step")
        panel.x.whole = True
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            draw(panel, line, mine["index"], mine["exponent"])
        panel.rule(0, THRESHOLD)
        shown = set(table["arm"])
        missing = dict.fromkeys(line.configuration for line in self.arms if line.arm not in shown)
        if missing:
            panel.x.below.append(f"none above {LOWEST_EXPONENT:g}: {', '.join(missing)}")

    def _spectra(self, arch: str) -> Draw:
        """By epoch, of the main stack's lowest layer."""
        table = self.comparison.of_main_stack("spectra")
        values = pd.concat([table[kind] for kind in SPECTRA])
        typical = values.median()

        def into(panel: Panel) -> None:
            panel.set(f"{arch}: recurrent weights", "epoch", log="y")
            panel.x.whole = True
            twins = [line for line in self.arms if line.arch == arch]
            for line in twins:
                mine = table[table["arm"] == line.arm]
                for kind, look in SPECTRA.items():
                    part = kind.replace("_", " ")
                    draw(panel, line, mine["epoch"], mine[kind], top=1e3 * typical, part=part, **look)
            panel.rule(1, THRESHOLD)
            own = table[table["arm"].isin([line.arm for line in twins])]
            finish(panel, values, top=1e3 * typical, own=pd.concat([own[kind] for kind in SPECTRA]))

        return into

    def _saturation(self, arch: str) -> Draw:
        """Shares of time steps that the lowest layer's gates spend at the upper (up) and lower (down) end."""
        table = self.comparison.of_main_stack("saturation")

        def into(panel: Panel) -> None:
            panel.set(f"{arch}: saturated gates", y="low end | high end")
            panel.y.limits, panel.y.percent, panel.x.grid = (-1.0, 1.0), True, False
            twins = [line for line in self.arms if line.arch == arch]
            width = 0.8 / len(twins)
            for place, line in enumerate(twins):
                mine = table[table["arm"] == line.arm]
                x = np.arange(len(mine)) + (place - (len(twins) - 1) / 2) * width
                panel.bars(line.series(), x, mine["high_share"], 0.9 * width, mine["gate"] + ", at its high end")
                panel.bars(line.series(), x, -mine["low_share"], 0.9 * width, mine["gate"] + ", at its low end")
                panel.x.ticks, panel.x.labels = list(range(len(mine))), mine["gate"].tolist()
            panel.x.limits = (-0.6, len(panel.x.labels or ()) - 0.4)
            panel.rule(0, Look(INK, width=1))

        return into

    def time_constants(self, panel: Panel) -> None:
        """How long each unit of the main stack's lowest layer holds what it has, the longest first."""
        table = self.comparison.of_main_stack("time_constants")
        panel.set("Time constants of the carrying gates", "unit, longest first", "time steps", log="y")
        top = 1e4
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            if len(mine):
                draw(panel, line, mine["unit"], mine["steps"], top=top)
        if table.empty:
            panel.note("no cell here has a gate that carries its state")
        else:
            finish(panel, table["steps"], top=top, bottom=1e-2)

    # ---- the explosion --------------------------------------------------------------------------------------------

    def _steps(self, arch: str, what: str) -> Draw:
        """Loss or norm of the steps around the first explosion of an arch's twins."""
        table = self.tables["explosion"]
        typical = table[what].where(np.isfinite(table[what])).median()
        top = 1e4 * typical if typical > 0 else np.inf  # losses of `reinforce` fall below zero, where no logarithm is
        name = {"loss": self.comparison.wording.loss, "grad_norm": "gradient norm before clipping"}[what]

        def into(panel: Panel) -> None:
            panel.set(f"{arch}: {name}", "step", log="y")
            panel.x.whole = True
            twins = [line for line in self.arms if line.arch == arch]
            for line in reversed(twins):
                mine = table[table["arm"] == line.arm]
                draw(panel, line, mine["step"], mine[what], top=top, marker="circle", size=3.5)
            for clip_norm in {line.clip_norm for line in twins if line.clip_norm is not None} if "norm" in what else ():
                panel.rule(clip_norm, THRESHOLD, f"clip_norm {clip_norm:g}")
            own = table[table["arm"].isin([line.arm for line in twins])]
            finish(panel, own[what], top=top)

        return into

    def _cliff(self, arch: str) -> Draw:
        """The loss down the gradient of each twin's first explosion."""
        table = self.tables["cliff"]
        twins = [line for line in self.arms if line.arch == arch]
        mine_of = {line.arm: table[table["arm"] == line.arm] for line in twins}
        thresholds = {line.clip_norm for line in twins if line.clip_norm is not None}

        def into(panel: Panel) -> None:
            panel.set(f"{arch}: loss down the gradient", "distance in the weights", self.comparison.wording.loss, "xy")
            if all(mine.empty for mine in mine_of.values()):
                panel.note("no gradient exploded in the first epoch")
                return
            own = pd.concat(mine_of.values())["loss"]
            top = float((100 * own[own > 0]).min()) if (own > 0).any() else np.inf
            for line in twins:
                mine = mine_of[line.arm]
                mine = mine[mine["distance"] > 0]
                draw(panel, line, mine["distance"], mine["loss"], top=top)
                solid, hollow = (
                    line.series(said, **DOT, dash=(), open=clipped)
                    for said, clipped in (("where the step landed", False), ("where it would have, clipped", True))
                )
                for _, at in mine[mine["landed"] > 0].iterrows():
                    panel.add(solid, [at["distance"]], [at["loss"]], top)
                    for clip_norm in thresholds if line.clip_norm is None else ():
                        near = at["distance"] * min(1.0, clip_norm / at["norm"])
                        loss = np.exp(
                            np.interp(np.log(near), np.log(mine["distance"]), np.log(mine["loss"].clip(lower=NOTHING)))
                        )
                        panel.add(hollow, [near], [loss], top)
            finish(panel, own, top=top)

        return into
