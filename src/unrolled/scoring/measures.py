"""Numbers in, numbers out: is a model's first choice right, and as often as it is sure of it?

Where several scores are level, chance decides among them, and its expectation is what counts.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Calibration(NamedTuple):
    """Arrays by non-empty bin, lowest confidence first, and the expected calibration error."""

    confidence: Floats
    accuracy: Floats
    tokens: NDArray[np.int64]
    error: float


class Ranks(NamedTuple):
    """Where each target [N] stands among the scores of all types: int64, two numbers each."""

    above: NDArray[np.int64]  # how many stand above it
    tied: NDArray[np.int64]  # how many stand level with it, itself among them; 0 for a nan


def target_ranks(scores: ArrayLike, targets: ArrayLike) -> Ranks:
    """The place of each target's score in its row: scores [N, V], targets [N].

    A nan counts as above all others, so a model that answers nan predicts nothing.
    """
    table, index = np.asarray(scores), np.asarray(targets)
    own = table[np.arange(index.size), index][:, None]
    return Ranks(table.shape[1] - np.count_nonzero(table <= own, axis=1), np.count_nonzero(table == own, axis=1))


def hits(ranks: Ranks, k: int) -> Floats:
    """How likely each target is among the k best scores [N], where chance orders those that are level.

    1 or 0 where none is: a constant model of V types hits k times in V, wherever its targets stand.
    """
    return np.asarray(np.clip(k - ranks.above, 0, ranks.tied) / np.maximum(ranks.tied, 1))


def calibration(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> Calibration:
    """Is what the model is sure of right that often? confidence [N] of its first choice, correct [N] in 0..1 (`hits`).

    Expected calibration error = mean over tokens of |accuracy - confidence| of their bin (Guo et al. 2017).
    Tokens without a finite confidence are left out; with none left the error is nan.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    finite = np.isfinite(sure)
    if not finite.any():
        return Calibration(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), math.nan)
    sure, right = np.clip(sure[finite], 0, 1), right[finite]  # float32 softmax may reach 1 + 1e-7
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], sure)
    tokens = np.bincount(place)
    filled = tokens > 0
    count = tokens[filled]
    mean, accuracy = (np.bincount(place, weights=each)[filled] / count for each in (sure, right))
    return Calibration(mean, accuracy, count, float(count @ np.abs(accuracy - mean) / count.sum()))
