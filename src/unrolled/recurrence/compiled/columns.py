"""What all compiled loops over time share: the rows of a step, the shares of the columns, the packed matrix, memory."""

import threading

import torch
from numba import njit
from torch import Tensor

from unrolled.recurrence.compiled.matmul import WIDTH, multiply, pack_panel
from unrolled.recurrence.compiled.openmp import arguments, array, next_share, run


@njit(inline="always")
def rows_of(t, offsets, columns, reverse):
    """Of the rows of time step t: the first, how many, the first state before it, the first state after it."""
    row, count = offsets[t], offsets[t + 1] - offsets[t]
    above, beside = columns + offsets[t - 1] if t > 0 else 0, columns + row
    before, after = (beside, above) if reverse else (above, beside)
    return row, count, before, after


@njit(inline="always")
def step_forward(step, reverse, hidden, panels, product, offsets, first, last):
    """Multiply a share's states before a step; its first row, the states before and after, the end of the columns."""
    t = len(offsets) - 2 - step if reverse else step
    row, count, before, after = rows_of(t, offsets, len(product), reverse)
    end = min(last, count)
    if len(panels):
        multiply(hidden[before:], panels, product, first, end)
    return row, before, after, end


@njit(inline="always")
def step_back(step, reverse, later, shared, d_gates, d_hidden, panels, product, offsets, first, last):
    """The same on the way back: what a later step hands down through the product is added to d_hidden.

    ``later``: the first row of the later time step; ``shared``: where the columns end that run there.
    """
    t = step if reverse else len(offsets) - 2 - step
    row, count, before, after = rows_of(t, offsets, len(product), reverse)
    end = min(last, count)
    shared = min(shared, end)
    multiply(d_gates[later:], panels, product, first, shared)
    for b in range(first, shared):
        for j in range(d_hidden.shape[1]):
            d_hidden[row + b, j] += product[b, j]
    return row, before, after, end


@njit(error_model="numpy")
def first_column(share, shares, offsets):
    """Where a share of the columns begins; each share has about the same number of rows."""
    column, rows, length = 0, 0, len(offsets) - 1
    while rows * shares < share * offsets[-1]:
        while offsets[length] - offsets[length - 1] <= column:
            length -= 1
        rows += length
        column += 1
    return column


def _pack(data):
    _, shares, transposed, rows, columns, depth, weight, panels = arguments(data, 6)
    weights, packed = array(weight, (rows, columns)), array(panels, (shares, depth, WIDTH))
    panel = next_share(data)
    while panel < shares:
        pack_panel(weights, transposed, packed, panel)
        panel = next_share(data)


def packed(weight_hh: Tensor, *, transposed: bool) -> Tensor:
    """W_hh^T [H, gates*H], or W_hh itself, cut into panels."""
    rows, columns = weight_hh.shape
    depth, width = (columns, rows) if transposed else (rows, columns)
    panels = weight_hh.new_empty(-(-width // WIDTH), depth, WIDTH)
    run(_pack, len(panels), (transposed, rows, columns, depth), (weight_hh.detach().contiguous(), panels))
    return panels


class _Scratch(threading.local):
    """Memory for the gates' gradients, kept between backward passes: fresh pages cost more than filling them."""

    def __init__(self) -> None:
        self.kept = torch.empty(0)

    def like(self, activations: Tensor, copies: int = 1) -> Tensor:
        """[copies, *activations.shape], in memory that this thread's next call gets again."""
        size = copies * activations.numel()
        if len(self.kept) < size:
            self.kept = activations.new_empty(size)
        return self.kept[:size].view(copies, *activations.shape)


scratch = _Scratch()
