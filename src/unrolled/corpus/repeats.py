"""How much of a test split stands word for word in training, wherever lines and documents begin."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.corpus.blocks import ALONE, Pool

STRETCH = {"word": 12, "subword": 20, "character": 60}  # tokens that two texts do not share by chance
BLOCK = 1 << 20  # tokens hashed at a time
KEPT = 1 << 20  # about so many stretches of training are remembered, 8 MB: of more every n-th, by its hash
FACTOR, MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

Ids = np.ndarray[Any, np.dtype[Any]]
Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


class Sample:
    """Hashes that come a few at a time: all of them or, of very many, one in so many, the same of the same text."""

    def __init__(self) -> None:
        self._parts: list[Hashes] = []
        self._kept, self._one_in = 0, 1

    def add(self, hashes: Hashes) -> None:
        self._parts.append(_chosen(hashes, self._one_in))
        self._kept += len(self._parts[-1])
        while self._kept > 2 * KEPT:
            self._one_in *= 2
            self._parts = [_chosen(self._all(), self._one_in)]
            self._kept = len(self._parts[0])

    def share_in(self, other: "Sample") -> float | None:
        """How many of these are among the others; None of none."""
        one_in = max(self._one_in, other._one_in)
        return _share(_chosen(self._all(), one_in), _chosen(other._all(), one_in))

    def _all(self) -> Hashes:
        return np.concatenate([*self._parts, np.zeros(0, dtype=np.uint64)])


def share_in_training(train: Path, test: Path, unit: str, pool: Pool = ALONE) -> float | None:
    """The share of the stretches of ``test`` that are in ``train`` too, both arrays of ids; None where it has none."""
    length, one_in = STRETCH[unit], max(1, _size(train) // KEPT)
    of_test, of_train = (_hashes(each, length, one_in, pool) for each in (test, train))
    return _share(of_test, of_train)


def _share(asked: Hashes, known: Hashes) -> float | None:
    if not len(asked):
        return None
    known = np.sort(known)  # several times as fast as np.isin, which looks for what is different first
    at = np.minimum(np.searchsorted(known, asked := np.sort(asked)), len(known) - 1)
    return float((known[at] == asked).mean()) if len(known) else 0.0


def _chosen(hashes: Hashes, one_in: int) -> Hashes:
    return hashes if one_in == 1 else hashes[hashes % np.uint64(one_in) == 0]


def _size(path: Path) -> int:
    return len(np.load(path, mmap_mode="r"))


def _hashes(path: Path, length: int, one_in: int, pool: Pool) -> Hashes:
    """Of each stretch of an array of ids a hash; of these one in so many, the same for the same stretch."""
    starts = range(0, _size(path) - length + 1, BLOCK)
    return np.concatenate([np.zeros(0, np.uint64), *pool.in_order(partial(_of_block, path, length, one_in), starts)])


def _of_block(path: Path, length: int, one_in: int, start: int) -> Hashes:
    # mapped anew for each block, so that what was read is no longer counted as memory of this process
    block = np.load(path, mmap_mode="r")[start : start + BLOCK + length - 1].astype(np.uint64)
    hashes = _polynomials(block, length)
    hashes = (hashes ^ (hashes >> np.uint64(31))) * MIX
    hashes ^= hashes >> np.uint64(29)
    return _chosen(hashes, one_in)


def _polynomials(ids: Ids, length: int) -> Hashes:
    """Of each stretch the sum of its ids by powers of FACTOR, the first by the highest; uint64 [N - length + 1].

    By doubling: two neighbours of n ids each make one of 2 n, and those of the powers of two in ``length`` make it up.
    """
    size = len(ids) - length + 1
    whole, done, run, power, n = np.zeros(size, dtype=np.uint64), 0, ids, FACTOR, 1
    with np.errstate(over="ignore"):  # FACTOR's powers are meant modulo 2 ** 64
        while True:
            if length & n:
                whole = whole * power + run[done : done + size]
                done += n
            if done == length:
                return whole
            run, power, n = run[:-n] * power + run[n:], power * power, 2 * n
