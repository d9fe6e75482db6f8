"""Arithmetic whose last bits hang on how many threads share it, done by one of them.

LAPACK's factorisations split their sums by threads, torch does so in a sum over a whole array, and what its threads
leave over at the end of their shares it takes through another sigmoid. Only the products of a step and what is done row
by row come out the same whatever the number of threads.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """torch and what it calls use one thread for as long as the block, or the function so decorated, lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
