"""How far back the gradient reaches from the targets that need their context most, by arm: table and figure."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from unrolled.report.arms import Arm, stacked
from unrolled.report.chart import Chart
from unrolled.report.drawing import Line, draw, finish, row
from unrolled.report.panel import INK, Key, Look, Panel

FAINTEST = 1e-9  # of the largest norm: what lies below is not drawn
CARRIED: Mapping[str, dict[str, Any]] = {"dL/dh": {"dash": ()}, "dL/dc": {"dash": (2, 2.4)}}


def lags(arms: Sequence[Arm]) -> pd.DataFrame:
    return stacked(arms, lambda arm: arm.probes.targets)


def picture(lines: Sequence[Line], table: pd.DataFrame) -> Chart:
    """A panel an architecture; where a backward stack is among them, what it reads stands at the right."""
    sides = "backward" in set(table["stack"])
    draws = [partial(_draw, lines, table, arch, sides) for arch in dict.fromkeys(line.arch for line in lines)]
    return row(draws, lines, [Key(what, Look(INK, **look)) for what, look in CARRIED.items()], share=True)


def _draw(lines: Sequence[Line], table: pd.DataFrame, arch: str, sides: bool, panel: Panel) -> None:
    """Of the lowest layer, each arm beside its own largest norm of dL/dh, so that one that exploded hides no other."""
    where = "time steps to the left and to the right of" if sides else "time steps back from"
    panel.set(arch, f"{where} the target", "share of the largest dL/dh", log="y")
    lowest = table[table["layer"] == 0]
    shares = lowest[["norm", "cell_norm"]].div(lowest.groupby("arm")["norm"].transform("max"), axis=0)
    lowest = lowest.assign(**shares.where(np.isfinite(shares)))
    for line in (each for each in lines if each.arch == arch):
        for stack, mine in lowest[lowest["arm"] == line.arm].groupby("stack"):
            for name, (what, look) in zip(("norm", "cell_norm"), CARRIED.items(), strict=True):
                shown = mine[mine[name] > 0]
                place = shown["distance"] * (-1 if sides and stack != "backward" else 1)
                draw(panel, line, place, shown[name], part=what, **look)
    finish(panel, pd.concat([lowest["norm"], lowest["cell_norm"]]), bottom=FAINTEST)
