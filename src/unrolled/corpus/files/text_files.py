"""The user's own text: a file, or a folder of files, packed or not, plain, pages of HTML or rows of a table.

Everything is streamed: of a plain text no file, line or archive member is ever held whole in memory.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from unrolled.corpus.files.archives import hidden, tar_members, zip_members
from unrolled.corpus.files.kinds import HEAD, document_of, no_text, packed_as
from unrolled.corpus.files.lines import PLAIN, Reading, decoded, decoded_lines, lines_in, lines_of
from unrolled.corpus.files.packed import Packed, unpacked
from unrolled.corpus.files.pages import PAGES, declared, text_of
from unrolled.corpus.files.rows import READERS, texts_in
from unrolled.shell.errors import UserError

FORMATS = ".txt, .html, .jsonl, .csv, .tsv or .parquet, also packed: .gz, .bz2, .xz, .zst, .zip, .tar"

Lines = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Document:
    """A named text. ``lines()`` reads it anew: no line ends, no white space at a line's end; blank lines as set.

    ``split`` is set only where the corpus' publisher has fixed the splits.
    """

    name: str
    lines: Lines
    split: str | None = None


def text_documents(
    path: Path, pattern: str | None, reading: Reading = PLAIN, left_out: list[str] | None = None
) -> Iterator[Document]:
    """The documents of a file or folder in sorted order, named by their path within it.

    An archive holds one document a member, a table one a row. Hidden files are left out, and those of a folder that
    are no text: what those are is added to ``left_out``. ``pattern`` is a glob within the folder. A link is the file
    that it points to, wherever that lies.
    Raises UserError naming what is wrong with the path, the pattern, an archive or a file's bytes.
    """
    left_out = [] if left_out is None else left_out
    check_readable(path)
    if path.is_dir():
        files = {file: file.relative_to(path).as_posix() for file in _files(path, pattern)}
    elif pattern is not None:
        raise UserError(f"corpus.pattern picks files within a folder, but corpus.path {path} is a file")
    else:
        files = {path: path.name}
    found = False
    for file, name in files.items():
        before = file.stat()
        packed = Packed(name, str(file), before.st_size, partial(_opened, file, before))
        for member in _members(file, packed, prefix=name if path.is_dir() else ""):
            for document in _documents(member, reading, left_out, alone=member.label == str(path)):
                found = True
                yield document
    if not found:
        what = f": {left_out[0]}" + (f", and {len(left_out) - 1} more" if left_out[1:] else "") if left_out else ""
        raise UserError(f"corpus.path: {path} holds no text{what}; text comes as {FORMATS}")


def check_readable(path: Path) -> None:
    """UserError for a path at which there is nothing to read, or not twice, as text is."""
    if not path.exists():
        raise UserError(f"corpus.path: {path} does not exist; name a file or a folder")
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        what = "a pipe" if stat.S_ISFIFO(mode) else "a device" if not stat.S_ISSOCK(mode) else "a socket"
        raise UserError(
            f"corpus.path: {path} is {what}, which can be read only once; put what it says into a file: "
            f"cat {path} > text.txt"
        )
    if stat.S_ISREG(mode) and path.stat().st_size == 0:
        raise UserError(f"corpus.path: {path} is empty; name a file or a folder that holds text")


def zip_documents(path: Path, prefix: str = "") -> Iterator[Document]:
    """One document a member of the archive, in sorted order, each as plain text."""
    for member in zip_members(path, prefix):
        yield Document(member.name, partial(_plain_lines, member, PLAIN))


def _members(file: Path, packed: Packed, prefix: str) -> Iterator[Packed]:
    suffix, inner = unpacked(packed)
    if suffix == ".zip" and inner is packed:
        yield from zip_members(file, prefix)
    elif suffix == ".tar":
        yield from tar_members(inner, compressed=inner is not packed, prefix=prefix)
    else:
        yield packed


def _documents(packed: Packed, reading: Reading, left_out: list[str], *, alone: bool) -> Iterator[Document]:
    """Those of a file or a member; ``alone``: the user named this very file, so it is told what cannot be read."""
    suffix, inner = unpacked(packed)
    head = inner.head(HEAD)
    end = "" if inner is packed else PurePosixPath(packed.name).suffix
    if what := document_of(packed.name.removesuffix(end), head, end):
        if alone:
            raise UserError(f"corpus.path: {packed.label} is {what}")
        left_out.append(_listed(packed, what))
    elif suffix in READERS:
        for number, text in texts_in(inner, suffix, reading):
            lines = partial(lines_of, text, reading, f"{packed.label}, row {number:,}")
            yield Document(f"{packed.name}/{number}", lines)
    elif found := ".tar" if suffix == ".tar" else packed_as(head):
        how = "unpack it first" if suffix == found else f"let its name end in {found}{end}"
        raise UserError(f"{packed.label}: not text but packed, as {found} is; {how}")
    elif what := no_text(packed.name, head, reading.encoding, sure=alone):
        if alone:
            raise UserError(f"corpus.path: {packed.label} is {what}, which holds no text")
        left_out.append(_listed(packed, what))
    elif suffix in PAGES:
        yield Document(packed.name, partial(_page_lines, inner, _of_page(reading, head)))
    else:
        yield Document(packed.name, partial(_plain_lines, inner, reading))


def _listed(packed: Packed, what: str) -> str:
    """A line of UTF-8, which names of files need not be."""
    name = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in packed.name)
    return f"{name} is {what}"


def _plain_lines(packed: Packed, reading: Reading) -> Iterator[str]:
    with packed.open() as stream:
        yield from decoded_lines(stream, packed.label, reading)


def _page_lines(packed: Packed, reading: Reading) -> Iterator[str]:
    with packed.open() as stream:
        yield from lines_in(text_of(decoded(stream, packed.label, reading)), reading)


def _of_page(reading: Reading, head: bytes) -> Reading:
    """A page that names its encoding is read with that; one that says UTF-8 and is not, with the one that is set."""
    name = declared(head)
    return replace(reading, encoding=name, mend=PLAIN.mend) if name not in (None, "utf-8") else reading


@contextmanager
def _opened(path: Path, before: os.stat_result) -> Iterator[BinaryIO]:
    """A file, which must not change from when it was found until it was read for the last time."""
    with path.open("rb") as file:
        yield file
    now = path.stat()
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UserError(f"{path} changed while it was read; run this again when what writes it has ended")


def _files(folder: Path, pattern: str | None) -> list[Path]:
    if pattern is not None and (Path(pattern).is_absolute() or ".." in Path(pattern).parts or not pattern):
        raise UserError(f"corpus.pattern: {pattern!r} must stay within the folder corpus.path, as '**/*.txt' does")
    try:
        found = list(folder.rglob("*") if pattern is None else folder.glob(pattern))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise UserError(f"corpus.pattern: {pattern!r} is not a valid glob ({error}); '**/*.txt' is one") from None
    shown = [file for file in found if not hidden(file.relative_to(folder))]
    for link in (file for file in shown if file.is_symlink() and not file.is_file()):
        where = "a folder, which is not followed" if link.is_dir() else "nothing"
        raise UserError(f"corpus.path: {link} is a link to {where}; put the files themselves into {folder}")
    files = sorted({file for file in shown if file.is_file()})
    if not files and pattern is not None:
        literal = "; a [ that is part of a name is written [[]" if "[" in pattern else ""
        raise UserError(f"corpus.pattern: nothing in {folder} matches {pattern!r}{literal}")
    if not files:
        raise UserError(f"corpus.path: the folder {folder} is empty; put text files into it: {FORMATS}")
    return files
