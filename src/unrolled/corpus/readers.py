"""The readers by corpus name: place -> documents."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from unrolled.corpus.catalogue import CATALOGUE
from unrolled.corpus.files.lines import Reading, decoded_lines
from unrolled.corpus.files.text_files import Document, zip_documents
from unrolled.corpus.python_docs import python_documents
from unrolled.ground.corpus import SPLITS


def split_documents(name: str, place: Path, pattern: str | None) -> Iterator[Document]:
    """Three files, each a split, as Mikolov's Penn Treebank, a sentence a line, or WikiText-2, a paragraph a line."""
    reading = Reading(blank_lines=CATALOGUE[name].blank_lines)
    for split in SPLITS:
        file = f"{name}.{split}.txt"
        yield Document(file, partial(_plain_lines, place / file, reading), split)


def brown_documents(place: Path, pattern: str | None) -> Iterator[Document]:
    """The words of the Brown corpus, a document a file, a sentence a line."""
    for document in zip_documents(place / "brown.zip"):
        if re.fullmatch(r"brown/c[a-r]\d\d", document.name):
            yield Document(document.name, partial(_words, document))


def tagged_words(line: str) -> list[tuple[str, str]]:
    """Brown's ``word/tag word/tag ...`` as pairs; the word itself may hold a slash ("1/2/cd")."""
    return [(word, tag) for word, _, tag in (token.rpartition("/") for token in line.split())]


def _words(document: Document) -> Iterator[str]:
    for line in document.lines():
        yield " ".join(word for word, _ in tagged_words(line))


def _plain_lines(path: Path, reading: Reading) -> Iterator[str]:
    with path.open("rb") as file:
        yield from decoded_lines(file, str(path), reading)


# (place, pattern) -> documents; place is the folder that fetch filled or, for text, the user's path
READERS: dict[str, Callable[[Path, str | None], Iterator[Document]]] = {
    "python-docs": python_documents,
    **{name: partial(split_documents, name) for name in ("ptb", "wikitext-2")},
    "brown": brown_documents,
}
