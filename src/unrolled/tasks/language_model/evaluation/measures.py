"""Numbers in, numbers out: the yardsticks of a language model, and where its nats go.

Sums come first and are divided once, at the end: perplexity = exp(nats / tokens). So no figure depends on how the
stream was cut. Non-finite numbers are results here (an unclipped arm explodes) and pass through without a warning.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.ground.perplexity import perplexity

Floats = NDArray[np.float64]


class Band(NamedTuple):
    """The scored tokens whose training count lies in low..high (both included)."""

    band: str
    low: int
    high: int
    tokens: int
    nats: float
    perplexity: float


def bits_per_character(nats: float, characters: int) -> float:
    """Summed nats over the characters of the text they score, in bits."""
    if characters < 1:
        raise ValueError(f"bits per character of {characters} characters are undefined: score at least one")
    return float(nats) / math.log(2) / characters


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
