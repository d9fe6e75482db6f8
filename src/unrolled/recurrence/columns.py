"""Some columns of a batch, where several processes share them out, and chance that does not hang on how they do.

Process r of n takes the columns r, r + n, r + 2n, ...: batches are often sorted by length, and so each gets long ones
and short ones. What is drawn at random is drawn for the whole batch by every process, which then takes its own columns
of it: so a seed draws the same masks for any number of processes, and leaves the generator in the same state.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Columns(NamedTuple):
    """Those of one process: every ``step``-th one from ``first`` on, of a batch of ``whole`` columns."""

    first: int
    step: int
    whole: int

    @property
    def idle(self) -> bool:
        """None is left for this process: it reads the batch's first one, which is to count for nothing."""
        return self.first >= self.whole

    @property
    def places(self) -> slice:
        return slice(0, 1) if self.idle else slice(self.first, None, self.step)

    def of(self, whole: Tensor, axis: int) -> Tensor:
        """The own columns of what has all of them along an axis."""
        return whole[(slice(None),) * axis + (self.places,)].contiguous()


class DrawnForAll(torch.Generator):
    """A generator for who reads some columns alone, those of `drawing_for`."""

    columns: Columns


def drawing_for(columns: Columns, generator: torch.Generator) -> DrawnForAll:
    """It begins where ``generator`` stands, and does not move that one."""
    own = DrawnForAll()
    own.set_state(generator.get_state())
    own.columns = columns
    return own


def drawn(
    how: Callable[[torch.Size], Tensor], shape: torch.Size, generator: torch.Generator, axis: int | None
) -> Tensor:
    """What ``how`` draws from ``generator`` for a shape that has its columns along an axis.

    ``axis`` None: it has none, and what is drawn is the same for all processes.
    """
    if axis is None or not isinstance(generator, DrawnForAll):
        return how(shape)
    whole = torch.Size((*shape[:axis], generator.columns.whole, *shape[axis + 1 :]))
    return generator.columns.of(how(whole), axis)
