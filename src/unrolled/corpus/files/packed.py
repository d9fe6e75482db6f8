"""Files as streams, whatever they are compressed by (.gz, .bz2, .xz, .zst); foreign bytes end in one line."""

import bz2
import codecs
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from unrolled.corpus.files.kinds import HEAD, packed_as
from unrolled.shell.errors import UserError

# Text packs 3 to 20 times smaller. What unpacks to more than this, and to so much, is there to fill a disk.
LONGEST_MARK = 6  # bytes that say how a file is packed: of fewer, all may be of a mark that was cut
EXPANSION, HARMLESS = 500, 1 << 30  # times; bytes


@dataclass(frozen=True)
class Packed:
    """A file, or a member of an archive.

    ``name``: its path within the corpus; ``label``: what messages call it; ``size``: bytes on the disk, which what it
    unpacks to is held to.
    """

    name: str
    label: str
    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]

    def head(self, size: int) -> bytes:
        """Its first bytes."""
        with self.open() as stream:
            return stream.read(size)


def _gzip(stream: BinaryIO) -> Any:
    return gzip.GzipFile(fileobj=stream)


def _zstandard(stream: BinaryIO) -> Any:
    from pyarrow import CompressedInputStream  # here, not above: it takes a third of a second to import

    return CompressedInputStream(stream, "zstd")


UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": _gzip,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
}
SHORT = {".tgz": ".tar.gz", ".tbz": ".tar.bz2", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}


def unpacked(packed: Packed) -> tuple[str, Packed]:
    """The end of a file's name, such as ``.txt``, and the file; of a compressed one, of what its compression holds."""
    path = PurePosixPath(packed.name.lower())
    path = path.with_suffix(SHORT.get(path.suffix, path.suffix))
    if path.suffix not in UNPACKERS:
        return path.suffix, packed
    unpack = UNPACKERS[path.suffix]
    return path.with_suffix("").suffix, replace(packed, open=partial(_opened, packed, unpack))


@contextmanager
def _opened(packed: Packed, unpack: Callable[[BinaryIO], Any]) -> Iterator[BinaryIO]:
    with packed.open() as file, archive_errors(packed.label):
        start = file.read(HEAD)
        if not start:
            raise EOFError("it is empty")
        _check_packed(packed, start)
        file.seek(0)
        with unpack(file) as stream:
            yield cast(BinaryIO, _Watched(stream, packed))


def _check_packed(packed: Packed, start: bytes) -> None:
    """UserError for a file that is not packed as its name says: browsers unpack some that they load, by the way."""
    suffix = PurePosixPath(packed.name.lower()).suffix
    suffix = "." + SHORT.get(suffix, suffix).rpartition(".")[2]
    found = packed_as(start)
    if found not in (None, suffix):
        raise UserError(f"{packed.label}: not packed as {suffix} is, but as {found} is; let its name end in that")
    if found is None and len(start) > LONGEST_MARK and _is_text(start):
        raise UserError(f"{packed.label}: not packed at all, but text; take {suffix} off its name")


def _is_text(start: bytes) -> bool:
    """Whether these bytes, the last of which may be but the first of a letter, are in UTF-8."""
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False


class _Watched:
    """A stream unpacked from a file, which stops where it expands beyond reason."""

    def __init__(self, stream: BinaryIO, packed: Packed) -> None:
        self._stream, self._packed, self._bytes = stream, packed, 0

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._bytes += len(block)
        check_expansion(self._bytes, self._packed.size, self._packed.label)
        return block


def check_expansion(unpacked: int, packed: int, label: str) -> None:
    """UserError where so many bytes come out of so many."""
    if unpacked > HARMLESS and unpacked > EXPANSION * packed:
        raise UserError(f"{label}: unpacks to more than {EXPANSION} times its size, as no text does; not used")


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
