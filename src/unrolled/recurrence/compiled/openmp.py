"""Running a compiled function on torch's own threads.

Threads of our own would compete with torch's for the cores: those spin for milliseconds after each product, waiting for
the next. So the work goes to the very same threads, through the OpenMP runtime that torch has loaded (its
`GOMP_parallel`; where there is none, one thread does everything). A task is an array of int64: how many shares have
been taken, how many there are, then the function's arguments, arrays by address. Each thread takes one share after
another until none is left.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic
from torch import Tensor

from unrolled.recurrence.compiled.arithmetic import CONTRACT
from unrolled.recurrence.compiled.kernel_cache import KernelCache

HEADER = 2  # numbers of a task before the function's arguments


def run(function: Callable[[Any], None], shares: int, numbers: Sequence[int], tensors: Sequence[Tensor]) -> None:
    """Compile `function(task)`, once (see `kernel_cache.py`), and run it on as many threads as torch uses.

    From task[HEADER] on it finds `numbers`, then the addresses of `tensors`, which must be contiguous.
    """
    task = np.array([0, shares, *numbers, *(tensor.data_ptr() for tensor in tensors)], np.int64)
    compiled, threads = _compiled(function), min(torch.get_num_threads(), shares)
    if threads > 1 and _gomp_parallel is not None:
        _gomp_parallel(compiled.address, task.ctypes.data, threads, 0)
    else:
        compiled.ctypes(task.ctypes.data)


@lru_cache
def _compiled(function: Callable[[Any], None]) -> Any:
    options = {"error_model": "numpy", "fastmath": CONTRACT}
    before = numba.config.CACHE_LOCATOR_CLASSES
    numba.config.CACHE_LOCATOR_CLASSES = f"{KernelCache.__module__}.{KernelCache.__name__}"
    try:
        return cfunc(types.void(types.voidptr), cache=True, **options)(function)
    except Exception:  # no folder for it, a full disk, or a file in it that rotted: numba lets through whatever comes
        return cfunc(types.void(types.voidptr), **options)(function)
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before


def _find_gomp_parallel() -> Any:
    """void GOMP_parallel(function, data, threads, flags) of the OpenMP runtime in this process, or None."""
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel


_gomp_parallel = _find_gomp_parallel()


@intrinsic
def _pointer(typingctx: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@intrinsic
def _add_one(typingctx: Any, data: Any) -> Any:
    """Return the number at `data` and add one to it, atomically: no two threads get the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.IntType(64)
        place = builder.bitcast(arguments[0], whole.as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(whole, 1), "seq_cst")

    return types.int64(types.voidptr), generate


@njit(inline="always")
def next_share(data):
    """The number of a share that no thread has taken yet; once it reaches task[1] there are none left."""
    return _add_one(data)


@njit(inline="always")
def arguments(data, count):
    """The whole task: the header, then `count` arguments."""
    return carray(data, (HEADER + count,), np.int64)


@njit(inline="always")
def array(address, shape, kind=np.float32):
    """The array at that address."""
    return carray(_pointer(address), shape, kind)
