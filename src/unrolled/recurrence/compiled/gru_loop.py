"""The GRU's loop over time, compiled; as those in `time_loops.py`, but for a bias and sums of its own.

It stands apart so that nobody who trains no GRU waits for its compilation.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unrolled.recurrence.compiled.arithmetic import CONTRACT, sigmoid, tanh
from unrolled.recurrence.compiled.columns import first_column, step_back, step_forward
from unrolled.recurrence.compiled.matmul import WIDTH
from unrolled.recurrence.compiled.openmp import arguments, array, next_share, run


@njit(error_model="numpy", fastmath=CONTRACT)
def _gru_forward(activations, extra, hidden, bias, panels, product, offsets, reverse, first, last):
    """The activations come as W_ih x + b and leave as r, z, n; extra leaves as W_hn h + bias."""
    steps, size = len(offsets) - 1, hidden.shape[1]
    gates = activations.reshape(len(activations), 3, size)  # constant indices, or the loops are not vectorised
    for step in range(steps):
        row, before, after, end = step_forward(step, reverse, hidden, panels, product, offsets, first, last)
        for b in range(first, end):
            k, old, new = row + b, before + b, after + b
            for j in range(2 * size):
                activations[k, j] = sigmoid(activations[k, j] + product[b, j])
            for j in range(size):
                extra[k, j] = product[b, 2 * size + j] + bias[j]
            for j in range(size):
                gates[k, 2, j] = tanh(gates[k, 2, j] + gates[k, 0, j] * extra[k, j])
            for j in range(size):
                n = gates[k, 2, j]
                hidden[new, j] = n + gates[k, 1, j] * (hidden[old, j] - n)


@njit(error_model="numpy", fastmath=CONTRACT)
def _gru_backward(
    activations, extra, hidden, d_gates, d_drive, d_hidden, carried, panels, product, offsets, reverse, first, last
):
    """d_gates leaves as dL/d(W_hh h + bias), d_drive as dL/d(W_ih x + b); the rest as in `time_loops.backward`."""
    steps, size = len(offsets) - 1, d_hidden.shape[1]
    gates = activations.reshape(len(activations), 3, size)
    products, drives = d_gates.reshape(len(d_gates), 3, size), d_drive.reshape(len(d_drive), 3, size)
    one = np.float32(1)
    later, shared = 0, 0
    for step in range(steps):
        row, before, _, end = step_back(
            step, reverse, later, shared, d_gates, d_hidden, panels, product, offsets, first, last
        )
        for b in range(first, end):
            k, old = row + b, before + b
            for j in range(size):
                d_hidden[k, j] += carried[b, j]
            for j in range(size):
                n = gates[k, 2, j]
                drives[k, 2, j] = d_hidden[k, j] * (one - gates[k, 1, j]) * (one - n * n)
            for j in range(size):
                r = gates[k, 0, j]
                products[k, 2, j] = drives[k, 2, j] * r
                drives[k, 0, j] = drives[k, 2, j] * extra[k, j] * r * (one - r)
            for j in range(size):
                z = gates[k, 1, j]
                drives[k, 1, j] = d_hidden[k, j] * (hidden[old, j] - gates[k, 2, j]) * z * (one - z)
            for j in range(size):
                carried[b, j] = d_hidden[k, j] * gates[k, 1, j]
            for j in range(2 * size):
                d_gates[k, j] = d_drive[k, j]
        later, shared = row, end


def _gru_loop(data):
    """Forward or `back`; arrays that only one of them needs mean nothing to the other."""
    task = arguments(data, 19)
    shares, back, reverse, steps, rows, columns, size, panel_count, padded = task[1:10]
    panels = array(task[10], (panel_count, 3 * size if back else size, WIDTH))
    product, offsets = array(task[11], (columns, padded)), array(task[12], (steps + 1,), np.int64)
    activations, extra = array(task[13], (rows, 3 * size)), array(task[14], (rows, size))
    hidden, bias = array(task[15], (rows + columns, size)), array(task[16], (size,))
    d_gates, d_drive = array(task[17], (rows, 3 * size)), array(task[18], (rows, 3 * size))
    d_hidden, carried = array(task[19], (rows, size)), array(task[20], (columns, size))
    share = next_share(data)
    while share < shares:
        first, last = first_column(share, shares, offsets), first_column(share + 1, shares, offsets)
        if back:
            _gru_backward(
                activations, extra, hidden, d_gates, d_drive, d_hidden, carried,
                panels, product, offsets, reverse, first, last,
            )  # fmt: skip
        else:
            _gru_forward(activations, extra, hidden, bias, panels, product, offsets, reverse, first, last)
        share = next_share(data)


def forward(
    bias_hh: Tensor, activations: Tensor, extra: Tensor, hidden: Tensor,
    panels: Tensor, product: Tensor, offsets: Tensor, reverse: bool,
) -> None:  # fmt: skip
    """As `time_loops.forward`; ``product`` [B, 3H padded] is room for a step's, or holds that of the only step."""
    unused = activations
    of_rows = (activations, extra, hidden, bias_hh.detach().contiguous(), unused, unused, unused, unused)
    _run(False, reverse, panels, product, offsets, of_rows)


def backward(of_rows: tuple[Tensor, ...], panels: Tensor, product: Tensor, offsets: Tensor, reverse: bool) -> None:
    """``of_rows``: activations, extra, hidden, d_gates, d_drive, d_hidden, carried, as `_gru_backward` has them."""
    activations, extra, hidden, *gradients = of_rows
    _run(True, reverse, panels, product, offsets, (activations, extra, hidden, activations, *gradients))


def _run(
    back: bool, reverse: bool, panels: Tensor, product: Tensor, offsets: Tensor, of_rows: tuple[Tensor, ...]
) -> None:
    columns, padded = product.shape
    numbers = (back, reverse, len(offsets) - 1, len(of_rows[0]), columns, of_rows[1].shape[1], len(panels), padded)
    run(_gru_loop, min(columns, torch.get_num_threads()), numbers, (panels, product, offsets, *of_rows))
