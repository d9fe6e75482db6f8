"""The C library's memory, kept by a process that soon asks for as much again."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
MMAP_MOST = 32 * 2**20  # the largest that glibc takes for the second; arrays above it are fresh pages each time


def keep_freed_memory() -> bool:
    """Have malloc keep what is freed, for a step later the same arrays are wanted again; false where it cannot.

    Left alone, glibc hands freed memory back to the system whenever much of it lies at the heap's end, and a training
    step, or what reads a block of text, then touches a thousand fresh pages and more, which the system clears first.
    The peak stays what it was. For the whole process, so it is for a program to call, not for a library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_MOST) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
