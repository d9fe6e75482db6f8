"""The members of archives (.zip, .tar and compressed .tar), in the order of their names.

What is wrong with an archive is told in one line: that it is truncated or damaged, expands beyond reason, or holds a
link, two members of one name, or one whose name climbs out of it.
"""

import io
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from unrolled.corpus.files.packed import Packed, archive_errors, check_expansion
from unrolled.shell.errors import UserError

BLOCK = 1 << 20  # bytes copied at a time
TAR_BLOCK = 512  # bytes; one of zeros ends an archive


def hidden(name: PurePosixPath | Path) -> bool:
    """Whether a path is of what systems hide, or put into archives for themselves."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def zip_members(path: Path, prefix: str = "") -> Iterator[Packed]:
    """Their names begin with ``prefix``; nothing is unpacked."""
    with archive_errors(str(path)):
        # Left open for the documents that read from it; it closes with the last of them.
        archive = zipfile.ZipFile(path)
        _check_directory(archive, path)
    members = sorted(archive.infolist(), key=lambda member: member.filename)
    size = path.stat().st_size
    check_expansion(sum(member.file_size for member in members), size, str(path))
    seen: set[PurePosixPath] = set()
    for member in members:
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        name = _checked(member.filename, str(path), seen, is_folder=member.is_dir(), is_file=not is_link)
        if name is not None:
            label = f"{path}: {member.filename}"
            yield Packed((prefix / name).as_posix(), label, size, partial(_zip_member, archive, member, label))


def tar_members(packed: Packed, *, compressed: bool, prefix: str = "") -> Iterator[Packed]:
    """Their names begin with ``prefix``. ``compressed``: whether ``packed`` is read through a compression.

    Such a one is unpacked to a temporary file without a name, as its members are read in another order than they
    stand, and twice.
    """
    label, opener = packed.label, packed.open
    with archive_errors(label):
        if compressed:
            opener = _Unpacked(packed).open
        with opener() as file, tarfile.open(fileobj=file, mode="r:") as archive:
            members = sorted(archive.getmembers(), key=lambda member: member.name)
            file.seek(archive.offset)
            if file.read(TAR_BLOCK) != bytes(TAR_BLOCK):
                raise tarfile.ReadError("it has no end")
    seen: set[PurePosixPath] = set()
    for member in members:
        name = _checked(member.name, label, seen, is_folder=member.isdir(), is_file=member.isreg())
        if name is not None:
            section = partial(_tar_member, opener, member.offset_data, member.size, f"{label}: {member.name}")
            yield Packed((prefix / name).as_posix(), f"{label}: {member.name}", packed.size, section)


def _checked(
    member: str, archive: str, seen: set[PurePosixPath], *, is_folder: bool, is_file: bool
) -> PurePosixPath | None:
    """The member's name as a path, if it is to be read; UserError for one that no folder could hold."""
    name = PurePosixPath(member.replace("\\", "/"))
    if name == PurePosixPath() and is_folder:  # `tar -C folder .` begins with it
        return None
    if name.is_absolute() or ".." in name.parts or not name.parts or ":" in name.parts[0]:
        raise UserError(f"{archive}: the archive's member '{member}' climbs out of its folder; not used")
    if is_folder or hidden(name):
        return None
    if not is_file:
        raise UserError(f"{archive}: the archive's member '{member}' is a link or a pipe; pack the file itself")
    if name in seen:
        raise UserError(f"{archive}: the archive holds '{member}' twice; leave one of the two out")
    seen.add(name)
    return name


@contextmanager
def _zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, label: str) -> Iterator[BinaryIO]:
    with archive_errors(label), archive.open(member) as stream:
        yield cast(BinaryIO, stream)


def _check_directory(archive: zipfile.ZipFile, path: Path) -> None:
    """zipfile does not: where one entry's length is damaged, it swallows those that follow."""
    with path.open("rb") as file:
        file.seek(-22 - len(archive.comment), os.SEEK_END)  # the end record is 22 bytes and the comment
        signature, count = struct.unpack("<4s6xH", file.read(12))
    found = len(archive.infolist()) % (1 << 16)
    if signature == b"PK\5\6" and count not in (found, 0xFFFF):  # the last in larger archives
        raise zipfile.BadZipFile(f"its directory holds {found} of {count} members")


class _Unpacked:
    """What a compressed file holds, in a temporary file that goes with the last document that reads from it."""

    def __init__(self, packed: Packed) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        with packed.open() as stream:
            shutil.copyfileobj(stream, self._file, BLOCK)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        self._file.seek(0)
        yield self._file

    def __del__(self) -> None:
        self._file.close()


class _Section(io.RawIOBase):
    """Some bytes of a file, of which others may read other bytes in between."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._file.seek(self._start + self._at)
        block = self._file.read(wanted)
        if len(block) < wanted:
            raise EOFError("it ends within a member")
        buffer[:wanted] = block
        self._at += wanted
        return wanted

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at


@contextmanager
def _tar_member(
    opener: Callable[[], AbstractContextManager[BinaryIO]], start: int, size: int, label: str
) -> Iterator[BinaryIO]:
    with opener() as file, archive_errors(label):
        yield cast(BinaryIO, _Section(file, start, size))
