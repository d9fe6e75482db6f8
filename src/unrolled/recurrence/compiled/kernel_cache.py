"""Where numba keeps the compiled kernels between processes.

They are filed under the content of all files in this folder: numba itself looks only at the file that a function is in,
and would go on using old code after an edit to a file whose functions it had inlined. And they are in the user's cache
folder, or in NUMBA_CACHE_DIR, not beside the source, so that a copy of the checkout, such as an experiment makes, finds
what was compiled.

What numba keeps is a pickle: whoever can write it can have anything run here. So it lies in a folder of our own that
nobody else can write into or put another in place of; where there is none, each process compiles anew.
"""

import hashlib
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import UserWideCacheLocator
from numba.misc.appdirs import user_cache_dir

OWN = "unrolled_kernels"


class KernelCache(UserWideCacheLocator):
    """The cache of this folder's kernels, in the form that numba's setting CACHE_LOCATOR_CLASSES names."""

    def __init__(self, function: Any, file: str) -> None:
        super().__init__(function, file)
        self._cache_path = str(own_folder() / digest()[:16])

    @classmethod
    def from_function(cls, function: Any, file: str) -> "KernelCache | None":
        """None where there is no such folder."""
        try:
            return super().from_function(function, file)
        except OSError:
            return None

    def ensure_cache_path(self) -> None:
        own_folder()  # or numba would make it, for all to read, if it has gone since
        super().ensure_cache_path()

    def get_source_stamp(self) -> str:
        return digest()


def own_folder() -> Path:
    """Where kernels are kept; OSError, which says why, where they are not."""
    return private_folder(_root())


def private_folder(root: Path) -> Path:
    """The folder in ``root`` that is ours alone, made if need be; OSError where that cannot be, or is not so."""
    if not root.is_absolute():  # as where neither HOME nor the system's list of users says whose "~" is
        raise FileNotFoundError(f"{root} is no absolute path")
    root.mkdir(parents=True, exist_ok=True)
    own = root.resolve() / OWN  # past all links, which might be others' to change
    own.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid"):  # Windows keeps others out of a user's folders, and has no such rights
        found = own.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{own} is not this user's alone")
        if shared := [above for above in own.parents if _is_shared(above)]:
            raise PermissionError(f"{shared[0]} is others' too, who might put another folder in place of {own}")
    return own


def _is_shared(folder: Path) -> bool:
    """Whether another user than the system's own can rename what lies in ``folder``.

    The system's own is whoever owns /: root, but for containers whose users are others outside. A group of the same
    number as the user is the user's alone, as most systems set it up.
    """
    found, system = folder.stat(), Path("/").stat()
    trusted = {os.getuid(), system.st_uid}
    by_others = found.st_mode & stat.S_IWOTH
    by_group = found.st_mode & stat.S_IWGRP and found.st_gid not in {os.getuid(), system.st_gid}
    return found.st_uid not in trusted or bool((by_others or by_group) and not found.st_mode & stat.S_ISVTX)


def _root() -> Path:
    """Where caches lie; on Windows only where the user's own do."""
    chosen = numba.config.CACHE_DIR if hasattr(os, "getuid") else ""
    return Path(chosen).absolute() if chosen else Path(user_cache_dir())


@cache
def digest() -> str:
    """sha256 of the sources of all kernels."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
