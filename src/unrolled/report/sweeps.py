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
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from unrolled.lab.runs import Run
from unrolled.perplexity import perplexity
from unrolled.report.drawing import INK, Panel, finish, key, row
from unrolled.settings import Settings

OFF = "off"
SLOW = 2.0  # times the unigram's perplexity: so far may an arm be that has not exploded, but hardly learnt yet
SHADES = matplotlib.colormaps["viridis"]
LOOKS: dict[str, dict[str, Any]] = {"before training": {"linestyle": (0, (1, 2))}, "after": {"linestyle": "-"}}

Arms = Sequence[tuple[Settings, Run]]


# ---- learning rate x clip threshold ------------------------------------------------------------------------------


def learning_rates(arms: Arms, unigram: float) -> pd.DataFrame:
    """A row an arm of each family in which several learning rates were tried.

    `survived`: it did not diverge, and its validation perplexity lies below twice that of the ``unigram``.
    `perplexity` is text, for a chart's table has no place for inf.
    """
    rows = []
    for settings, run in arms:
        network, train = settings.network, settings.train
        others = network.model_dump() | train.model_dump(exclude={"learning_rate", "clip_norm", "seed"})
        reached = _valid_perplexity(run)
        rows.append(
            {
                "family": json.dumps(others),
                "arch": str(settings.arch),
                "cell": ("bi" if network.bidirectional else "") + network.cell,
                "learning_rate": train.learning_rate,
                "clipping": OFF if train.clip_norm is None else f"{train.clip_norm:g}",
                "perplexity": f"{reached:.6g}",
                "survived": int(run.summary["status"] == "finished" and reached < SLOW * unigram),
            }
        )
    table = pd.DataFrame(rows)
    swept = table.groupby("family")["learning_rate"].transform("nunique") > 1
    return _named(table[swept])


class Best(NamedTuple):
    """Of one family with one clip threshold."""

    family: str
    clipping: str
    learning_rate: float  # with the lowest perplexity
    perplexity: float
    largest: float | None  # learning rate that survived


def best(table: pd.DataFrame) -> list[Best]:
    """Each family and threshold at its own best learning rate: the comparison that is fair to all."""
    table = table.assign(reached=table["perplexity"].astype(float))
    found = []
    for _, mine in table.groupby(["family", "clipping"], sort=False):
        lowest = mine.sort_values("reached", kind="stable").iloc[0]
        alive = mine.loc[mine["survived"] == 1, "learning_rate"]
        largest = float(alive.max()) if len(alive) else None
        found.append(
            Best(
                lowest["family"], lowest["clipping"], float(lowest["learning_rate"]), float(lowest["reached"]), largest
            )
        )
    return found


def _valid_perplexity(run: Run) -> float:
    """Of the best epoch, forward head; inf where none ended."""
    sums = (run.summary["valid"] or {}).get("forward")
    return perplexity(sums["nats"], sums["tokens"]) if sums else math.inf


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Families by their cell instead of all their settings; by their first arch too where a cell has several."""
    first = table.groupby("family")[["cell", "arch"]].first()
    several = first["cell"].duplicated(keep=False)
    names = first["cell"].where(~several, first["cell"] + ", " + first["arch"])
    return table.assign(family=table["family"].map(names)).drop(columns=["arch", "cell"]).reset_index(drop=True)


# ---- depth x connection ------------------------------------------------------------------------------------------


def depths(arms: Arms) -> pd.DataFrame:
    """A row a layer of each arm, where networks of several depths stand in the grid.

    `norm`: of dL/dh of one loss at its own time step, in the forward stack, before training and after.
    """
    rows = []
    for settings, run in arms:
        profile = run.lag_profile[(run.lag_profile["distance"] == 0) & (run.lag_profile["stack"] == "forward")]
        network = settings.network
        for when, epoch in zip(LOOKS, (0, profile["epoch"].max()), strict=True):
            for layer, norm in profile.loc[profile["epoch"] == epoch, ["layer", "norm"]].itertuples(index=False):
                reached = _valid_perplexity(run)
                rows.append((network.connection, network.layers, str(settings.arm), when, layer + 1, norm, reached))
    columns = ["connection", "layers", "arm", "when", "layer", "norm", "perplexity"]
    table = pd.DataFrame(rows, columns=columns)
    return table if table["layers"].nunique() > 1 else table[:0]


@dataclass(frozen=True)
class SweepFigures:
    """Draws the tables that have rows."""

    tables: Mapping[str, pd.DataFrame]

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
        """Validation perplexity by learning rate (upwards) and clip threshold, the last column without clipping."""
        whole = self.tables["learning_rates"]
        alive = whole.loc[whole["survived"] == 1, "perplexity"].astype(float)
        table = whole[whole["family"] == family]
        rates = sorted(table["learning_rate"].unique())
        clips = sorted(table["clipping"].unique(), key=lambda each: math.inf if each == OFF else float(each))

        def panel(axes: Axes) -> None:
            axes.set(title=f"{family}: validation perplexity", xlabel="clip_norm", ylabel="learning rate")
            axes.grid(visible=False)
            grid = np.full((len(rates), len(clips)), np.nan)
            for _, each in table.iterrows():
                place = rates.index(each["learning_rate"]), clips.index(each["clipping"])
                reached = float(each["perplexity"])
                grid[place] = reached if each["survived"] else np.nan
                label = f"{reached:,.0f}" if reached < 1e5 else "exploded"
                axes.text(place[1], place[0], label, ha="center", va="center", color=INK)
            scale = LogNorm(alive.min() / 4, 1.5 * alive.max()) if len(alive) else None
            axes.imshow(grid, origin="lower", aspect="auto", cmap="YlGn_r", norm=scale, interpolation="nearest")
            axes.set_xticks(range(len(clips)), clips)
            axes.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])

        return panel

    def _shades(self) -> dict[int, Any]:
        layers = sorted(int(each) for each in self.tables["depths"]["layers"].unique())
        return {each: SHADES(index / len(layers)) for index, each in enumerate(layers)}

    def _layers(self, connection: str) -> Panel:
        """Norm of dL/dh by layer: where it falls towards the left, the lower layers learn nothing."""
        whole = self.tables["depths"]
        table = whole[whole["connection"] == connection]

        def panel(axes: Axes) -> None:
            axes.set(title=connection, xlabel="layer, the loss above the last", yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            for when, look in LOOKS.items():
                for layers, colour in self._shades().items():
                    mine = table[(table["layers"] == layers) & (table["when"] == when)]
                    for _, arm in mine.groupby("arm"):
                        axes.plot(arm["layer"], arm["norm"], color=colour, marker="o", markersize=4, **look)
            finish(axes, whole["norm"])

        return panel

    def _by_depth(self, axes: Axes) -> None:
        """Validation perplexity by the number of layers, a line a connection."""
        table = self.tables["depths"].drop_duplicates("arm")
        axes.set(title="validation perplexity", xlabel="layers", yscale="log", xscale="log")
        for index, (connection, mine) in enumerate(table.groupby("connection", sort=False)):
            mine = mine.sort_values("layers")
            axes.plot(mine["layers"], mine["perplexity"], label=str(connection), color=INK, marker="osD^"[index % 4])
        depths_shown = sorted(table["layers"].unique())
        axes.xaxis.set_major_locator(FixedLocator(depths_shown))
        axes.set_xticklabels([f"{each:g}" for each in depths_shown])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend()
        finish(axes, table["perplexity"])

    def _key(self, axes: Axes) -> None:
        """What the lines of `_layers` are, in a panel of its own."""
        axes.set_axis_off()
        handles = [
            key(f"{layers} layer{'s'[: layers > 1]}", {"color": each}) for layers, each in self._shades().items()
        ]
        handles += [key(when, {"color": INK} | look) for when, look in LOOKS.items()]
        axes.legend(handles=handles, loc="upper left")
