"""How much of a test split stands word for word in training, wherever lines and documents begin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

STRETCH = {"word": 12, "subword": 20, "character": 60}  # tokens that two texts do not share by chance
BLOCK = 1 << 20  # tokens hashed at a time
KEPT = 1 << 20  # about so many stretches of training are remembered, 8 MB: of more every n-th, by its hash
FACTOR, MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

Ids = np.ndarray[Any, np.dtype[Any]]


def share_in_training(train: Path, test: Path, unit: str) -> float | None:
    """The share of the stretches of ``test`` that are in ``train`` too, both arrays of ids; None where it has none."""
    length = STRETCH[unit]
    seen, asked = np.load(train, mmap_mode="r"), np.load(test, mmap_mode="r")
    if len(asked) < length:
        return None
    one_in = np.uint64(max(1, len(seen) // KEPT))
    of_test = np.concatenate([*_hashes(asked, length, one_in)])
    if not len(of_test):
        return None
    known = [np.unique(hashes) for hashes in _hashes(seen, length, one_in)]
    return float(np.isin(of_test, np.concatenate([*known, of_test[:0]])).mean())


def _hashes(ids: Ids, length: int, one_in: np.uint64) -> Iterator[Ids]:
    """Of each stretch a hash; of these one in so many, the same for the same stretch."""
    for start in range(0, len(ids) - length + 1, BLOCK):
        block = np.asarray(ids[start : start + BLOCK + length - 1]).astype(np.uint64)
        hashes = np.zeros(len(block) - length + 1, dtype=np.uint64)
        for at in range(length):
            hashes = hashes * FACTOR + block[at : at + len(hashes)]
        hashes = (hashes ^ (hashes >> np.uint64(31))) * MIX
        hashes ^= hashes >> np.uint64(29)
        yield hashes if one_in == 1 else hashes[hashes % one_in == 0]
