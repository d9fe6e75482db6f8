"""Sequences of different lengths side by side: which of them make a batch, and what each place of it holds."""

from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[Any]]


def by_length(lengths: Ints, size: int, draw: np.random.Generator | None = None) -> list[Ints]:
    """The numbers of the sentences of each batch: ``size`` of about the same length, the last batch what is left.

    ``draw`` shuffles the batches, and sentences of equal length; without it the shortest come first.
    """
    ties = np.arange(len(lengths)) if draw is None else draw.permutation(len(lengths))
    order = np.lexsort((ties, lengths))
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    return batches if draw is None else [batches[index] for index in draw.permutation(len(batches))]


def in_pools(lengths: Ints, size: int, draw: np.random.Generator, pool: int) -> list[Ints]:
    """As `by_length`, but sorted only within pools, each drawn by chance, of so many batches.

    The smaller the pools, the more lengths meet in a batch, and the more of it is padded.
    """
    order, batches = draw.permutation(len(lengths)), []
    for start in range(0, len(order), size * pool):
        alike = order[start : start + size * pool]
        alike = alike[np.argsort(lengths[alike], kind="stable")]
        batches += [alike[first : first + size] for first in range(0, len(alike), size)]
    return [batches[index] for index in draw.permutation(len(batches))]


def columns_of(starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The index of what each place of a padded window [T, B] holds (the column's last again in the padding), and
    whether it lies within its column."""
    steps = np.arange(lengths.max())[:, None]
    return starts + np.minimum(steps, lengths - 1), steps < lengths
