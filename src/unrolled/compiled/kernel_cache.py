"""Where numba keeps the compiled kernels between processes.

By the content of all files of this folder: numba itself looks at a function's own file alone, and would go on with the
old code after an edit to one whose functions it inlined. And in the user's cache folder, not beside the source: a copy
of the checkout, as an experiment makes one, finds there what its original compiled.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import UserWideCacheLocator


class KernelCache(UserWideCacheLocator):
    """The cache of this folder's kernels, as numba's own setting CACHE_LOCATOR_CLASSES names it."""

    def __init__(self, function: Any, file: str) -> None:
        super().__init__(function, file)
        root = numba.config.CACHE_DIR or Path(self.get_cache_path()).parent
        self._cache_path = str(Path(root) / f"unrolled_{digest()[:16]}")

    def get_source_stamp(self) -> str:
        return digest()


@cache
def digest() -> str:
    """sha256 of the sources of all kernels."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
