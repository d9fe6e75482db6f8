"""How much of what stands before a prediction a network makes use of: its score by the context that it is given."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.ground.bootstrap import Interval, bootstrap_statistic
from unrolled.ground.evaluation import Resampling, Units, sums_of
from unrolled.ground.perplexity import exp
from unrolled.ground.score import Score

CLOSE = 1.05  # times the score with all context: from there on, more context hardly helps
BLOCK = 10  # of the probed units, which lie apart, drawn together where there are no clusters to draw
COLUMNS = ("context", "value", "ratio", "ratio_low", "ratio_high", "terms")


class Given(NamedTuple):
    """A task's main score of some units [N] by how much context they were given, the last, inf, with all of it."""

    units: Mapping[float, Units]
    clusters: NDArray[np.int64]
    positions: NDArray[np.int64]  # of the units, in the order of the split


def by_context(given: Given | None, score: Score, resampling: Resampling) -> pd.DataFrame:
    """A row a context: the score, and how much worse it is than with all context on the same units, with its interval.

    That is a quotient, 1 for no worse. Empty where nothing was given.
    """
    if given is None:
        return pd.DataFrame(columns=list(COLUMNS), dtype=float)
    whole, rows = given.units[math.inf], []
    for context, units in given.units.items():
        pair = np.stack([units, whole], axis=1)
        ratio, (low, high) = bootstrap_statistic(
            pair, given.clusters, lambda means: _times_worse(means[0], means[1], score), **_options(resampling)
        )
        rows.append([context, score.of(sums_of(units)), ratio, low, high, len(units)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def context_needed(given: Given | None, score: Score, resampling: Resampling) -> tuple[float, Interval]:
    """The shortest context from which on the score stays within 5 % of that with all of it, with its interval.

    inf if none does; nan where nothing was given, or the score is not finite, as of an arm that exploded.
    """
    if given is None:
        return math.nan, Interval(math.nan, math.nan)
    contexts, units = list(given.units), np.stack([each.astype(np.float64) for each in given.units.values()])

    def needed(means: NDArray[np.float64]) -> float:
        if not all(math.isfinite(score.value(float(mean), 1)) for mean in means):
            return math.nan
        far = np.flatnonzero([_times_worse(mean, means[-1], score) > CLOSE for mean in means])
        return contexts[int(far[-1]) + 1 if len(far) else 0]

    return bootstrap_statistic(units.T, given.clusters, needed, **_options(resampling))


def _times_worse(mean: float, whole: float, score: Score) -> float:
    """Of two means of a score's terms; of a perplexity, whose terms are nats, the quotient of the perplexities."""
    if score.ratio:
        return exp(float(mean) - float(whole))
    above, below = (mean, whole) if score.lower_is_better else (whole, mean)
    return float(above / below) if below else math.nan if not above else math.inf


def _options(resampling: Resampling) -> dict[str, Any]:
    return resampling._asdict() | {"block": BLOCK}
