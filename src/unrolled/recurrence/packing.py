"""Which rows of a window are read, and in what order, when its columns have different lengths.

A window [T, B] is read as N rows, its tokens without the padding: time step by time step, and within a step from the
longest column to the shortest, as in torch's PackedSequence. So the columns that are still running always come first.

    t   window    rows     states, in the order y x z      lengths of x, y, z: 2, 3, 1
                           y0 x0 z0
    0   a d g     d a g    y1 x1 z1
    1   b e .     e b      y2 x2
    2   . f .     f        y3

There are N + B states: a block of B, then for each time step a block of as many as it has tokens. A step over n tokens
leads from the first n states of the block above its row to the block beside it; in a reverse layer, from the block
beside it to the first n of the block above.
"""

from typing import NamedTuple

import torch
from torch import Tensor

Rows = slice | Tensor  # a slice where no column is padded, so that nothing is copied; else int64


class Packing(NamedTuple):
    """The places of everything, as indices of the window's T*B rows, of the N tokens, of the N + B states."""

    steps: int
    columns: int
    reverse: bool
    counts: list[int]  # tokens at each time step, up to the end of the longest column
    offsets: Tensor  # int64 [len(counts) + 1], on the CPU: the first token of each time step
    read: Rows  # [N], of the window's rows: those that hold a token
    order: Rows  # [B], the columns from the longest to the shortest
    ranks: Rows  # [B], the place of each column in that order; so also, of the tokens and states, its topmost one
    lowest_token: Rows  # [B], of the tokens: each column's
    lowest_state: Rows  # [B], of the states: each column's
    above: Rows  # [N], of the states: the one in the block above each token's row
    beside: Rows  # [N], of the states: the one in the block beside it

    @property
    def ragged(self) -> bool:
        """Whether any column is padded."""
        return isinstance(self.read, Tensor)

    @property
    def first(self) -> Rows:
        """[B], of the tokens: the one that each column reads first."""
        return self.lowest_token if self.reverse else self.ranks

    @property
    def last(self) -> Rows:
        """[B], of the tokens: the one that each column reads last."""
        return self.ranks if self.reverse else self.lowest_token

    @property
    def initial(self) -> Rows:
        """[B], of the states: each column's initial one."""
        return self.lowest_state if self.reverse else self.ranks

    @property
    def final(self) -> Rows:
        """[B], of the states: each column's final one."""
        return self.ranks if self.reverse else self.lowest_state

    @property
    def before(self) -> Rows:
        """[N], of the states: the one before each token is read."""
        return self.beside if self.reverse else self.above

    @property
    def after(self) -> Rows:
        """[N], of the states: the one after each token is read."""
        return self.above if self.reverse else self.beside

    def packed(self, window: Tensor) -> Tensor:
        """[T, B, features] to [N, features]; a view where no column is padded."""
        return select(window.flatten(0, 1), self.read)

    def padded(self, rows: Tensor) -> Tensor:
        """[N, features] to [T, B, features], 0 in the padding; a view where there is none."""
        if self.ragged:
            window = rows.new_zeros(self.steps * self.columns, rows.shape[1])
            window[self.read] = rows
            rows = window
        return rows.view(self.steps, self.columns, rows.shape[1])

    def aligned(self, rows: Tensor) -> Tensor:
        """As `padded`, but with the padding before what a column reads first: what all columns read last is one row.

        That is the last row, or of a reverse layer the first.
        """
        if not isinstance(self.read, Tensor) or self.reverse:
            return self.padded(rows)
        column = self.read % self.columns
        padding = self.steps - column.bincount(minlength=self.columns)
        window = rows.new_zeros(self.steps * self.columns, rows.shape[1])
        window[self.read + padding[column] * self.columns] = rows
        return window.view(self.steps, self.columns, rows.shape[1])


def select(tensor: Tensor, rows: Rows) -> Tensor:
    """tensor[rows]. On a CPU index_select copies a row at a time, six times as fast as an index copies numbers."""
    return tensor.index_select(0, rows) if isinstance(rows, Tensor) else tensor[rows]


def pack(steps: int, columns: int, lengths: Tensor | None, reverse: bool, device: torch.device) -> Packing:
    """How to read a window whose columns have ``lengths`` (int64 [B], each from 1 to T; None: all T)."""
    if lengths is None or int(lengths.min()) == steps:
        return _whole(steps, columns, reverse)
    lengths = lengths.cpu()
    order = lengths.argsort(descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(columns)
    running = lengths[order] > torch.arange(int(lengths.max()))[:, None]
    counts = running.sum(1)
    offsets = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    blocks = torch.cat((counts.new_zeros(1), columns + offsets[:-1]))  # the first state of each
    step, rank = running.nonzero(as_tuple=True)
    lowest_token = offsets[lengths - 1] + ranks
    return Packing(
        steps, columns, reverse, counts.tolist(), offsets,
        read=(step * columns + order[rank]).to(device), order=order.to(device), ranks=ranks.to(device),
        lowest_token=lowest_token.to(device), lowest_state=(columns + lowest_token).to(device),
        above=(blocks[step] + rank).to(device), beside=(blocks[step + 1] + rank).to(device),
    )  # fmt: skip


def _whole(steps: int, columns: int, reverse: bool) -> Packing:
    """Without padding the columns stay in order, and whatever is indexed lies in one piece."""
    tokens, everything = steps * columns, slice(None)
    return Packing(
        steps, columns, reverse, [columns] * steps, columns * torch.arange(steps + 1),
        read=everything, order=everything, ranks=slice(0, columns),
        lowest_token=slice(tokens - columns, tokens), lowest_state=slice(tokens, None),
        above=slice(0, tokens), beside=slice(columns, None),
    )  # fmt: skip
