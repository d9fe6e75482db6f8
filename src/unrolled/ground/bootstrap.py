"""How sure a figure is: the units of a stream depend on their neighbours, so whole blocks are drawn."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FEWEST_BLOCKS = 10  # a shorter stream is cut into this many blocks, or resampling it would say nothing


class Interval(NamedTuple):
    low: float
    high: float


class Paired(NamedTuple):
    """Model a minus model b on the same units: the mean difference a unit."""

    difference: float
    interval: Interval


def block_bootstrap_interval(
    units: ArrayLike, *, value: Callable[[float], float] = float,
    block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1,
) -> Interval:  # fmt: skip
    """Percentile interval of ``value`` of the mean of a stream, [N] in order; ``value`` must be monotone.

    Fixed blocks of `block` units are drawn with replacement (Carlstein 1986); the last may be shorter, so each draw
    is a ratio of two sums. A stream shorter than ten blocks is cut into ten.
    """
    draws, _ = _resampled_means(_stream(units, "units"), block, samples, seed)
    return _percentiles(draws, confidence, value)


def paired_bootstrap(
    units_a: ArrayLike, units_b: ArrayLike, *, block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1
) -> Paired:
    """Difference a - b of two models on the same units, with its percentile interval; the same blocks for both."""
    a, b = _stream(units_a, "units_a"), _stream(units_b, "units_b")
    if a.shape != b.shape:
        raise ValueError(f"a paired comparison needs the same units: {a.size} and {b.size} were scored")
    with np.errstate(invalid="ignore"):  # inf - inf: two exploded models do not compare
        difference = a - b
    draws, mean = _resampled_means(difference, block, samples, seed)
    return Paired(mean, _percentiles(draws, confidence))


def _stream(nats: ArrayLike, name: str) -> Floats:
    stream = np.asarray(nats, dtype=np.float64)
    if stream.ndim != 1 or not stream.size:
        raise ValueError(f"{name} must be one row of at least one unit, not of shape {stream.shape}")
    return stream


def _resampled_means(stream: Floats, block: int, samples: int, seed: int) -> tuple[Floats, float]:
    """Mean of each of `samples` resampled streams, [samples]; and the mean of the stream itself."""
    if block < 1 or samples < 1:
        raise ValueError(f"a bootstrap needs block >= 1 and samples >= 1, not {block} and {samples}")
    block = min(block, math.ceil(stream.size / FEWEST_BLOCKS))
    starts = np.arange(0, stream.size, block)
    random = np.random.default_rng(seed)
    means = np.empty(samples)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(stream, starts)
        lengths = np.diff(starts, append=stream.size)
        for sample in range(samples):  # one at a time: memory stays flat for a stream of any length
            drawn = random.integers(starts.size, size=starts.size)
            means[sample] = sums[drawn].sum() / lengths[drawn].sum()
        return means, float(sums.sum() / stream.size)


def _percentiles(draws: Floats, confidence: float, of: Callable[[float], float] = float) -> Interval:
    """Order statistics, the same number left out on each side: a - b mirrors b - a, and inf needs no arithmetic."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    if np.isnan(draws).any():
        return Interval(math.nan, math.nan)
    left_out = int((1 - confidence) / 2 * draws.size + 1e-9)
    ordered = np.sort(draws)
    return Interval(of(ordered[left_out]), of(ordered[-1 - left_out]))
