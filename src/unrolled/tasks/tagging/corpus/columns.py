"""Text in columns: a word and what it is tagged with a line, an empty line after each sentence; CoNLL-2000 is such."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.sentences import Line, Sentence, blocks, lines_of_bytes

CONLL2000 = {"pos": 1, "chunk": 2}  # the column of each
NEW_DOCUMENT = "-DOCSTART-"  # stands alone where the shared task of 2003, and who writes like it, begin one


def column_sentences(path: Path) -> Iterator[Sentence]:
    """The user's own: word and tag, parted by a tab or, in a line without one, by white space."""
    document = path.name
    for block in blocks(lines_of_bytes(path.read_bytes(), str(path))):
        words, tags = _split(block, 2)
        if words == [NEW_DOCUMENT]:
            document = block[0].place
        else:
            yield Sentence(words, tags, document)


def conll2000_sentences(archive: Path, part: str, tags: str, given: str | None = None) -> list[Sentence]:
    """``part``: "train" or "test"; ``tags`` and ``given``: "pos" or "chunk"."""
    name = f"conll2000/{part}.txt"
    try:
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(name)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{archive}: truncated or damaged archive ({error}); get a fresh copy") from None
    lines = lines_of_bytes(content, f"{archive}: {name}")
    sentences = []
    for block in blocks(lines):
        found = _split(block, 3)
        beside = found[CONLL2000[given]] if given else None
        sentences.append(Sentence(found[0], found[CONLL2000[tags]], f"{part}.txt", beside))
    return sentences


def _split(block: list[Line], columns: int) -> list[list[str]]:
    """The columns of a sentence."""
    rows = []
    for place, text in block:
        parts = text.split("\t") if "\t" in text else text.split()
        if not all(map(str.strip, parts)):
            raise UserError(f"{place}: a column is empty; each line is a word and what it is tagged with")
        if len(parts) != columns:
            mend = "a line holds no more than a word and what it is tagged with"
            if "\t" not in text:
                mend += ", and a word with a space in it needs a tab behind it"
            if len(parts) < columns:
                mend = "a tag stands behind each word"
            raise UserError(f"{place}: {len(parts)} column(s), not {columns}; {mend}")
        rows.append([re.sub(r"\s+", " ", parts[0].strip()), *map(str.strip, parts[1:])])
    return [list(column) for column in zip(*rows, strict=True)]
