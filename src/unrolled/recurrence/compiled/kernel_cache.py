"""Where numba keeps the compiled kernels between processes.

They are filed under the content of all files in this folder: numba itself looks only at the file that a function is in,
and would go on using old code after an edit to a file whose functions it had inlined. And they are in the user's cache
folder, not beside the source, so that a copy of the checkout, such as an experiment makes, finds what was compiled.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import UserWideCacheLocator


class KernelCache(UserWideCacheLocator):
    """The cache of this folder's kernels, in the form that numba's setting CACHE_LOCATOR_CLASSES names."""

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
