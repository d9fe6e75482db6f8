"""A split's text under way, document by document, and the pieces of text that it is written in."""

import os
import shutil
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import BinaryIO, NamedTuple, NoReturn

from tqdm import tqdm

from unrolled.corpus.files.lines import batches
from unrolled.corpus.files.text_files import Document

MARKED = 1 << 23  # characters, between which the place of one line is kept: of a terabyte 100,000


class Text(NamedTuple):
    """Whole lines of a document, each with its end, in UTF-8."""

    written: bytes
    lines: int
    characters: int

    @property
    def blank(self) -> bool:
        return len(self.written) == self.lines


class Mark(NamedTuple):
    """A place in a split's file, in bytes, and its line's number in the last document."""

    place: int
    line: int


class Written(NamedTuple):
    """A document that was written: its characters, marks at some of them, and a digest, empty where it is blank."""

    characters: int
    marks: list[tuple[int, Mark]]
    digest: bytes


def text_of(lines: Sequence[str]) -> Text:
    """Many lines at once: one at a time takes as long as reading them."""
    text = "\n".join((*lines, ""))
    return Text(text.encode(), len(lines), len(text))


class SplitFile:
    """The file that a split is written into; ``lines``: how many each of its documents has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.lines, self._start = file, array("q"), 0

    def add(self, document: Iterable[str]) -> None:
        """Write a document's lines."""
        self.begin()
        for batch in batches(document):
            self.write(text_of(batch))

    def add_document(self, document: Document, *, with_digest: bool, bar: "tqdm[NoReturn] | None" = None) -> Written:
        """Write a document; ``bar`` counts its lines."""
        total, digest, blank = 0, blake2b(digest_size=16), True
        marks: list[tuple[int, Mark]] = []
        self.begin()
        for text in map(text_of, batches(document.lines())):
            if not marks or total >= marks[-1][0] + MARKED:
                marks.append((total, self.end))
            if with_digest:
                digest.update(text.written)
            self.write(text)
            if bar is not None:
                bar.update(text.lines)
            total, blank = total + text.characters, blank and text.blank
        return Written(total, marks, b"" if blank else digest.digest())

    def begin(self) -> None:
        """The lines from here on belong to another document."""
        self.lines.append(0)
        self._start = self._file.tell()

    def write(self, text: Text) -> None:
        """Lines of the last document."""
        self._file.write(text.written)
        self.lines[-1] += text.lines

    def take_back(self) -> None:
        """As if the last document had not been written."""
        self.lines.pop()
        self._file.seek(self._start)
        self._file.truncate()

    def clear(self) -> None:
        """Take back all that was written."""
        self._file.seek(0)
        self._file.truncate()
        del self.lines[:]

    @property
    def end(self) -> Mark:
        """Where the next line is going to stand."""
        return Mark(self._file.tell(), self.lines[-1])

    def line_from(self, mark: Mark, characters: float) -> Mark:
        """The first line that begins ``characters`` or more behind ``mark``, or the end."""
        self._file.seek(mark.place)
        passed, place, line = 0, mark.place, mark.line
        while passed < characters and (text := self._file.readline()):
            passed, place, line = passed + len(text.decode()), place + len(text), line + 1
        self._file.seek(0, os.SEEK_END)
        return Mark(place, line)

    def move_from(self, mark: Mark, other: "SplitFile") -> None:
        """The lines from ``mark`` on become the other's, as a document there."""
        if count := self.lines[-1] - mark.line:
            self._file.seek(mark.place)
            shutil.copyfileobj(self._file, other._file)
            self._file.truncate(mark.place)
            self._file.seek(0, os.SEEK_END)
            self.lines[-1] = mark.line
            other.lines.append(count)
