"""Numbers in, numbers out: is a model's first choice right, and as often as it is sure of it?"""

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
