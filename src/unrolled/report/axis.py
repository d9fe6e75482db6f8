"""One axis of a panel: its scale, and as few ticks as can be read."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# 1,000 rather than 10^3 as far as that reads well, then 3e17.
PLAIN = "{0} >= 0.001 && {0} < 1e5 || {0} <= 0 ? format({0}, ',~g') : replace(format({0}, '.1~e'), '+', '')"
NOTHING = 1e-300  # as a logarithmic axis has it: far below its lower end


@dataclass
class Axis:
    title: str = ""
    below: list[str] = field(default_factory=list)  # more lines of the title
    log: bool = False
    whole: bool = False  # no tick between integers
    percent: bool = False
    limits: tuple[float, float] | None = None
    ticks: Sequence[float] | None = None
    labels: Sequence[str] | None = None  # of the ticks
    grid: bool = True
    upright: bool = False  # labels, where many stand side by side

    def encoding(self, found: Sequence[float], titled: bool = True) -> dict[str, Any]:
        """Of a channel; ``found``: the values on it."""
        shown = [each for each in found if not self.log or each > NOTHING]
        low, high = self.limits or ((min(shown), max(shown)) if shown else (1.0, 10.0))
        if low == high:
            low, high = (low / 2, 2 * high) if self.log else (low - 0.5, high + 0.5)
        scale: dict[str, Any] = {"type": "log" if self.log else "linear", "nice": False, "domain": [low, high]}
        scale |= {} if self.limits else {"padding": 8}
        title: Any = [self.title, *self.below] if self.below else self.title
        axis: dict[str, Any] = {"grid": self.grid, "title": title if titled and self.title else None}
        ticks = self.ticks
        if ticks is None and self.log:
            ticks = _log_ticks(low, high)
        elif ticks is None and self.whole:
            ticks = whole_ticks([low, high])
        axis |= {"tickCount": 6} if ticks is None else {"values": list(ticks)}
        if self.labels is not None:
            words = [each.split("\n") if "\n" in each else each for each in self.labels]
            axis |= {"labelExpr": f"{json.dumps(words)}[indexof({list(ticks or ())}, datum.value)]"}
        elif self.percent:
            axis |= {"labelExpr": "format(abs(datum.value), '.0%')"}  # bars downwards are no negative shares
        else:
            axis |= {"labelExpr": PLAIN.format("datum.value")}
        axis |= {"labelAngle": -90} if self.upright else {}
        return {"type": "quantitative", "scale": scale, "axis": axis}


def _log_ticks(low: float, high: float) -> list[float]:
    """As few as can be read, at most nine."""
    apart = high / low
    if apart < 3:  # next to straight
        quarter = (high - low) / 4
        power = 10.0 ** math.floor(math.log10(quarter))
        step = next(lead * power for lead in (1, 2, 5, 10) if lead * power >= quarter)
        return [float(f"{each * step:.6g}") for each in range(math.ceil(low / step), math.floor(high / step) + 1)]
    leads = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if apart < 8 else (1.0, 2.0, 5.0) if apart < 300 else (1.0,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{lead}e{power}") for power in powers for lead in leads]
    ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return ticks[:: -(-len(ticks) // 9) or 1]


def whole_ticks(found: Sequence[float]) -> list[int]:
    """Among the values on an axis, at most eight."""
    low, high = (math.ceil(min(found)), math.floor(max(found))) if found else (0, 1)
    steps = (lead * 10**power for power in range(12) for lead in (1, 2, 5))
    step = next(each for each in steps if (high - low) / each <= 7)
    return list(range(-(-low // step) * step, high + 1, step))
