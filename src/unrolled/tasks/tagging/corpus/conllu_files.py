"""Universal Dependencies' treebanks: CoNLL-U, read by `conllu`.

A word of the treebank is a syntactic one. Lines whose id is a range (`2-3`, a token that stands for several words) or a
decimal (`8.1`, an empty node) have no tag to learn and are left out here; who writes CoNLL-U keeps them as they are.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import conllu

from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.sentences import Line, Sentence, blocks, lines_of_bytes

COLUMNS = 10


def conllu_sentences(path: Path, tags: str, given: str | None = None) -> Iterator[Sentence]:
    """The sentences of a file; ``tags`` and ``given``: "upos" or "xpos".

    Raises UserError with file and line for a line that has not ten columns, a sentence without words, a word without
    a tag.
    """
    document = path.name
    for block in blocks(lines_of_bytes(path.read_bytes(), str(path))):
        words = words_in(block)
        document = _document(block) or document
        found = [tags_of(words, column) for column in (tags, *([given] if given else []))]
        yield Sentence([str(word["form"]) for _, word in words], found[0], document, *found[1:])


def tags_of(words: list[tuple[Line, conllu.Token]], column: str) -> list[str]:
    """What stands in a column, "upos" or "xpos", of every word; UserError for a word where nothing does."""
    found = [str(word[column] or "_") for _, word in words]
    for (line, word), tag in zip(words, found, strict=True):
        if tag == "_":
            raise UserError(f"{line.place}: the word {word['form']!r} has no {column.upper()} tag")
    return found


def words_in(block: list[Line]) -> list[tuple[Line, conllu.Token]]:
    """The syntactic words of a sentence, each with its line; UserError as above."""
    rows = [line for line in block if not line.text.startswith("#")]
    for line in rows:
        if (found := line.text.count("\t") + 1) != COLUMNS:
            raise UserError(
                f"{line.place}: {found} column(s), where CoNLL-U has {COLUMNS}, with a tab between each and the next"
            )
        if not line.text.split("\t")[1].strip():
            raise UserError(f"{line.place}: the word is empty")
    tokens = _parsed(rows) if rows else []
    words = [(line, token) for line, token in zip(rows, tokens, strict=True) if isinstance(token["id"], int)]
    if not words:
        raise UserError(f"{block[0].place}: a sentence without a word")
    for (_, before), (line, word) in pairwise(words):
        if word["id"] <= before["id"]:
            raise UserError(
                f"{line.place}: the word {word['id']} stands behind the word {before['id']} of its sentence; an empty "
                "line parts two sentences"
            )
    return words


def _parsed(rows: list[Line]) -> Any:
    try:
        return conllu.parse("\n".join(line.text for line in rows) + "\n\n")[0]
    except Exception as error:  # whatever the library makes of foreign text
        if len(rows) > 1:  # it does not tell of which line
            for row in rows:
                _parsed([row])
        raise UserError(f"{rows[0].place}: the sentence is not CoNLL-U ({' '.join(str(error).split())})") from None


def _document(block: list[Line]) -> str | None:
    """The name of the document that the sentence begins, if it begins one."""
    for line in block:
        if line.text.startswith("# newdoc"):
            return line.text.partition("=")[2].strip() or line.place
    return None
