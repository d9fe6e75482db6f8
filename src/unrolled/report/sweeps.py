"""What a grid says when its rows sweep something: learning rate x clip threshold, and depth x connection.

A family are arms whose settings agree but for what is swept. A grid without such families has no table and no figure.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from unrolled.ground.run import Run
from unrolled.ground.score import Score
from unrolled.report.chart import Chart
from unrolled.report.drawing import Draw, finish, panels
from unrolled.report.markdown import ENDLESS, number
from unrolled.report.panel import INK, Key, Look, Panel, Series

OFF = "off"
SWEPT = ("learning_rate", "clip_norm", "seed")
SLOW = 2.0  # times as bad as chance: so far may an arm be that has not exploded, but has hardly learned yet
SHADES = ("#440154", "#3b528b", "#21918c", "#5ec962", "#c8e020")  # of viridis, a depth each
DASHES = {"before training": (1.5, 3), "after": ()}
MARKERS = ("circle", "square", "diamond", "triangle-up")


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
        for when, epoch in zip(DASHES, (0, profile["epoch"].max()), strict=True):
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

    def makers(self) -> dict[str, Callable[[], Chart]]:
        """By name; none for a table without rows."""
        found: dict[str, Callable[[], Chart]] = {}
        if len(self.tables["learning_rates"]):
            families = self.tables["learning_rates"]["family"].unique()
            found["learning_rates"] = lambda: Chart(panels([self._heat(str(each)) for each in families]))
        if len(table := self.tables["depths"]):
            connections = [str(each) for each in table["connection"].unique()]
            found["depths"] = lambda: Chart(
                panels([*(self._layers(each) for each in connections), self._by_depth]), self._legend(connections)
            )
        return found

    def _heat(self, family: str) -> Draw:
        """The validation score by learning rate (upwards) and clip threshold, the last column without clipping."""
        whole, score = self.tables["learning_rates"], self.score
        alive = whole.loc[whole["survived"] > 0, score.name].astype(float)
        table = whole[whole["family"] == family]
        rates = sorted(table["learning_rate"].unique().tolist())
        clips = sorted(table["clipping"].unique(), key=lambda each: math.inf if each == OFF else float(each))

        def into(panel: Panel) -> None:
            panel.set(f"{family}: validation {score.heading}", "clip_norm", "learning rate")
            for axis, labels in ((panel.x, clips), (panel.y, [f"{rate:g}" for rate in rates])):
                axis.ticks, axis.labels, axis.grid = list(range(len(labels))), labels, False
                axis.limits = (-0.5, len(labels) - 0.5)
            cells = []
            for _, each in table.iterrows():
                reached = float(each[score.name])
                label = number(reached) if abs(reached) < ENDLESS else "exploded"
                if 0 < each["survived"] < 1:
                    label += f"\n{round(each['survived'] * each['seeds'])} of {each['seeds']}"
                place = clips.index(each["clipping"]), rates.index(each["learning_rate"])
                cells.append((*place, reached if each["survived"] else math.nan, label))
            x, y, reached_there, labels = (list(each) for each in zip(*cells, strict=True))
            panel.cells(x, y, reached_there, self._scale(alive), labels)
            panel.words(x, y, labels)

        return into

    def _scale(self, alive: "pd.Series[float]") -> dict[str, Any]:
        """Of colours that a dark label can be read on."""
        low, high = (float(alive.min()), float(alive.max())) if len(alive) else (1.0, 2.0)
        shades = {"scheme": "yellowgreen", "reverse": self.score.lower_is_better}
        if self.score.ratio:
            return {**shades, "type": "log", "domain": [low / 4, 1.5 * high]}
        room = (high - low) or abs(high) or 1.0
        return {**shades, "domain": [low - room, high] if self.score.lower_is_better else [low, high + room]}

    def _shades(self) -> dict[int, str]:
        layers = sorted(int(each) for each in self.tables["depths"]["layers"].unique())
        return {each: SHADES[index * len(SHADES) // len(layers)] for index, each in enumerate(layers)}

    def _layers(self, connection: str) -> Draw:
        """Norm of dL/dh by layer: where it falls towards the left, the lower layers learn nothing."""
        whole = self.tables["depths"]
        table = whole[whole["connection"] == connection]

        def into(panel: Panel) -> None:
            panel.set(f"{connection}: norm of dL/dh", "layer (the loss is above the last)", log="y")
            panel.x.whole = True
            for when, dash in DASHES.items():
                for layers in self._shades():
                    mine = table[(table["layers"] == layers) & (table["when"] == when)]
                    for name, arm in mine.groupby("arm"):
                        look = Look(None, dash, marker="circle", size=4)
                        panel.add(Series(_of(layers), f"{name}, {when}", look), arm["layer"], arm["norm"])
            finish(panel, whole["norm"])

        return into

    def _by_depth(self, panel: Panel) -> None:
        """The validation score by the number of layers, a line a connection."""
        score, arms = self.score, self.tables["depths"].drop_duplicates("arm")
        table = arms.groupby(["connection", "layers"], sort=False)[score.name].mean().reset_index()
        panel.set(f"Validation {score.heading}", "layers", log="xy" if score.ratio else "x")
        for marker, (connection, mine) in zip(itertools.cycle(MARKERS), table.groupby("connection", sort=False)):
            mine = mine.sort_values("layers")
            series = Series(str(connection), str(connection), Look(INK, marker=marker, size=7))
            panel.add(series, mine["layers"], mine[score.name])
        panel.x.ticks = sorted(table["layers"].unique().tolist())
        if score.ratio:
            finish(panel, table[score.name])

    def _legend(self, connections: Sequence[str]) -> list[list[Key]]:
        return [
            [Key(_of(layers), Look(colour), _of(layers)) for layers, colour in self._shades().items()],
            [Key(when, Look(INK, dash)) for when, dash in DASHES.items()],
            [
                Key(each, Look(INK, marker=marker, size=7), each)
                for each, marker in zip(connections, itertools.cycle(MARKERS))
            ],
        ]


def _of(layers: int) -> str:
    return f"{layers} layer{'s'[: layers > 1]}"
