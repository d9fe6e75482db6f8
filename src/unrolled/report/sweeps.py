"""What a grid says when its rows sweep something: learning rate x clip threshold, and depth x connection.

A family are arms whose settings agree but for what is swept. A grid without such families has no table and no figure.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from unrolled.ground.run import Run
from unrolled.ground.score import Score
from unrolled.report.drawing import INK, Panel, finish, key, row
from unrolled.report.markdown import ENDLESS, number

OFF = "off"
SWEPT = ("learning_rate", "clip_norm", "seed")
SLOW = 2.0  # times as bad as chance: so far may an arm be that has not exploded, but has hardly learned yet
SHADES = matplotlib.colormaps["viridis"]
LOOKS: dict[str, dict[str, Any]] = {"before training": {"linestyle": (0, (1, 2))}, "after": {"linestyle": "-"}}


# ---- learning rate x clip threshold ------------------------------------------------------------------------------


def learning_rates(runs: Sequence[Run], score: Score, chance: float | None) -> pd.DataFrame:
    """A row a learning rate and threshold of each family in which several rates were tried.

    `survived`: the share of its `seeds` that did not diverge and are, on the validation split, less than twice as bad
    as ``chance``, the score of a model that has learned nothing. The score is the mean of these, or of all where there
    is none; its column is text, for a chart's table has no place for inf.
    """
    rows = []
    for run in runs:
        network, train, arch = run.settings["network"], run.settings["train"], run.settings["arch"]
        others = network | {name: each for name, each in train.items() if name not in SWEPT}
        reached = _valid(run, score)
        rows.append(
            {
                "family": json.dumps(others),
                "arch": arch,
                "cell": ("bi" if network.get("bidirectional") else "") + network.get("cell", arch),
                "learning_rate": train["learning_rate"],
                "clipping": OFF if train["clip_norm"] is None else f"{train['clip_norm']:g}",
                score.name: reached,
                "survived": float(run.summary["status"] == "finished" and _has_learned(reached, score, chance)),
            }
        )
    table = pd.DataFrame(rows)
    swept = table.groupby("family")["learning_rate"].transform("nunique") > 1
    together = table[swept].groupby(["family", "learning_rate", "clipping"], sort=False)
    return _named(pd.DataFrame([_over_seeds(seeds, score) for _, seeds in together], columns=[*table, "seeds"]))


def _over_seeds(rows: pd.DataFrame, score: Score) -> dict[str, Any]:
    alive = rows[rows["survived"] == 1]
    reached = (alive if len(alive) else rows)[score.name].mean()
    share = rows["survived"].mean()
    return {**rows.iloc[0], score.name: f"{reached:.6g}", "survived": share, "seeds": len(rows)}


class Best(NamedTuple):
    """Of one family with one clip threshold."""

    family: str
    clipping: str
    learning_rate: float  # with the best score
    score: float
    largest: float | None  # learning rate that survived


def best(table: pd.DataFrame, score: Score) -> list[Best]:
    """Each family and threshold at its own best learning rate: the comparison that is fair to all."""
    table = table.assign(reached=table[score.name].astype(float))
    found = []
    for _, mine in table.groupby(["family", "clipping"], sort=False):
        first = mine.sort_values("reached", kind="stable", ascending=score.lower_is_better).iloc[0]
        alive = mine.loc[mine["survived"] == 1, "learning_rate"]  # from every seed
        largest = float(alive.max()) if len(alive) else None
        rate, reached = float(first["learning_rate"]), float(first["reached"])
        found.append(Best(first["family"], first["clipping"], rate, reached, largest))
    return found


def _valid(run: Run, score: Score) -> float:
    """Of the best epoch; the worst where none ended."""
    valid = run.valid()
    return score.of(valid[score.name]) if score.name in valid else score.worst


def _has_learned(reached: float, score: Score, chance: float | None) -> bool:
    if chance is None:
        return math.isfinite(reached)
    return reached < SLOW * chance if score.lower_is_better else reached > chance / SLOW


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Families by their cell instead of all their settings; by their first arch too where a cell has several."""
    first = table.groupby("family")[["cell", "arch"]].first()
    several = first["cell"].duplicated(keep=False)
    names = first["cell"].where(~several, first["cell"] + ", " + first["arch"])
    return table.assign(family=table["family"].map(names)).drop(columns=["arch", "cell"]).reset_index(drop=True)


# ---- depth x connection ------------------------------------------------------------------------------------------


def depths(runs: Sequence[Run], score: Score) -> pd.DataFrame:
    """A row a layer of each arm, where networks of several depths stand in the grid.

    `norm`: of dL/dh of one loss at its own time step, in the main stack, before training and after.
    """
    rows = []
    for run in runs:
        profile = run.lag_profile[(run.lag_profile["distance"] == 0) & (run.lag_profile["stack"] == run.main_stack)]
        layers, connection = profile["layer"].nunique(), run.settings["network"].get("connection", "plain")
        reached = _valid(run, score)
        for when, epoch in zip(LOOKS, (0, profile["epoch"].max()), strict=True):
            for layer, norm in profile.loc[profile["epoch"] == epoch, ["layer", "norm"]].itertuples(index=False):
                rows.append((connection, layers, run.arm, when, layer + 1, norm, reached))
    columns = ["connection", "layers", "arm", "when", "layer", "norm", score.name]
    table = pd.DataFrame(rows, columns=columns)
    return table if table["layers"].nunique() > 1 else table[:0]


@dataclass(frozen=True)
class SweepFigures:
    """Draws the tables that have rows."""

    tables: Mapping[str, pd.DataFrame]
    score: Score

    def makers(self) -> dict[str, Callable[[], Figure]]:
        """By name; none for a table without rows."""
        found: dict[str, Callable[[], Figure]] = {}
        if len(self.tables["learning_rates"]):
            families = self.tables["learning_rates"]["family"].unique()
            found["learning_rates"] = lambda: row([self._heat(str(family)) for family in families], [])
        if len(table := self.tables["depths"]):
            connections = [str(each) for each in table["connection"].unique()]
            panels = [*(self._layers(each) for each in connections), self._by_depth, self._key]
            found["depths"] = lambda: row(panels, [])
        return found

    def _heat(self, family: str) -> Panel:
        """The validation score by learning rate (upwards) and clip threshold, the last column without clipping."""
        whole, score = self.tables["learning_rates"], self.score
        alive = whole.loc[whole["survived"] > 0, score.name].astype(float)
        table = whole[whole["family"] == family]
        rates = sorted(table["learning_rate"].unique())
        clips = sorted(table["clipping"].unique(), key=lambda each: math.inf if each == OFF else float(each))

        def panel(axes: Axes) -> None:
            axes.set(title=f"{family}: validation {score.heading}", xlabel="clip_norm", ylabel="learning rate")
            axes.grid(visible=False)
            grid = np.full((len(rates), len(clips)), np.nan)
            for _, each in table.iterrows():
                place = rates.index(each["learning_rate"]), clips.index(each["clipping"])
                reached = float(each[score.name])
                grid[place] = reached if each["survived"] else np.nan
                label = number(reached) if abs(reached) < ENDLESS else "exploded"
                if 0 < each["survived"] < 1:
                    label += f"\n{round(each['survived'] * each['seeds'])} of {each['seeds']}"
                axes.text(place[1], place[0], label, ha="center", va="center", color=INK)
            look: dict[str, Any] = {"cmap": "YlGn_r" if score.lower_is_better else "YlGn", "norm": self._scale(alive)}
            axes.imshow(grid, origin="lower", aspect="auto", interpolation="nearest", **look)
            axes.set_xticks(range(len(clips)), clips)
            axes.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])

        return panel

    def _scale(self, alive: pd.Series) -> Normalize | None:
        """Of colours that a dark label can be read on."""
        if alive.empty:
            return None
        low, high = alive.min(), alive.max()
        if self.score.ratio:
            return LogNorm(low / 4, 1.5 * high)
        room = (high - low) or abs(high) or 1.0
        return Normalize(low - room, high) if self.score.lower_is_better else Normalize(low, high + room)

    def _shades(self) -> dict[int, Any]:
        layers = sorted(int(each) for each in self.tables["depths"]["layers"].unique())
        return {each: SHADES(index / len(layers)) for index, each in enumerate(layers)}

    def _layers(self, connection: str) -> Panel:
        """Norm of dL/dh by layer: where it falls towards the left, the lower layers learn nothing."""
        whole = self.tables["depths"]
        table = whole[whole["connection"] == connection]

        def panel(axes: Axes) -> None:
            axes.set(title=f"{connection}: norm of dL/dh", xlabel="layer (the loss is above the last)", yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            for when, look in LOOKS.items():
                for layers, colour in self._shades().items():
                    mine = table[(table["layers"] == layers) & (table["when"] == when)]
                    for _, arm in mine.groupby("arm"):
                        axes.plot(arm["layer"], arm["norm"], color=colour, marker="o", markersize=4, **look)
            finish(axes, whole["norm"])

        return panel

    def _by_depth(self, axes: Axes) -> None:
        """The validation score by the number of layers, a line a connection."""
        score, arms = self.score, self.tables["depths"].drop_duplicates("arm")
        table = arms.groupby(["connection", "layers"], sort=False)[score.name].mean().reset_index()
        axes.set(title=f"Validation {score.heading}", xlabel="layers", xscale="log")
        axes.set_yscale("log" if score.ratio else "linear")
        for index, (connection, mine) in enumerate(table.groupby("connection", sort=False)):
            mine = mine.sort_values("layers")
            axes.plot(mine["layers"], mine[score.name], label=str(connection), color=INK, marker="osD^"[index % 4])
        depths_shown = sorted(table["layers"].unique())
        axes.xaxis.set_major_locator(FixedLocator(depths_shown))
        axes.set_xticklabels([f"{each:g}" for each in depths_shown])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend()
        if score.ratio:
            finish(axes, table[score.name])

    def _key(self, axes: Axes) -> None:
        """What the lines of `_layers` are, in a panel of its own."""
        axes.set_axis_off()
        handles = [
            key(f"{layers} layer{'s'[: layers > 1]}", {"color": each}) for layers, each in self._shades().items()
        ]
        handles += [key(when, {"color": INK} | look) for when, look in LOOKS.items()]
        axes.legend(handles=handles, loc="upper left")
