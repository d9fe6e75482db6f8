"""data/encoded read back: the splits as token ids, every byte checked."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.sealed import load, read_sealed

SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"  # the digest of each file

Ids = np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]


class Corpus(NamedTuple):
    """What the vocabulary stage left: the token ids of each split, memory-mapped: never wholly in memory.

    ``counts`` int64 [V]: how often training shows each type. ``digest``: which text, split and vocabulary this is.
    """

    train: Ids
    valid: Ids
    test: Ids
    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    digest: str


def read_corpus(encoded: Path) -> Corpus:
    """Raises UserError naming the file that is missing or was altered, and how to get it again."""
    manifest = read_sealed(encoded, MANIFEST)
    train, valid, test, counts = (load(encoded, f"{name}.npy", _mapped) for name in (*SPLITS, "counts"))
    digests = "".join(manifest["files"][name] for name in ("tokenizer.json", *(f"{split}.npy" for split in SPLITS)))
    return Corpus(train, valid, test, counts, hashlib.sha256(digests.encode()).hexdigest())


def _mapped(path: Path) -> np.ndarray[tuple[int], np.dtype[Any]]:
    tokens: np.ndarray[tuple[int], np.dtype[Any]] = np.load(path, mmap_mode="r", allow_pickle=False)
    return tokens
