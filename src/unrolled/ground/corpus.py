"""data/encoded read back: the splits as token ids with the borders of their documents, every byte checked."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.ground.checksums import load, read_sealed

SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"  # the digest of each file

Tokens = np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]  # memory-mapped, 1-D
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]


class Split(NamedTuple):
    """A stream of token ids [N], and where in it each document begins, int64 [D]."""

    tokens: Tokens
    documents: Counts

    def document_of_tokens(self) -> Counts:
        """The number of the document that each token stands in, from 0: int64 [N]."""
        return np.searchsorted(self.documents, np.arange(len(self.tokens)), side="right") - 1


class Text(NamedTuple):
    """What a split's text is beside its tokens, before any lower-casing."""

    characters: int  # line ends among them
    bytes: int  # of UTF-8
    unknown: int  # tokens that are <unk>
    spelling: float  # nats that it takes to spell these out; see `corpus/spelling.py`


class Corpus(NamedTuple):
    """What the vocabulary stage left, memory-mapped: never wholly in memory.

    ``counts`` int64 [V]: how often training shows each type. ``texts``: by split. ``digest``: which text, split and
    vocabulary this is.
    """

    train: Split
    valid: Split
    test: Split
    counts: Counts
    texts: dict[str, Text]
    digest: str


def read_corpus(encoded: Path) -> Corpus:
    """Raises UserError naming the file that is missing or was altered, and how to get it again."""
    manifest = read_sealed(encoded, MANIFEST)
    train, valid, test = (
        Split(load(encoded, f"{name}.npy", _mapped), load(encoded, f"{name}.documents.npy", _mapped)) for name in SPLITS
    )
    texts = {name: Text(**manifest["texts"][name]) for name in SPLITS}
    counts = load(encoded, "counts.npy", _mapped)
    return Corpus(train, valid, test, counts, texts, corpus_digest(manifest["files"]))


def corpus_digest(files: Mapping[str, str]) -> str:
    """Which text, split and vocabulary this is; ``files``: the sha256 of each file in data/encoded, by its name."""
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def _mapped(path: Path) -> np.ndarray[tuple[int], np.dtype[Any]]:
    array: np.ndarray[tuple[int], np.dtype[Any]] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
