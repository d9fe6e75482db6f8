"""Labelled texts side by side in batches, sorted by length, so that little is padded, and in another order each epoch.

texts     a b c   d   e f        one text a column, time down; the rest of a column is padding, which no layer reads

ids       a d e                  lengths  3 1 2                  labels  one a text
          b . f
          c . .
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.ground.sequences import in_pools
from unrolled.ground.special_tokens import END_ID

POOL = 20  # batches whose texts are sorted by length together: the rest of the order is chance
READ = 64  # texts read at a time where nothing is trained; no figure depends on it

Ids = NDArray[np.int64]


class Batch(NamedTuple):
    """Texts side by side."""

    ids: Tensor  # int64 [T, B], END_ID in the padding
    lengths: Tensor  # int64 [B]
    labels: Tensor  # int64 [B]


def batch_of(texts: Sequence[Ids], labels: Sequence[int], device: torch.device | None = None) -> Batch:
    """The texts, each of at least one id, as the columns of one batch."""
    lengths = [len(text) for text in texts]
    ids = np.full((max(lengths), len(texts)), END_ID, dtype=np.int64)
    for column, text in enumerate(texts):
        ids[: len(text), column] = text
    return Batch(*(torch.as_tensor(each).to(device) for each in (ids, lengths, list(labels))))


def epoch_order(lengths: Sequence[int], size: int, *, seed: int, epoch: int, pool: int = POOL) -> list[list[int]]:
    """Which texts make each batch of an epoch, each text once; another order for each epoch and seed.

    Texts are drawn in pools of ``pool`` batches, sorted by length within the pool, and the batches shuffled.
    """
    return [each.tolist() for each in in_pools(np.array(lengths), size, np.random.default_rng([seed, epoch]), pool)]


def by_length(lengths: Sequence[int], size: int = READ) -> Iterator[list[int]]:
    """All texts once, the shortest first, so many at a time: for reading, where the order is of no account."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    yield from (order[start : start + size] for start in range(0, len(order), size))


def texts_of(tokens: NDArray[Any], starts: NDArray[np.int64]) -> list[Ids]:
    """The ids of each text, from a stream [N] and where in it each begins [D]."""
    stream = np.asarray(tokens, dtype=np.int64)
    return np.split(stream, np.asarray(starts)[1:])
