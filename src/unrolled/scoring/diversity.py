"""How varied texts are, and how much of them is copied: what says that a model repeats itself, or its training.

Lines are rows of ids without the end of the line. What is counted of n-grams hangs on how many lines there are: compare
figures of as many.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Line = Sequence[int]

LITTLE = 0.1  # in place of no match at all: the first smoothing of Chen & Cherry 2014, as in nltk
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that every id changes every later bit of a hash


def distinct(lines: Sequence[Line], n: int) -> float:
    """Different n-grams over all n-grams (Li et al. 2016); nan where there is none."""
    counts = Counter(gram for line in lines for gram in _grams(line, n))
    return len(counts) / counts.total() if counts else math.nan


def self_bleu(lines: Sequence[Line], order: int = 4) -> Floats:
    """BLEU of each line with all others as its references [N] (Zhu et al. 2018): the higher, the less varied.

    Clipped counts of n-grams of up to ``order`` tokens and the brevity penalty are those of Papineni et al. (2002),
    where nothing matches smoothed. An empty line has 0. All others at once: of each n-gram the two lines are kept that
    hold it most often. ValueError for fewer than two lines.
    """
    if len(lines) < 2:
        raise ValueError(f"self-BLEU compares each line with others: 2 or more are needed, not {len(lines)}")
    logs = np.zeros(len(lines))
    for n in range(1, order + 1):
        counts = [Counter(_grams(line, n)) for line in lines]
        most = _two_most(counts)
        for place, of_line in enumerate(counts):
            clipped = sum(
                min(count, most[gram][1] if most[gram][2] == place else most[gram][0])
                for gram, count in of_line.items()
            )
            if n == 1 and not clipped:
                logs[place] = -math.inf
            logs[place] += math.log((clipped or LITTLE) / max(1, of_line.total())) / order
    return np.asarray(np.exp(logs + _brevity([len(line) for line in lines])))


def copied(lines: Sequence[Line], known: Hashes, n: int) -> float:
    """The share of the lines' n-grams that are among the ``known``, see `hashes`; nan where there is none."""
    found = np.concatenate([_hashes(np.asarray(line, dtype=np.int64), n) for line in lines])
    if not len(found) or not len(known):
        return math.nan
    return float((known[np.searchsorted(known, found).clip(max=len(known) - 1)] == found).mean())


def hashes(text: ArrayLike, n: int) -> Hashes:
    """Of a text's n-grams, ids [N], in order: 64 bits each, so that one in 10^12 of other n-grams looks like one."""
    return np.sort(_hashes(np.asarray(text), n))


def _grams(line: Line, n: int) -> Iterator[tuple[int, ...]]:
    return zip(*(line[first:] for first in range(n)), strict=False)


def _two_most(counts: Sequence[Counter[tuple[int, ...]]]) -> dict[tuple[int, ...], tuple[int, int, int]]:
    """Of each n-gram the most that a line holds of it, the most that another one does, and the former's place."""
    most: dict[tuple[int, ...], tuple[int, int, int]] = {}
    for place, of_line in enumerate(counts):
        for gram, count in of_line.items():
            first, second, whose = most.get(gram, (0, 0, -1))
            if count > first:
                most[gram] = (count, first, place)
            elif count > second:
                most[gram] = (first, count, whose)
    return most


def _brevity(lengths: Sequence[int]) -> Floats:
    """ln of the penalty on each line that is shorter than the other whose length is closest; of two the shorter."""
    own = np.array(lengths)
    kinds, counts = np.unique(own, return_counts=True)
    found = np.zeros(len(own))
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        others = kinds if count > 1 else kinds[kinds != kind]
        closest = others[np.abs(others - kind).argmin()]  # ascending, so the shorter one of two
        if kind <= closest and kind:
            found[own == kind] = 1 - closest / kind
    return found


def _hashes(ids: NDArray[np.int64], n: int) -> Hashes:
    """Of each n-gram [N - n + 1], a polynomial in FACTOR modulo 2^64."""
    if len(ids) < n:
        return np.zeros(0, dtype=np.uint64)
    numbers = ids.astype(np.uint64) + np.uint64(1)
    found = np.zeros(len(ids) - n + 1, dtype=np.uint64)
    for first in range(n):
        found = found * FACTOR + numbers[first : len(ids) - n + 1 + first]
    return found
