"""What a step of training reads: a stretch of a stream in every column, or a whole sentence in each."""

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.ground.corpus import Tokens
from unrolled.ground.sequences import Ints, by_length
from unrolled.tasks.language_model.model.sentences import Sentences, inside
from unrolled.tasks.language_model.model.windows import Window, windows

# Batches whose sentences are sorted by length together. Were all sorted together, each batch would hold one length, and
# teach that sentences end there: on the agreement text, with words of its own, a network then stays 1.5 nats a sentence
# or more above its floor, where pools of four bring it within 0.4, at about the same cost.
POOL = 4


def in_even_pools(lengths: Ints, size: int, draw: np.random.Generator) -> list[Ints]:
    """The numbers of the sentences of each batch, drawn by chance: ``size`` in the mean, of about the same length.

    Each pool is cut into batches of about as many tokens. Of as many sentences each, a batch of short ones would teach
    as much as one of long ones, and so each of its tokens more: the network would learn to end sentences early.
    """
    order, batches = draw.permutation(len(lengths)), []
    for start in range(0, len(order), size * POOL):
        alike = order[start : start + size * POOL]
        alike = alike[np.argsort(lengths[alike], kind="stable")]
        batches += np.split(alike, _even_cuts(lengths[alike], -(-len(alike) // size)))
    return [batches[index] for index in draw.permutation(len(batches))]


def _even_cuts(lengths: Ints, parts: int) -> list[int]:
    """Where to cut for so many parts of about the same sum, none of them empty."""
    summed, cuts = np.cumsum(lengths), [0]
    for part in range(1, parts):
        even = int(np.searchsorted(summed, summed[-1] * part / parts, side="right"))
        cuts.append(min(max(even, cuts[-1] + 1), len(lengths) - parts + part))
    return cuts[1:]


class Batch(NamedTuple):
    """A window of every column: a stretch of each, or a whole sentence in each."""

    window: Window
    ahead: Window | None  # the next stretch, whose text the backward stack has read before; of sentences None
    lengths: Tensor | None = None  # int64 [B], of sentences; None where all columns fill the window
    epoch: int = 0  # of those in which the network may read words of its own; below 1 it may not
    updates: int = 0  # made before it in these epochs

    def of_tokens(self, each: Tensor) -> Tensor:
        """Of something by place, [T, B, ...], that of the N tokens in it: [N, ...]."""
        return each.flatten(0, 1) if self.lengths is None else each[inside(self.lengths, len(each))]


def of_stretches(
    tokens: Tokens, *, columns: int, window: int | Ints, first: int = 0, device: torch.device | None = None
) -> Iterator[Batch]:
    """The text in its order, but for the ``first`` windows; ``window`` as in ``windows``."""
    read = windows(tokens, columns=columns, window=window, first=first, device=device)
    for each, ahead in pairwise(chain(read, [None])):
        assert each is not None
        yield Batch(each, ahead)


def of_sentences(
    tokens: Tokens, columns: int, draw: np.random.Generator | None = None, *,
    epoch: int = 0, first: int = 0, device: torch.device | None = None,
) -> Iterator[Batch]:  # fmt: skip
    """Sentences of about one length, so many at a time in the mean, but for the ``first`` batches.

    ``draw`` decides which are together, and the order of the batches; without it the shortest come first. ``epoch`` as
    in ``Batch``.
    """
    sentences = Sentences.read(tokens)
    lengths = sentences.lengths
    order = by_length(lengths, columns) if draw is None else in_even_pools(lengths, columns, draw)
    for index in range(first, len(order)):
        window, of_batch = sentences.of(order[index]).window(device)
        yield Batch(window, None, of_batch, epoch, (epoch - 1) * len(order) + index)
