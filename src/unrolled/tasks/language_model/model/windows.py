"""A split as columns and windows: the layout of truncated back-propagation through time.

    split        a b c d e f g h i j k l          one stream of token ids, <eos> assumed before and after it

    columns      a e i      2 windows of 2        left    target    right       what each head may see
    (B = 3)      b f j                            . d h   a e i     b f j       the token before, the target
                 c g k                            a e i   b f j     c g k       itself, the token after
                 d h l

Time runs down, columns run across. A forward stack reads ``left`` downwards, a backward stack reads ``right`` upwards,
so that neither has read the target when it predicts it. The state after a window's last row is the state before the
next window's first, in every column.
"""

from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.ground.corpus import Tokens
from unrolled.ground.sequences import Ints
from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError

SHORTEST, SPREAD = 5, 5.0  # steps of a window whose length is drawn: the fewest, and the deviation from the usual
HALVED = 0.05  # share of the windows that are drawn about half the usual length


class Window(NamedTuple):
    """A stretch of T time steps in B columns; each tensor is int64 [T, B]."""

    left: Tensor
    target: Tensor
    right: Tensor


def column_length(tokens: Tokens, columns: int) -> int:
    """Rows of ``columns`` equal columns; the ``len(tokens) % columns`` last tokens stay outside.

    Raises UserError where the split is too small for two rows.
    """
    length = len(tokens) // columns
    if length < 2:
        raise UserError(
            f"a split of {len(tokens)} tokens is too small for {columns} columns; lower train.columns or give more text"
        )
    return length


def drawn_lengths(length: int, window: int, draw: np.random.Generator) -> Ints:
    """The lengths of windows that are ``length`` steps together, so that cuts fall elsewhere in every epoch.

    max(5, int(N(b, 5))), with b = ``window`` with probability 0.95, else half of it (Merity, Keskar & Socher 2018,
    section 4.1, and its code); the last is what is left.
    """
    most = -(-length // SHORTEST)
    about = np.where(draw.random(most) < HALVED, window // 2, window)
    lengths = np.maximum(draw.normal(about, SPREAD).astype(np.int64), SHORTEST)
    ends = lengths.cumsum()
    lengths = lengths[: np.searchsorted(ends, length) + 1]
    lengths[-1] -= lengths.sum() - length
    return lengths


def windows(
    tokens: Tokens,
    *,
    columns: int,
    window: int | Ints,
    reverse: bool = False,
    first: int = 0,
    device: torch.device | None = None,
) -> Iterator[Window]:
    """The split in windows of at most ``window`` time steps, the last one shorter; ``reverse`` gives the last first.

    ``window`` may be the length of each, which are the column's together.
    ``first`` leaves out so many windows from the split's start; ``device``: where they are wanted, None: the CPU.
    """
    length = column_length(tokens, columns)
    ends = range(window, length + window, window) if isinstance(window, int) else window.cumsum().tolist()
    stretches = islice(pairwise(chain([0], ends)), first, None)
    for start, end in reversed([*stretches]) if reverse else stretches:
        rows = np.arange(start, min(end, length))
        index = rows[:, None] + length * np.arange(columns)
        yield Window(*(_read(tokens, index + shift).to(device) for shift in (-1, 0, 1)))


def _read(tokens: Tokens, index: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Tensor:
    read = tokens[np.clip(index, 0, len(tokens) - 1)].astype(np.int64)
    read[(index < 0) | (index >= len(tokens))] = END_ID
    return torch.from_numpy(read)
