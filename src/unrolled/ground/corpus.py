"""data/encoded read back: the splits as token ids with the borders of their documents, every byte checked.

A task that brings its own data may keep more beside them:

    <split>.<name>.npy    an array of the split, as a tag for each token, or where each sentence begins
    <name>.npy            an array of the whole corpus, as the letters of each word
    names.json            of each kind what its ids stand for, in their order: {"tags": ["ADJ", "ADP", ...], ...}
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from unrolled.ground.checksums import json_of, load, read_sealed
from unrolled.shell.errors import UserError

SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"  # the digest of each file
REPORT = "corpus.json"  # what a person wants to know of it, beside its folder
NAMES = "names.json"
TOKENIZER = "tokenizer.json"
SOURCE = "source"  # before the names of the arrays that say what made-up text is drawn from
ALWAYS = (*(f"{split}.npy" for split in SPLITS), *(f"{split}.documents.npy" for split in SPLITS), "counts.npy")

Tokens = np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]  # memory-mapped, 1-D
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
Array = np.ndarray[Any, np.dtype[Any]]
NO_ARRAYS: Mapping[str, Any] = MappingProxyType({})


class Split(NamedTuple):
    """A stream of token ids [N], and where in it each document begins, int64 [D].

    ``arrays``: what else it holds, by name, and those of the whole corpus, for who is given no more than a split.
    """

    tokens: Tokens
    documents: Counts
    arrays: Mapping[str, Array] = NO_ARRAYS

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

    ``counts`` int64 [V]: how often training shows each type. ``texts``: by split, where the data is plain text.
    ``digest``: which text, split and vocabulary this is. ``arrays``, of the whole corpus, and ``names``: see above.
    """

    train: Split
    valid: Split
    test: Split
    counts: Counts
    texts: dict[str, Text]
    digest: str
    arrays: Mapping[str, Array] = NO_ARRAYS
    names: Mapping[str, list[str]] = NO_ARRAYS


def read_corpus(encoded: Path) -> Corpus:
    """Raises UserError naming the file that is missing or was altered, and how to get it again."""
    manifest = read_sealed(encoded, MANIFEST)
    files = manifest["files"]
    written = {*(name for name in files if name.endswith(".npy")), *ALWAYS}
    arrays = {name.removesuffix(".npy"): load(encoded, name, _mapped) for name in sorted(written)}
    counts, splits = arrays.pop("counts"), [_split(name, arrays) for name in SPLITS]
    train, valid, test = (split._replace(arrays={**arrays, **split.arrays}) for split in splits)
    texts = {name: Text(**of_split) for name, of_split in manifest.get("texts", {}).items()}
    names = load(encoded, NAMES, json_of) if NAMES in files else {}
    return Corpus(train, valid, test, counts, texts, corpus_digest(files), arrays, names)


def read_report(data: Path) -> dict[str, Any]:
    """data/corpus.json, a metric that DVC shows; UserError where it says other than data/encoded, which vouches for it.

    That is, of which corpus it is, and with what settings that was made.
    """
    report, manifest = load(data, REPORT, json_of), load(data / "encoded", MANIFEST, json_of)
    if report.get("digest") != corpus_digest(manifest["files"]) or report.get("settings") != manifest.get("settings"):
        raise UserError(
            f"{data / REPORT} is not of the corpus in {data / 'encoded'}; make both with: dvc repro vocabulary"
        )
    return report


def vocabularies(encoded: Path) -> dict[str, list[str]]:
    """What the ids of each kind stand for, in their order: ``types`` of a tokenizer, and all that NAMES names."""
    found: dict[str, list[str]] = {}
    if (encoded / TOKENIZER).is_file():
        types: Any = load(encoded, TOKENIZER, json_of)["model"]["vocab"]  # ids by type, or pairs of type and score
        found["types"] = (
            sorted(types, key=types.__getitem__) if isinstance(types, dict) else [name for name, _ in types]
        )
    return found | (load(encoded, NAMES, json_of) if (encoded / NAMES).is_file() else {})


def _split(name: str, arrays: dict[str, Array]) -> Split:
    """Take the arrays of a split from among all."""
    own = {each: arrays.pop(each) for each in list(arrays) if each == name or each.startswith(f"{name}.")}
    parts = {each.removeprefix(f"{name}."): array for each, array in own.items()}
    return Split(parts.pop(name), parts.pop("documents"), parts)


def corpus_digest(files: Mapping[str, str]) -> str:
    """Which text, split and vocabulary this is; ``files``: the sha256 of each file in data/encoded, by its name."""
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def _mapped(path: Path) -> Any:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
