"""Tagged sentences, and data/text, where they lie: a word, a tab and its tag a line, an empty line after a sentence.

What the network is given of each word beside it, where corpus.given names such a column, stands behind another tab.
A line without a tab, `# <name>`, begins a document. A word may hold a space, as some French numbers do, and never a
tab; so sentences stay lists of words, and are never joined and cut again.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from unrolled.corpus.files.kinds import packed_as
from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import read_sealed, seal
from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError

FACTS = "documents.json"


class Sentence(NamedTuple):
    """A sentence as it is tagged; ``document``: the name of the text that it stands in.

    ``given``: what is known of each word beside it; None where the corpus is read without.
    """

    words: list[str]
    tags: list[str]
    document: str
    given: list[str] | None = None


class Line(NamedTuple):
    """A line of a file, without its end; ``place``: "file:number", for messages."""

    place: str
    text: str


def lines_of_bytes(content: bytes, name: str) -> Iterator[Line]:
    """As ``decoded``, of a whole file."""
    return decoded(io.BytesIO(content), name)


def decoded(stream: BinaryIO, name: str) -> Iterator[Line]:
    """The lines of a stream, as they come, in strict UTF-8, with or without BOM, ended by LF or CR LF.

    Raises UserError naming the file and line that is something else.
    """
    for number, line in enumerate(stream, 1):
        place = f"{name}:{number}"
        start = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        try:
            text = start.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            if number == 1 and (suffix := packed_as(line)):
                raise UserError(f"{name}: packed, as a {suffix} file is; unpack it") from None
            raise UserError(f"{place}: not UTF-8 at byte {error.start} of the line; convert it to UTF-8") from None
        if "\0" in text:
            raise UserError(f"{place}: not text but binary (NUL)")
        yield Line(place, text)


def blocks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines between blank ones."""
    block: list[Line] = []
    for line in lines:
        if line.text.strip():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def cut(
    sentences: Sequence[Sentence], place: str, *, valid_share: float, test_share: float
) -> dict[str, list[Sentence]]:
    """The sentences of one file, cut where they stand: train, then valid, then test, by shares of the sentences."""
    if not sentences:
        raise UserError(f"{place}: there is no sentence in it; give some, with an empty line after each")
    test_from = round(len(sentences) * (1 - test_share))
    valid_from = round(len(sentences) * (1 - test_share - valid_share))
    parts = {
        "train": list(sentences[:valid_from]),
        "valid": list(sentences[valid_from:test_from]),
        "test": list(sentences[test_from:]),
    }
    if empty := [split for split in SPLITS if not parts[split] and (split != "test" or test_share)]:
        raise UserError(
            f"{place}: {len(sentences)} sentences are too few: none falls into {' and '.join(empty)}; give more, "
            "with an empty line after each, or raise corpus.valid_share and corpus.test_share"
        )
    return parts


def write_text(folder: Path, splits: Mapping[str, Sequence[Sentence]], *, how: str, facts: Mapping[str, Any]) -> None:
    """Write data/text, whole or not at all; ``how``: in words, how the splits were made."""
    with whole_folder(folder) as place:
        counts = {}
        for split in SPLITS:
            if not splits[split]:
                raise UserError(f"the corpus holds no sentence for {split}")
            counts[split] = {"documents": _write(place / f"{split}.tsv", splits[split])}
        seal(place / FACTS, {**facts, "split": how, **counts})


def _write(path: Path, sentences: Iterable[Sentence]) -> int:
    documents, before = 0, None
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for sentence in sentences:
            if sentence.document != before:
                before = sentence.document
                documents += 1
                file.write(f"# {json.dumps(before, ensure_ascii=False)}\n")
            columns = [sentence.words, sentence.tags, *([sentence.given] if sentence.given else [])]
            file.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))
            file.write("\n")
    return documents


def read_text(folder: Path) -> tuple[dict[str, list[Sentence]], dict[str, Any]]:
    """What ``write_text`` wrote: the sentences by split, and the facts; UserError where a byte of it was altered."""
    facts = read_sealed(folder, FACTS)
    return {split: list(_read(folder / f"{split}.tsv")) for split in SPLITS}, facts


def _read(path: Path) -> Iterator[Sentence]:
    document = ""
    for block in blocks(lines_of_bytes(path.read_bytes(), path.name)):
        if "\t" not in block[0].text:
            document = json.loads(block[0].text.removeprefix("# "))
            block = block[1:]
        words, tags, *given = map(list, zip(*(line.text.split("\t") for line in block), strict=True))
        yield Sentence(words, tags, document, *given)
