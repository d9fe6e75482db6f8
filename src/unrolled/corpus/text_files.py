"""The user's own text: a file, or a folder of files, plain, .gz or .zip, in UTF-8.

Everything is streamed: no file, line or archive member is ever held whole in memory.
"""

import codecs
import gzip
import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from unrolled.shell.errors import UserError

BLOCK = 1 << 20  # bytes read at a time
LONGEST_LINE = 1 << 16  # characters: text without line ends (text8 is one line of 100 MB) is cut at a space
# Text packs 3 to 20 times smaller. What unpacks to more than this, and to so much, is there to fill a disk.
EXPANSION, HARMLESS = 500, 1 << 30  # times; bytes

Lines = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Document:
    """A named text. ``lines()`` reads it anew: no line ends, no blank lines, no white space at a line's end.

    ``split`` is set only where the corpus' publisher has fixed the splits.
    """

    name: str
    lines: Lines
    split: str | None = None


def text_documents(path: Path, pattern: str | None) -> Iterator[Document]:
    """The documents of a file or folder in sorted order, named by their path within it.

    A .zip holds one document a member. Hidden files are left out. ``pattern`` is a glob within the folder. A link is
    the file that it points to, wherever that lies.
    Raises UserError naming what is wrong with the path, the pattern, an archive or a file's bytes.
    """
    if not path.exists():
        raise UserError(f"corpus.path: {path} does not exist")
    if path.is_dir():
        files = _files(path, pattern)
        names = [file.relative_to(path).as_posix() for file in files]
    elif pattern is not None:
        raise UserError(f"corpus.pattern picks files within a folder, but corpus.path {path} is a file")
    elif path.stat().st_size == 0:
        raise UserError(f"corpus.path: {path} is empty; name a file or a folder that holds text")
    else:
        files, names = [path], [path.name]
    found = False
    for file, name in zip(files, names, strict=True):
        if file.suffix.lower() != ".zip":
            documents: Iterator[Document] = iter([Document(name, partial(_file_lines, file))])
        else:
            documents = zip_documents(file, name if path.is_dir() else "")
        for document in documents:
            found = True
            yield document
    if not found:
        raise UserError(f"corpus.path: {path} holds no text files")


def zip_documents(path: Path, prefix: str = "") -> Iterator[Document]:
    """One document a member of the archive, in sorted order; nothing is unpacked.

    Raises UserError if the archive is truncated or damaged, expands beyond reason, or holds a link, two members of
    one name, or one whose name climbs out of it.
    """
    with archive_errors(str(path)):
        # Left open for the documents that read from it; it closes with the last of them.
        archive = zipfile.ZipFile(path)
        _check_directory(archive, path)
    members = sorted(archive.infolist(), key=lambda member: member.filename)
    _check_expansion(sum(member.file_size for member in members), path)
    seen = set()
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or not name.parts or ":" in name.parts[0]:
            raise UserError(f"{path}: the archive's member '{member.filename}' climbs out of its folder; not used")
        if not member.is_dir() and not _hidden(name):
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UserError(f"{path}: the archive's member '{member.filename}' is a link; pack the file itself")
            if name in seen:
                raise UserError(f"{path}: the archive holds '{member.filename}' twice; leave one of the two out")
            seen.add(name)
            yield Document((prefix / name).as_posix(), partial(_member_lines, archive, member, path))


def decoded_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    r"""The lines of a byte stream in strict UTF-8 that are not blank; ends with \n, \r\n or \r, with or without BOM.

    Raises UserError with ``name`` and the byte offset of what is not text.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    offset, pending, block = 0, "", b"start"
    while block:
        block = stream.read(BLOCK)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # error.object is what the decoder held back from earlier blocks, then this block
            at = offset + len(block) - len(error.object) + error.start
            raise UserError(f"{name}: not UTF-8 at byte {at} ({error.reason}); convert it to UTF-8") from None
        if "\0" in text:
            raise UserError(f"{name}: not text but binary (NUL at byte {offset + block.index(0)})")
        offset += len(block)
        *whole, pending = (pending + text).split("\n")
        for line in whole:
            yield from _not_blank(_pieces(line))
        *cut, pending = _pieces(pending)
        yield from _not_blank(cut)
    yield from _not_blank([pending])


def lines_of(text: str) -> Iterator[str]:
    """The lines that a file of this text would have; str.splitlines cuts at U+2028, form feeds and others as well."""
    return decoded_lines(io.BytesIO(text.encode()), "the text")


def _not_blank(lines: Iterator[str] | list[str]) -> Iterator[str]:
    return (line for line in map(str.rstrip, lines) if line)


def _pieces(line: str) -> Iterator[str]:
    while len(line) > LONGEST_LINE:
        at = line.rfind(" ", 0, LONGEST_LINE) + 1 or LONGEST_LINE
        yield line[:at]
        line = line[at:]
    yield line


def _files(folder: Path, pattern: str | None) -> list[Path]:
    if pattern is not None and (Path(pattern).is_absolute() or ".." in Path(pattern).parts or not pattern):
        raise UserError(f"corpus.pattern: {pattern!r} must stay within the folder corpus.path, as '**/*.txt' does")
    try:
        found = list(folder.rglob("*") if pattern is None else folder.glob(pattern))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise UserError(f"corpus.pattern: {pattern!r} is not a valid glob ({error}); '**/*.txt' is one") from None
    shown = [file for file in found if not _hidden(file.relative_to(folder))]
    for link in (file for file in shown if file.is_symlink() and not file.is_file()):
        where = "a folder, which is not followed" if link.is_dir() else "nothing"
        raise UserError(f"corpus.path: {link} is a link to {where}; put the files themselves into {folder}")
    files = sorted({file for file in shown if file.is_file()})
    if not files and pattern is not None:
        raise UserError(f"corpus.pattern: nothing in {folder} matches {pattern!r}")
    if not files:
        raise UserError(f"corpus.path: the folder {folder} is empty; put text files (.txt, .gz, .zip) into it")
    return files


def _hidden(name: PurePosixPath | Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def _file_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        if path.suffix.lower() != ".gz":
            yield from decoded_lines(file, str(path))
        else:
            with archive_errors(str(path)), gzip.open(file) as stream:
                if not file.peek(1):
                    raise EOFError("it is empty")
                yield from decoded_lines(_Watched(stream, path), str(path))  # type: ignore[arg-type]


def _member_lines(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Iterator[str]:
    with archive_errors(f"{path}: {member.filename}"), archive.open(member) as stream:
        yield from decoded_lines(stream, f"{path}: {member.filename}")  # type: ignore[arg-type]


def _check_directory(archive: zipfile.ZipFile, path: Path) -> None:
    """zipfile does not: where one entry's length is damaged, it swallows those that follow."""
    with path.open("rb") as file:
        file.seek(-22 - len(archive.comment), os.SEEK_END)  # the end record is 22 bytes and the comment
        signature, count = struct.unpack("<4s6xH", file.read(12))
    found = len(archive.infolist()) % (1 << 16)
    if signature == b"PK\5\6" and count not in (found, 0xFFFF):  # the last in larger archives
        raise zipfile.BadZipFile(f"its directory holds {found} of {count} members")


class _Watched:
    """A stream unpacked from a file, which stops where it expands beyond reason."""

    def __init__(self, stream: io.BufferedIOBase, path: Path) -> None:
        self._stream, self._path, self._bytes = stream, path, 0

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._bytes += len(block)
        _check_expansion(self._bytes, self._path)
        return block


def _check_expansion(size: int, path: Path) -> None:
    if size > HARMLESS and size > EXPANSION * path.stat().st_size:
        raise UserError(f"{path}: unpacks to more than {EXPANSION} times its size, as no text does; not used")


@contextmanager
def archive_errors(name: str) -> Iterator[None]:
    """What an unpacker makes of foreign bytes, as a UserError of one line that begins with ``name``."""
    try:
        yield
    except (UserError, FileNotFoundError, PermissionError):
        raise
    except (NotImplementedError, RuntimeError) as error:  # an unknown compression, a password
        raise UserError(f"{name}: cannot be unpacked: {error}") from None
    except Exception as error:  # whatever an unpacker makes of foreign bytes
        raise UserError(f"{name}: truncated or damaged archive ({error}); get a fresh copy") from None
