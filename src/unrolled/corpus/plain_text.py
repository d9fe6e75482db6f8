"""Plain text as the stages ask for it: what a task reads that brings no data of its own; see `of_task.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.corpus.catalogue import CATALOGUE, facts
from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.readers import READERS
from unrolled.corpus.splits import write_splits

__all__ = ["CATALOGUE", "encode", "facts", "read"]


def read(corpus: Mapping[str, Any], raw: Path, text: Path) -> None:
    """The documents as plain lines, split."""
    name = corpus["name"]
    write_splits(
        READERS[name](Path(corpus["path"]) if CATALOGUE[name].own else raw, corpus["pattern"]),
        text,
        valid_share=corpus["valid_share"],
        test_share=corpus["test_share"],
        seed=corpus["seed"],
        facts=facts(name) | {"settings": corpus},
    )


def encode(settings: Mapping[str, Any], text: Path, encoded: Path, report: Path) -> None:
    """The vocabulary of the training split, and all splits as its ids."""
    source = CATALOGUE[settings["corpus"]["name"]]
    encode_corpus(
        text,
        encoded,
        report,
        **settings["vocabulary"],
        tokenised=source.tokenised,
        own_vocabulary=source.own_vocabulary,
    )
