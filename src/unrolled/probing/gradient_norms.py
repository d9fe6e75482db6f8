"""Numbers in, numbers out: what gradient norms say, by training step, by distance back and by time step.

Non-finite norms are results here (an unclipped arm explodes) and pass through without a warning.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.training.clipping import is_clipped

Floats = NDArray[np.float64]


class GradientNorms(NamedTuple):
    """What the steps' global gradient norms before clipping were; shares are of all steps."""

    median: float
    p90: float
    p99: float
    max: float
    clipped_share: float
    nonfinite_share: float


def gradient_norm_report(norm_before: ArrayLike, clip_norm: float | None) -> GradientNorms:
    """Quantiles of the finite norms before clipping, [steps]; the non-finite ones are counted, not mixed in.

    Without any finite norm they are nan.
    """
    norms = np.asarray(norm_before, dtype=np.float64)
    if not norms.size:
        raise ValueError("no steps: a gradient-norm report needs at least one")
    finite = norms[np.isfinite(norms)]
    median, p90, p99 = np.quantile(finite, [0.5, 0.9, 0.99]).tolist() if finite.size else [math.nan] * 3
    return GradientNorms(
        median,
        p90,
        p99,
        float(finite.max()) if finite.size else math.nan,
        float(is_clipped(norms, clip_norm).mean()),
        (norms.size - finite.size) / norms.size,
    )


def half_life(norms: ArrayLike) -> float:
    """After how many steps back a profile has halved; norms [T] by distance 0, 1, ...

    log(1/2) / slope, slope = median over all pairs of distances of d log(norm) / d distance (Theil 1950, Sen 1968:
    single bumps do not move it), so norms a^k give log(1/2) / log(a). Negative: it doubles every so many steps (it
    explodes); inf: flat; nan: fewer than two norms that are positive and finite.
    """
    profile = np.asarray(norms, dtype=np.float64)
    usable = np.flatnonzero(np.isfinite(profile) & (profile > 0))
    if usable.size < 2:
        return math.nan
    first, second = np.triu_indices(usable.size, 1)
    logs = np.log(profile[usable])
    slope = float(np.median((logs[second] - logs[first]) / (usable[second] - usable[first])))
    return math.log(0.5) / slope if slope else math.inf


def reach(norms: ArrayLike, share: float = 0.01) -> float:
    """How many steps back a profile stays at or above ``share`` of its largest norm; norms [T] by distance 0, 1, ...

    The distance before the first that lies below it and after the largest; inf where none does; nan where no norm is
    positive and finite.
    """
    profile = np.asarray(norms, dtype=np.float64)
    if not profile.size or not np.isfinite(profile).all() or not profile.max() > 0:
        return math.nan
    top = int(profile.argmax())
    below = np.flatnonzero(profile[top:] < share * profile[top])
    return float(top + below[0] - 1) if below.size else math.inf


EXPLODED = (
    "the gradient norm exceeds 10 times the median of the 10 steps before it, and the loss of the 10 steps after it, "
    "by their median, all that was seen before; or the norm is not finite"
)


def first_explosion(norms: ArrayLike, losses: ArrayLike, times: float = 10.0, steps: int = 10) -> int | None:
    """Index of the first step that is as EXPLODED says; norms of the gradient and losses of the batch, [N] each.

    A jump of the norm alone is none: where few batches are still lost on, as in classification, the norm is often many
    times its median, and nothing comes of it. What explodes leaves the valley and disrupts learning (Pascanu, Mikolov &
    Bengio 2013, section 2.3 and figure 6). Three steps at least must stand before it. None: it never exploded.
    """
    series, loss = np.asarray(norms, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    for index in range(3, series.size):
        if series[index] <= times * float(np.median(series[max(0, index - steps) : index])):
            continue
        after = loss[index + 1 : index + 1 + steps]
        if not math.isfinite(series[index]) or (after.size and not np.median(after) <= loss[:index].max()):
            return index
    return None


def alignment(norms: ArrayLike, sum_norm: float) -> float:
    """Do addends pull the same way? The norm of their sum over the sum of their norms [T], in 0..1.

    1: all the same way; 1 / sqrt(T): as T of equal norm that are orthogonal; 0: they cancel. The resultant length of
    directional statistics (Mardia and Jupp 2000), each direction weighted by its norm. nan: nothing adds up to a finite
    norm.
    """
    with np.errstate(over="ignore"):
        total = float(np.sum(np.asarray(norms, dtype=np.float64)))
    if not (math.isfinite(total) and math.isfinite(sum_norm) and total > 0):
        return math.nan
    return min(float(sum_norm) / total, 1.0)  # rounding: the gradient itself is summed in float32


def window_maxima(values: ArrayLike, windows: int = 320) -> tuple[NDArray[np.int64], Floats]:
    """The largest of each of at most `windows` equal stretches (nan only if all are), and the index of its last value.

    A chart of few points that keeps every explosion; sampling or averaging would lose it.
    """
    series = np.asarray(values, dtype=np.float64)
    if not series.size:
        return np.empty(0, dtype=np.int64), series
    starts = np.arange(0, series.size, math.ceil(series.size / windows))
    return np.append(starts[1:], series.size) - 1, np.fmax.reduceat(series, starts)
