"""Files and folders that appear whole or not at all, with nothing half-written left beside them."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

if sys.platform != "win32":
    import fcntl


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write into; it takes ``folder``'s place when the block ends without an error."""
    with workplace(folder) as place:
        made = place / "made"
        made.mkdir()
        yield made
        _exchange(folder, made, place / "before")


def whole_text(path: Path, text: str) -> None:
    """Put ``text`` in place of what stood at ``path``, in UTF-8; its folder is made if need be."""
    with workplace(path) as place:
        made = place / path.name
        made.write_text(text, encoding="utf-8", newline="\n")
        os.replace(made, path)


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``, of this process alone: for what is to take its place once it is whole.

    It is gone when the block ends. What killed processes left of theirs is removed first, so that no clean-up is ever
    needed; those of processes that live are locked, and stay.
    """
    sweep(path)
    while True:
        place = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
        place.mkdir(parents=True)
        lock = _locked(place, wait=True)
        if place.exists():  # or another process took it for left behind, just before it was locked
            break
        _unlock(lock)
    with ExitStack() as end:
        end.callback(_unlock, lock)
        end.callback(shutil.rmtree, place, ignore_errors=True)
        yield place


def sweep(path: Path) -> None:
    """Remove the workplaces beside ``path`` that killed processes have left; without locks nobody can tell, so none."""
    for left in path.parent.glob(f".{path.name}.*.partial"):
        if (lock := _locked(left, wait=False)) is not None:
            try:
                shutil.rmtree(left, ignore_errors=True)
            finally:
                _unlock(lock)


def _locked(place: Path, *, wait: bool) -> int | None:
    """A descriptor that locks the folder until it is closed, at the latest by the system where a process is killed.

    None where another process has the lock, or this system or file system has none for folders.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _exchange(folder: Path, made: Path, before: Path) -> None:
    """Rename ``made`` to ``folder``, and what stands there to ``before``: it is back where the first cannot be done."""
    while True:
        with suppress(FileNotFoundError):
            folder.rename(before)
        try:
            made.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(OSError):
                    before.rename(folder)
                raise
            shutil.rmtree(before, ignore_errors=True)  # another process was quicker: the later one's stays
