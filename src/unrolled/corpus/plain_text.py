"""Plain text as the stages ask for it: what a task reads that brings no data of its own; see `of_task.py`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unrolled.corpus import own_text
from unrolled.corpus.catalogue import CATALOGUE, MADE_UP, facts
from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import Document
from unrolled.corpus.readers import READERS
from unrolled.corpus.splits import write_splits
from unrolled.shell.errors import UserError

__all__ = ["CATALOGUE", "encode", "facts", "read"]


def read(corpus: Mapping[str, Any], raw: Path, text: Path) -> None:
    """The documents as plain lines, split."""
    name = corpus["name"]
    documents: Iterable[Document]
    arrays: Mapping[str, Any] = {}
    about: dict[str, Any] = facts(name) | {"settings": corpus}
    if corpus["source"]:
        from unrolled.corpus.made_up import made_up  # here, not above: scipy and numba take a second to import

        documents, arrays = made_up(corpus)
    elif name == own_text.NAME:
        documents, how = own_text.documents(corpus)
        about |= {"reading": how}
    else:
        documents = READERS[name](raw, corpus["pattern"])
    repeats = write_splits(
        documents,
        text,
        valid_share=corpus["valid_share"],
        test_share=corpus["test_share"],
        seed=corpus["seed"],
        facts=about,
        arrays=arrays,
        drawn=name in MADE_UP,
    )
    if name == own_text.NAME:
        own_text.say_what_was_left_out(how, repeats)


def encode(settings: Mapping[str, Any], text: Path, encoded: Path, report: Path) -> None:
    """The vocabulary of the training split, and all splits as its ids."""
    corpus, vocabulary = settings["corpus"], settings["vocabulary"]
    name = corpus["name"]
    source = CATALOGUE[name]
    if name in MADE_UP and (vocabulary["unit"] != "word" or vocabulary["min_count"] > 1 or vocabulary["max_size"]):
        raise UserError(
            f"the floors of {name} are of its words, all of them: set vocabulary.unit to word, min_count to 1 and "
            "max_size to null"
        )
    own = own_text.looked_at(corpus, vocabulary["unit"], text) if name == own_text.NAME else own_text.NOTHING
    encode_corpus(
        text,
        encoded,
        report,
        **vocabulary,
        tokenised=source.tokenised or own.tokenised,
        own_vocabulary=source.own_vocabulary,
        normalise=corpus.get("normalise"),
        judged=name not in MADE_UP,
        told=own.told,
        warned=own.warned,
    )
