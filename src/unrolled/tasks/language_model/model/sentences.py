"""A split as whole sentences, each in a column of its own and read from a zero state.

split      a b . c . d e f .      a sentence ends with <eos>, here a dot; what is left at the split's end is one

left       . . .     target    c a d     right    . b e     lengths  2 3 4     what each head may see, as in
(B = 3)    c a d               . b e              . . f                        `windows`; <eos> is assumed
             b e                 . f                . .                        before and after each sentence,
               f                   .                  .                        and no layer reads the padding
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.ground.corpus import Tokens
from unrolled.ground.sequences import Ints, columns_of
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.windows import Window

LONGEST = 1000  # tokens: what stands farther from its sentence's beginning is not read, for the memory of a batch


class Sentences(NamedTuple):
    """Where in a split's tokens [N] each of its S sentences begins, and how many tokens are read of it."""

    tokens: Tokens
    starts: Ints  # [S]
    lengths: Ints  # [S], 1 to LONGEST

    @classmethod
    def read(cls, tokens: Tokens) -> "Sentences":
        """All of a split, in its order."""
        ends = np.flatnonzero(np.asarray(tokens) == END_ID) + 1
        if not len(ends) or ends[-1] < len(tokens):
            ends = np.append(ends, len(tokens))
        starts = np.append(0, ends[:-1])
        return cls(tokens, starts, np.minimum(ends - starts, LONGEST))

    def of(self, chosen: Ints) -> "Sentences":
        """Those of these numbers, in this order."""
        return Sentences(self.tokens, self.starts[chosen], self.lengths[chosen])

    def window(self, device: torch.device | None = None) -> tuple[Window, Tensor]:
        """All of them, a column each, and their lengths, int64 [B]."""
        starts, lengths = self.starts, self.lengths
        index, _ = columns_of(starts, lengths)
        target = self.tokens[index].astype(np.int64)
        border = np.full((1, len(starts)), END_ID)
        left, right = np.concatenate([border, target[:-1]]), np.concatenate([target[1:], border])
        right[lengths - 1, np.arange(len(starts))] = END_ID
        window = Window(*(torch.from_numpy(each).to(device) for each in (left, target, right)))
        return window, torch.from_numpy(lengths.astype(np.int64)).to(device)

    def longest(self, columns: int, steps: int, stretch: int = 0) -> "Sentences":
        """The longest ones, all cut to the length of the shortest among them, ``steps`` tokens at most.

        ``stretch``: the next longest, and so on; IndexError where so many are not left.
        """
        chosen = np.argsort(-self.lengths, kind="stable")[stretch * columns :][:columns]
        if stretch and len(chosen) < columns:
            raise IndexError(f"the split has no {stretch + 1} times {columns} sentences")
        length = min(int(self.lengths[chosen].min()), steps)
        return Sentences(self.tokens, self.starts[chosen], np.full(len(chosen), length))


def inside(lengths: Tensor, steps: int) -> Tensor:
    """Whether a place of a window of so many steps holds a token: bool [T, B]."""
    return torch.arange(steps, device=lengths.device)[:, None] < lengths
