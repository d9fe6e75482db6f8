"""Numbers in, numbers out: the yardsticks of a language model, and where its nats go.

Sums come first and are divided once, at the end: perplexity = exp(nats / tokens). So no figure depends on how the
stream was cut. Non-finite numbers are results here (an unclipped arm explodes) and pass through without a warning.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.ground.corpus import Text
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


def of_whole_text(nats: float, text: Text) -> dict[str, float]:
    """What a text costs with each ``<unk>`` spelled out, a character and a byte of it: compares across vocabularies.

    ``nats``: summed over its tokens. By name of the measure. Perplexity, and nats that leave out what ``<unk>`` hides,
    fall as the vocabulary shrinks. ValueError for a text without characters.
    """
    if text.characters < 1:
        raise ValueError(f"nats per character of {text.characters} characters are undefined: score at least one")
    total = float(nats) + text.spelling
    return {
        f"spelled_{name}_per_{of}": total / size / number
        for of, number in (("character", text.characters), ("byte", text.bytes))
        for name, size in (("nats", 1.0), ("bits", math.log(2)))
    }


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
