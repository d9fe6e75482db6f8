"""How sure a figure is: what was sampled is resampled, documents (sentences, speakers) whole, as their units depend."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

Floats = NDArray[np.float64]

FEWEST = (
    10  # clusters that say something of the others; where there are fewer, stretches of the stream take their place
)


class Interval(NamedTuple):
    low: float
    high: float


class Paired(NamedTuple):
    """Model a minus model b on the same units: the mean difference a unit."""

    difference: float
    interval: Interval


def bootstrap_interval(
    units: ArrayLike, clusters: ArrayLike, *, value: Callable[[float], float] = float,
    block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1,
) -> Interval:  # fmt: skip
    """Interval of ``value``, which rises with its argument, of the mean of units [N]; ``clusters`` [N]: whose each is.

    Clusters are drawn with replacement, each whole, so that a draw is a ratio of two sums; where there are fewer than
    FEWEST of them, stretches of ``block`` units are (Carlstein 1986), ten at least. The percentiles are those of the
    expanded interval (Hesterberg 2015, section 4.3), with the effective number of clusters by their sizes (Kish 1965):
    plain ones are too narrow where there are few. `docs/intervals.md` has the coverage.
    """
    stream = _stream(units, "units")
    sizes, sums = _clustered(stream, clusters, block)
    return _percentiles(_draws(sizes, sums, samples, seed), sizes, confidence, value)


def paired_bootstrap(
    units_a: ArrayLike, units_b: ArrayLike, clusters: ArrayLike, *,
    block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1,
) -> Paired:  # fmt: skip
    """Difference a - b of two models on the same units, with its interval; the same clusters are drawn for both."""
    a, b = _stream(units_a, "units_a"), _stream(units_b, "units_b")
    if a.shape != b.shape:
        raise ValueError(f"a paired comparison needs the same units: {a.size} and {b.size} were scored")
    with np.errstate(invalid="ignore"):  # inf - inf: two exploded models do not compare
        difference = a - b
    sizes, sums = _clustered(difference, clusters, block)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(sums.sum() / sizes.sum())
    return Paired(mean, _percentiles(_draws(sizes, sums, samples, seed), sizes, confidence))


def bootstrap_statistic(
    units: ArrayLike, clusters: ArrayLike, statistic: Callable[[Floats], float], *,
    block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1,
) -> tuple[float, Interval]:  # fmt: skip
    """``statistic`` of the column means of units [N, K], with its interval; resampled as ``bootstrap_interval``."""
    table = np.asarray(units, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"units must be rows and columns, not of shape {table.shape}")
    columns = [_clustered(column, clusters, block) for column in table.T]
    sizes, sums = columns[0][0], np.stack([of_column for _, of_column in columns], axis=1)
    means = _draws(sizes, sums, samples, seed)
    found = statistic(sums.sum(axis=0) / sizes.sum())
    return found, _percentiles(np.array([statistic(each) for each in means]), sizes, confidence)


def with_spread(interval: Interval, means: ArrayLike, confidence: float) -> Interval:
    """The interval of the mean of several trainings' ``means`` [S], given that over documents of these very trainings.

    To either side, documents and seeds add up as independent errors do, by their squares; of the mean over seeds that
    is Student's interval of S - 1 degrees of freedom. Of one training there is nothing to add.
    """
    seeds = np.asarray(means, dtype=np.float64)
    if seeds.size < 2 or not np.isfinite([*interval, *seeds]).all():
        return interval
    centre, error = float(seeds.mean()), float(seeds.std(ddof=1)) / math.sqrt(seeds.size)
    reach = float(stdtrit(seeds.size - 1, (1 + confidence) / 2)) * error
    return Interval(
        centre - math.hypot(max(centre - interval.low, 0.0), reach),
        centre + math.hypot(max(interval.high - centre, 0.0), reach),
    )


def count_clusters(clusters: ArrayLike) -> int | None:
    """How many clusters are resampled; None where there are too few of them, and stretches are."""
    found = len(np.unique(np.asarray(clusters)))
    return found if found >= FEWEST else None


def stretch_length(units: int, block: int) -> int:
    """Of the stretches that take the place of clusters where these are too few: such that there are FEWEST at least."""
    return min(block, math.ceil(units / FEWEST))


def fewest_samples(confidence: float) -> int:
    """That an interval of this confidence takes, so that it leaves one of them out at either end."""
    return math.ceil(2 / (1 - confidence) - 1e-9)


def _stream(units: ArrayLike, name: str) -> Floats:
    stream = np.asarray(units, dtype=np.float64)
    if stream.ndim != 1 or not stream.size:
        raise ValueError(f"{name} must be one row of at least one unit, not of shape {stream.shape}")
    return stream


def _clustered(stream: Floats, clusters: ArrayLike, block: int) -> tuple[Floats, Floats]:
    """Of each cluster, or stretch, the number of units and their sum."""
    if block < 1:
        raise ValueError(f"a bootstrap needs block >= 1, not {block}")
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    if cluster.shape != stream.shape:
        raise ValueError(f"every unit has a cluster: {stream.size} units, {cluster.size} clusters")
    if len(names) < FEWEST:
        cluster = np.arange(stream.size) // stretch_length(stream.size, block)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.bincount(cluster, weights=stream).astype(np.float64)
    return np.bincount(cluster).astype(np.float64), sums


def _draws(sizes: Floats, sums: Floats, samples: int, seed: int) -> Floats:
    """Mean of each of `samples` resampled streams, [samples]; of sums [C, K] those of the K columns, [samples, K]."""
    if samples < 1:
        raise ValueError(f"a bootstrap needs samples >= 1, not {samples}")
    random, means = np.random.default_rng(seed), np.empty((samples, *sums.shape[1:]))
    with np.errstate(invalid="ignore", over="ignore"):
        for sample in range(samples):  # one at a time: memory stays flat for a stream of any length
            drawn = random.integers(sizes.size, size=sizes.size)
            means[sample] = sums[drawn].sum(axis=0) / sizes[drawn].sum()
    return means


def _percentiles(draws: Floats, sizes: Floats, confidence: float, value: Callable[[float], float] = float) -> Interval:
    """Order statistics, the same number left out on each side: a - b mirrors b - a, and inf needs no arithmetic."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    if np.isnan(draws).any() or sizes.size < 2:  # one cluster says nothing of others
        return Interval(math.nan, math.nan)
    effective = max(float(sizes.sum() ** 2 / np.square(sizes).sum()), 2.0)
    share = ndtr(math.sqrt(effective / (effective - 1)) * stdtrit(effective - 1, (1 - confidence) / 2))
    left_out = int(share * draws.size + 1e-9)
    ordered = np.sort(draws)
    return Interval(value(ordered[left_out]), value(ordered[-1 - left_out]))
