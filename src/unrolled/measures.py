"""Numbers in, numbers out: what a language model's nats and ranks say.

Sums come first and are divided once, at the end: perplexity = exp(nats / tokens). So no figure depends on how the
stream was cut. Non-finite numbers are results here (an unclipped arm explodes) and pass through without a warning.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.perplexity import exp, perplexity

Floats = NDArray[np.float64]

FEWEST_BLOCKS = 10  # a shorter stream is cut into this many blocks, or resampling it would say nothing


class Interval(NamedTuple):
    low: float
    high: float


class Paired(NamedTuple):
    """Model a minus model b on the same tokens: nats a token, and perplexity a / perplexity b."""

    difference: float
    interval: Interval
    ratio: float
    ratio_interval: Interval


class Band(NamedTuple):
    """The scored tokens whose training count lies in low..high (both included)."""

    band: str
    low: int
    high: int
    tokens: int
    nats: float
    perplexity: float


class Calibration(NamedTuple):
    """Arrays by non-empty bin, lowest confidence first, and the expected calibration error."""

    confidence: Floats
    accuracy: Floats
    tokens: NDArray[np.int64]
    error: float


def bits_per_character(nats: float, characters: int) -> float:
    """Summed nats over the characters of the text they score, in bits."""
    if characters < 1:
        raise ValueError(f"bits per character of {characters} characters are undefined: score at least one")
    return float(nats) / math.log(2) / characters


# ---- how sure: the stream's tokens depend on their neighbours, so whole blocks are drawn -------------------------


def block_bootstrap_interval(
    nats: ArrayLike, *, block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1
) -> Interval:
    """Percentile interval of the perplexity of a stream, nats [N] a token each, in order.

    Fixed blocks of `block` tokens are drawn with replacement (Carlstein 1986); the last may be shorter, so each draw
    is a ratio of two sums. A stream shorter than ten blocks is cut into ten.
    """
    draws, _ = _resampled_means(_stream(nats, "nats"), block, samples, seed)
    return _percentiles(draws, confidence, exp)


def paired_bootstrap(
    nats_a: ArrayLike, nats_b: ArrayLike, *, block: int, samples: int = 1000, confidence: float = 0.95, seed: int = 1
) -> Paired:
    """Difference a - b of two models on the same tokens, with percentile intervals; the same blocks for both."""
    a, b = _stream(nats_a, "nats_a"), _stream(nats_b, "nats_b")
    if a.shape != b.shape:
        raise ValueError(f"a paired comparison needs the same tokens: {a.size} and {b.size} were scored")
    with np.errstate(invalid="ignore"):  # inf - inf: two exploded models do not compare
        difference = a - b
    draws, mean = _resampled_means(difference, block, samples, seed)
    return Paired(mean, _percentiles(draws, confidence), exp(mean), _percentiles(draws, confidence, exp))


def _stream(nats: ArrayLike, name: str) -> Floats:
    stream = np.asarray(nats, dtype=np.float64)
    if stream.ndim != 1 or not stream.size:
        raise ValueError(f"{name} must be one row of at least one token, not of shape {stream.shape}")
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


# ---- yardsticks: what a model that reads no context reaches ------------------------------------------------------


def unigram_nats(counts: ArrayLike, targets: ArrayLike) -> Floats:
    """-log p of each target [N] under the unigram model of the training counts [V], add-one smoothed.

    p = (count + 1) / (tokens + V) (Laplace): it sums to one and stays finite for a type that training never showed
    (a character vocabulary's `<unk>`); with real counts it differs from the plain shares by little.
    """
    totals = np.asarray(counts, dtype=np.float64) + 1
    nats_of_types = math.log(totals.sum()) - np.log(totals)
    return np.asarray(nats_of_types[np.asarray(targets)])


def unigram_perplexity(counts: ArrayLike, targets: ArrayLike) -> float:
    nats = unigram_nats(counts, targets)
    return perplexity(float(nats.sum()), nats.size)


def uniform_perplexity(vocabulary_size: int) -> float:
    """Every type alike: the vocabulary's size."""
    return float(vocabulary_size)


# ---- where the nats go, and whether the probabilities can be believed --------------------------------------------


def frequency_bands(counts: ArrayLike, targets: ArrayLike, nats: ArrayLike) -> list[Band]:
    """Perplexity by how often training showed the target: 0-9 times, 10-99, 100-999, ...; most frequent band first.

    counts [V], targets [N], nats [N]. Bands without a scored token are left out, so tokens and nats add up to the
    stream's. `<unk>` counts as the one type that the model predicts.
    """
    of_types = np.asarray(counts, dtype=np.int64)
    edges = 10 ** np.arange(1, len(str(int(of_types.max()))) + 1, dtype=np.int64)
    band_of_targets = np.searchsorted(edges, of_types, side="right")[np.asarray(targets)]
    tokens = np.bincount(band_of_targets, minlength=edges.size)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.bincount(band_of_targets, weights=np.asarray(nats, dtype=np.float64), minlength=edges.size)
    bands = []
    for index in reversed(np.flatnonzero(tokens).tolist()):
        low, high = (int(edges[index - 1]) if index else 0), int(edges[index]) - 1
        total, count = float(sums[index]), int(tokens[index])
        bands.append(Band(f"{low}-{high}", low, high, count, total, perplexity(total, count)))
    return bands


def target_ranks(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.int64]:
    """How many of V scores stand above each target's own: scores [N, V], targets [N] -> [N], 0 = predicted.

    Ties go to the target. A nan counts as above, so a model that answers nan predicts nothing.
    """
    table, own = np.asarray(scores), np.asarray(targets)
    above = ~(table <= table[np.arange(own.size), own][:, None])
    return np.asarray(above.sum(axis=1, dtype=np.int64))


def top_k_accuracy(ranks: ArrayLike, k: int) -> float:
    """Share of targets among the k best scores, from `target_ranks` (scikit-learn's sorts all V scores)."""
    return float(np.mean(np.asarray(ranks) < k))


def calibration(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> Calibration:
    """Is what the model is sure of right that often? confidence [N] of its first choice, correct [N] as bools.

    Expected calibration error = mean over tokens of |accuracy - confidence| of their bin (Guo et al. 2017).
    Tokens without a finite confidence are left out; with none left the error is nan.
    """
    # Here, not above: scikit-learn takes 1-2 s to import, and every training run imports this module.
    from sklearn.calibration import calibration_curve

    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    finite = np.isfinite(sure)
    if not finite.any():
        return Calibration(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), math.nan)
    sure, right = np.clip(sure[finite], 0, 1), right[finite]  # float32 softmax may reach 1 + 1e-7
    accuracy, mean = calibration_curve(right, sure, n_bins=bins, pos_label=True)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    count = np.bincount(np.searchsorted(inner, sure), minlength=bins)
    count = count[count > 0]
    return Calibration(mean, accuracy, count, float(count @ np.abs(accuracy - mean) / count.sum()))
