"""Two models' probabilities in one: linear interpolation, its weight chosen where the test split is not seen."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def interpolated_nats(first: ArrayLike, second: ArrayLike, weight: float) -> Floats:
    """-ln((1 - weight) p + weight q) of each token [N], from -ln p and -ln q.

    Infinite nats are a probability of 0. Raises ValueError where the two are not of the same tokens.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"a mixture needs the nats of the same tokens, not of {one.shape} and {other.shape}")
    with np.errstate(divide="ignore"):  # a weight of 0 or 1 leaves one out, whatever it predicts
        return np.asarray(-np.logaddexp(np.log1p(-weight) - one, np.log(weight) - other))


def interpolation_weight(first: ArrayLike, second: ArrayLike, steps: int = 200) -> float:
    """The weight of ``second`` that makes the interpolation's summed nats least (EM: Jelinek & Mercer 1980).

    Each step raises the likelihood, which has one maximum: the mean of q's share in the mixture becomes its weight.
    """
    ratio = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)  # ln q/p of each token
    weight = 0.5
    for _ in range(steps):
        if not 0 < weight < 1:
            break
        with np.errstate(over="ignore"):
            weight = float((1 / (1 + (1 - weight) / weight * np.exp(-ratio))).mean())
    return weight
