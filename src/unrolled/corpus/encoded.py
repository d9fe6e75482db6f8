"""data/encoded, written: the arrays of each split, those of the whole corpus, what their ids stand for, and digests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import read_sealed, seal, write_json
from unrolled.ground.corpus import MANIFEST, NAMES, Split, corpus_digest

Array = np.ndarray[Any, np.dtype[Any]]


def write_encoded(
    folder: Path,
    splits: Mapping[str, Split],
    counts: Array,
    *,
    arrays: Mapping[str, Array] | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
    files: Mapping[str, str] | None = None,
    settings: Mapping[str, Any],
) -> str:
    """Write what `ground/corpus.py` reads back, whole or not at all; returns the digest of the corpus.

    ``splits``: train, valid and test; ``counts`` int64 [V]: how often training shows each type; ``arrays``: of the
    whole corpus, by name; ``names``: of each kind what its ids stand for, in their order; ``files``: others, by
    name, with their text; ``settings``: the sections of params.yaml that it was made with.
    """
    with whole_folder(folder) as place:
        for name, split in splits.items():
            for part, array in {"": split.tokens, "documents": split.documents, **split.arrays}.items():
                np.save(place / ".".join(filter(None, (name, part, "npy"))), array)
        for name, array in {"counts": counts, **(arrays or {})}.items():
            np.save(place / f"{name}.npy", array)
        if names:
            write_json(place / NAMES, {kind: list(each) for kind, each in names.items()})
        for name, text in (files or {}).items():
            (place / name).write_text(text, encoding="utf-8")
        seal(place / MANIFEST, {"settings": dict(settings)})
    return corpus_digest(read_sealed(folder, MANIFEST)["files"])
