"""Figures of what a trained network remembers, how its gradients grow and how it exploded; see phenomena.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from unrolled.report.comparison import Comparison
from unrolled.report.drawing import DASHES, INK, THRESHOLD, Line, Panel, draw, finish, key, note, row
from unrolled.report.phenomena import WHEN

WHEN_LOOK: dict[str, dict[str, Any]] = dict(
    zip(
        WHEN,
        ({"linestyle": (0, (1, 2)), "linewidth": 1.4}, {"linestyle": "-", "linewidth": 1}, {"linestyle": "-"}),
        strict=True,
    )
)
SPECTRA: dict[str, dict[str, Any]] = {
    "spectral_radius": {"linestyle": "-", "marker": "o"},
    "largest_singular_value": {"linestyle": (0, (4, 1.6)), "marker": "D"},
}
DOT: dict[str, Any] = {"marker": "o", "markersize": 9, "linestyle": "none"}
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

    def makers(self, lag: Panel) -> dict[str, Callable[[], Figure]]:
        """By name; ``lag``: the panel that stands beside the memory's, of gradients by distance."""
        archs = list(dict.fromkeys(line.arch for line in self.arms))
        solid = [replace(line, dash=DASHES[0]) for line in self.arms]  # where dashes tell something else than arms
        carrying = [line for line in self.arms if line.arm in set(self.tables["time_constants"]["arm"])]
        recurrent = [line for line in solid if line.arm in set(self.tables["spectra"]["arm"])]
        whens = [key(when, {"color": INK} | look) for when, look in WHEN_LOOK.items()]
        kinds = [key(kind.replace("_", " "), {"color": INK} | look) for kind, look in SPECTRA.items()]
        level = [key("neither grows nor fades", THRESHOLD)]
        landed: list[Line2D] = [
            key("where the step landed", DOT | {"color": INK}),
            key("where it would have, clipped", DOT | {"color": INK, "markerfacecolor": "white"}),
        ]
        steps = [self._steps(arch, what) for what in ("loss", "grad_norm") for arch in archs]

        def by_arch(
            panel: Callable[[str], Panel], arms: Sequence[Line], extras: Sequence[Line2D] = (), *, share: bool = True
        ) -> Figure:
            return row([panel(arch) for arch in dict.fromkeys(line.arch for line in arms)], arms, extras, share=share)

        context = {"context": lambda: row([self.memory, lag], self.arms)} if len(self.tables["context"]) else {}
        matrix = {"spectra": lambda: by_arch(self._spectra, recurrent, kinds)} if recurrent else {}
        return {
            **context,
            "lag_training": lambda: by_arch(self._lags, solid, whens),
            "exponents": lambda: row([self.exponents], self.arms, level),
            **matrix,
            "saturation": lambda: by_arch(self._saturation, solid),
            "time_constants": lambda: row([self.time_constants], carrying),
            "explosion": lambda: row(steps, self.arms),
            "cliff": lambda: by_arch(self._cliff, self.arms, landed, share=False),
        }

    # ---- memory ---------------------------------------------------------------------------------------------------

    def memory(self, axes: Axes) -> None:
        """The test split's main score by how much context the network is given."""
        table, main = self.tables["context"], self.comparison.main
        axes.set(title=f"Test {main.heading} by context", xlabel=f"{main.unit}s of context", xscale="log")
        axes.set_yscale("log" if main.ratio else "linear")
        contexts = sorted(table.loc[np.isfinite(table["context"]), "context"].unique())
        whole = 2.5 * max(contexts, default=1.0)
        reached = table.loc[table[main.name] < self.beyond, main.name]
        top = 1.3 * reached.max() if main.ratio and len(reached) else self.beyond
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            x = mine["context"].replace(np.inf, whole)
            draw(axes, line, x, mine[main.name], top=top, marker="o")
        axes.xaxis.set_major_locator(FixedLocator([*contexts, whole]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "all" if value == whole else f"{value:g}"))
        if main.ratio:
            finish(axes, table[main.name], top=top)

    def _lags(self, arch: str) -> Panel:
        """The main stack's lowest layer before, halfway through and after training."""
        table = self.comparison.of_main_stack("lag_training")
        nearest = table.loc[table["distance"] == 0, "norm"].median()

        def panel(axes: Axes) -> None:
            axes.set(title=arch, xlabel="time steps back from the loss", yscale="log")
            axes.set_ylabel("norm of dL/dh, one loss" if _first(axes) else "")
            for line in (line for line in self.arms if line.arch == arch):
                for when, look in WHEN_LOOK.items():
                    mine = table[(table["arm"] == line.arm) & (table["when"] == when)]
                    draw(axes, line, mine["distance"], mine["norm"], top=1e4 * nearest, **look)
            own = table[table["arm"].isin([line.arm for line in self.arms if line.arch == arch])]
            finish(axes, table["norm"], top=1e4 * nearest, bottom=1e-12 * nearest, own=own["norm"])

        return panel

    # ---- why ------------------------------------------------------------------------------------------------------

    def exponents(self, axes: Axes) -> None:
        """The Lyapunov spectrum of each arm's main stack."""
        table = self.comparison.of_main_stack("exponents")
        table = table[table["exponent"] > LOWEST_EXPONENT]
        axes.set(title="Lyapunov exponents", xlabel="index, largest first")
        axes.set_ylabel("nats per time step")
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            draw(axes, line, mine["index"], mine["exponent"])
        axes.axhline(0, **THRESHOLD)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        shown = set(table["arm"])
        missing = dict.fromkeys(line.configuration for line in self.arms if line.arm not in shown)
        if missing:
            axes.set_xlabel(f"{axes.get_xlabel()}\nnone above {LOWEST_EXPONENT:g}: {', '.join(missing)}")

    def _spectra(self, arch: str) -> Panel:
        """By epoch, of the main stack's lowest layer."""
        table = self.comparison.of_main_stack("spectra")
        values = pd.concat([table[kind] for kind in SPECTRA])
        typical = values.median()

        def panel(axes: Axes) -> None:
            axes.set(title=f"{arch}: recurrent weights", xlabel="epoch", yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            twins = [line for line in self.arms if line.arch == arch]
            for line in twins:
                mine = table[table["arm"] == line.arm]
                for kind, look in SPECTRA.items():
                    draw(axes, line, mine["epoch"], mine[kind], top=1e3 * typical, **look)
            axes.axhline(1, **THRESHOLD)
            own = table[table["arm"].isin([line.arm for line in twins])]
            finish(axes, values, top=1e3 * typical, own=pd.concat([own[kind] for kind in SPECTRA]))

        return panel

    def _saturation(self, arch: str) -> Panel:
        """Shares of time steps that the lowest layer's gates spend at the upper (up) and lower (down) end."""
        table = self.comparison.of_main_stack("saturation")

        def panel(axes: Axes) -> None:
            axes.set(title=f"{arch}: saturated gates", ylim=(-1, 1))
            twins = [line for line in self.arms if line.arch == arch]
            width = 0.8 / len(twins)
            for place, line in enumerate(twins):
                mine = table[table["arm"] == line.arm]
                x = np.arange(len(mine)) + (place - (len(twins) - 1) / 2) * width
                bars: dict[str, Any] = {"width": 0.9 * width, "color": line.colour}
                axes.bar(x, mine["high_share"], **bars)
                axes.bar(x, -mine["low_share"], **bars)
                axes.set_xticks(np.arange(len(mine)), mine["gate"])
            axes.axhline(0, color=INK, linewidth=1)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0%}"))
            axes.set_ylabel("low end | high end" if _first(axes) else "")

        return panel

    def time_constants(self, axes: Axes) -> None:
        """How long each unit of the main stack's lowest layer holds what it has, the longest first."""
        table = self.comparison.of_main_stack("time_constants")
        axes.set(title="Time constants of the carrying gates", xlabel="unit, longest first", yscale="log")
        axes.set_ylabel("time steps")
        top = 1e4
        for line in self.arms:
            mine = table[table["arm"] == line.arm]
            if len(mine):
                draw(axes, line, mine["unit"], mine["steps"], top=top)
        if table.empty:
            note(axes, "no cell here has a gate that carries its state")
        else:
            finish(axes, table["steps"], top=top, bottom=1e-2)

    # ---- the explosion --------------------------------------------------------------------------------------------

    def _steps(self, arch: str, what: str) -> Panel:
        """Loss or norm of the steps around the first explosion of an arch's twins."""
        table = self.tables["explosion"]
        typical = table[what].where(np.isfinite(table[what])).median()
        top = 1e4 * typical
        name = {"loss": self.comparison.wording.loss, "grad_norm": "gradient norm before clipping"}[what]

        def panel(axes: Axes) -> None:
            axes.set(title=f"{arch}: {name}", xlabel="step", yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            twins = [line for line in self.arms if line.arch == arch]
            for line in reversed(twins):
                mine = table[table["arm"] == line.arm]
                draw(axes, line, mine["step"], mine[what], top=top, marker="o", markersize=3.5)
            for clip_norm in {line.clip_norm for line in twins if line.clip_norm is not None} if "norm" in what else ():
                axes.axhline(clip_norm, **THRESHOLD)
            own = table[table["arm"].isin([line.arm for line in twins])]
            finish(axes, own[what], top=top)

        return panel

    def _cliff(self, arch: str) -> Panel:
        """The loss down the gradient of each twin's first explosion."""
        table = self.tables["cliff"]
        twins = [line for line in self.arms if line.arch == arch]
        mine_of = {line.arm: table[table["arm"] == line.arm] for line in twins}
        thresholds = {line.clip_norm for line in twins if line.clip_norm is not None}

        def panel(axes: Axes) -> None:
            axes.set(title=f"{arch}: loss down the gradient", xlabel="distance in the weights", xscale="log")
            axes.set(yscale="log")
            axes.set_ylabel(self.comparison.wording.loss if _first(axes) else "")
            if all(mine.empty for mine in mine_of.values()):
                note(axes, "no gradient exploded in the first epoch")
                return
            own = pd.concat(mine_of.values())["loss"]
            top = 100 * own.min()
            for line in twins:
                mine = mine_of[line.arm]
                mine = mine[mine["distance"] > 0]
                draw(axes, line, mine["distance"], mine["loss"], top=top)
                dot = DOT | {"color": line.colour, "zorder": 6}
                for _, at in mine[mine["landed"] > 0].iterrows():
                    axes.plot(at["distance"], min(at["loss"], top), **dot)
                    for clip_norm in thresholds if line.clip_norm is None else ():
                        near = at["distance"] * min(1.0, clip_norm / at["norm"])
                        loss = np.exp(np.interp(np.log(near), np.log(mine["distance"]), np.log(mine["loss"])))
                        axes.plot(near, min(loss, top), **dot | {"markerfacecolor": "white"})
            finish(axes, own, top=top)

        return panel


def _first(axes: Axes) -> bool:
    place = axes.get_subplotspec()
    return bool(place and place.is_first_col())
