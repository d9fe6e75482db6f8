"""How the figures look: one hue an architecture; the first clipping row dark and solid, its twins lighter and dashed.

Values far beyond what an axis can show (an unclipped arm reaches 1e17) stand as triangles at its upper edge.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from unrolled.report.chart import Chart
from unrolled.report.colours import run_colour
from unrolled.report.panel import FAINT, INK, Key, Look, Panel, Series

DASHES: Sequence[Sequence[float]] = ((), (7, 3), (2.4, 2.4))
BASELINES = [Look(INK, dash, 1.4) for dash in ((8, 2, 1.5, 2), (1.5, 2), (1.5, 5))]
THRESHOLD = Look(INK, (7, 3.5), 1.2)
LEVEL, THIN = Look(FAINT, width=1), Look(INK, width=1)
POINTS = 100  # of a curve by step: the largest of each stretch, so that an explosion shows and the rest is a line

Draw = Callable[[Panel], None]


@dataclass(frozen=True)
class Line:
    """How an arm is drawn, wherever it is drawn: those of one configuration alike, and thinner."""

    arm: str
    configuration: str
    name: str  # as the reader is told: of the configuration where that has one arm
    arch: str
    clip_norm: float | None
    colour: str
    dash: Sequence[float]
    width: float = 2.0

    @property
    def look(self) -> Look:
        """Open markers on a dashed line, so that a twin that it runs over still shows."""
        return Look(None, self.dash, self.width, open=bool(self.dash))

    @property
    def key(self) -> Key:
        return Key(self.configuration, self.look._replace(colour=self.colour), self.configuration)

    def series(self, part: str = "", **look: Any) -> Series:
        """``part``: of what the arm's; ``look``: what differs from the arm's own."""
        name = f"{self.name}, {part}" if part else self.name
        return Series(self.configuration, name, self.look._replace(**look))


def lines(grid: Sequence[Mapping[str, Any]], clip_norms: Mapping[str, float | None]) -> list[Line]:
    """One hue an arch, one shade and dash a clipping row, by their places in ``grid``.

    Of the arms whose threshold is in ``clip_norms``: one that is not there yet leaves the others their colours.
    """
    archs, clippings = (list(dict.fromkeys(cell[axis] for cell in grid)) for axis in ("arch", "clipping"))
    seeds, drawn = len(dict.fromkeys(cell["seed"] for cell in grid)), []
    for cell in (cell for cell in grid if cell["arm"] in clip_norms):
        twin = clippings.index(cell["clipping"])
        colour, dash = run_colour(archs.index(cell["arch"]), twin), DASHES[twin % len(DASHES)]
        configuration, width = f"{cell['arch']}-{cell['clipping']}", 2.0 if seeds == 1 else 1.2
        arm, name = cell["arm"], configuration if seeds == 1 else cell["arm"]
        drawn.append(Line(arm, configuration, name, cell["arch"], clip_norms[arm], colour, dash, width))
    return drawn


def row(draws: Sequence[Draw], arms: Sequence[Line], extras: Sequence[Key] = (), *, share: bool = False) -> Chart:
    """Panels side by side; in their legend a column an arch, then ``extras``. ``share``: the y axes are alike."""
    archs: dict[str, dict[str, Key]] = {}
    for line in arms:
        archs.setdefault(line.arch, {})[line.configuration] = line.key
    legend = [*(list(keys.values()) for keys in archs.values()), list(extras)]
    return Chart(panels(draws), [column for column in legend if column], share)


def panels(draws: Sequence[Draw]) -> list[Panel]:
    every = [Panel() for _ in draws]
    for draw_into, panel in zip(draws, every, strict=True):
        draw_into(panel)
    return every


def draw(
    panel: Panel, line: Line, x: Iterable[float], y: Iterable[float], *, top: float = math.inf, dodge: float = 0.0,
    part: str = "", **look: Any,
) -> None:  # fmt: skip
    """One arm's line; what lies above `top` becomes a triangle at the axis' edge, what is nan a gap."""
    panel.add(line.series(part, **look), x, y, top, dodge)


def finish(
    panel: Panel, values: pd.Series, *, top: float = math.inf, bottom: float = 0.0, own: pd.Series | None = None
) -> None:
    """Limits of a logarithmic y axis, and how far beyond it a panel's own values go."""
    shown = values[np.isfinite(values) & (values > bottom) & (values <= top)]
    if len(shown):
        low, high = shown.min(), shown.max()
        room = 1.1 * (high / low) ** 0.04
        panel.y.limits = float(low / room), float(top if (values > top).any() else high * room)
    else:
        high = top if (values > top).any() else 10.0  # at which triangles stand
        panel.y.limits = high / 100, high
    beyond = (values if own is None else own).max()
    if beyond > top:
        panel.x.below.append(f"▲ beyond the axis: up to {_plain(beyond)}")


def norm_at_losses(table: pd.DataFrame) -> float:
    """The usual ``norm`` at distance 0, or where that is 0, of all that is not: a maximum over time seldom ends a text.

    nan where all are 0.
    """
    nearest = table.loc[table["distance"] == 0, "norm"].median()
    return float(nearest if nearest > 0 else table.loc[table["norm"] > 0, "norm"].median())


def _plain(value: float) -> str:
    """1,000 rather than 10^3 as far as that reads well, then 3e17."""
    if not math.isfinite(value):
        return "infinity"
    if 1e-3 <= value < 1e5:
        return f"{value:,.6f}".rstrip("0").rstrip(".") if value < 10 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
