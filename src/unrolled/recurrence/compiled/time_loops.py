"""The loops over time of `recurrence/time_loops.py`, compiled: the cells' own arithmetic, in float32 on the CPU.

Columns are independent of each other in the loop over time, so each thread takes its share of them through the whole
window, forward or back, without waiting for the others: at each step the product with the shared matrix (`matmul.py`),
then the elementwise work, while the numbers are in the cache. Each inner loop names few arrays, or the compiler would
not vectorise it. How rows and states are laid out is explained in `packing.py`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unrolled.recurrence.compiled import gru_loop
from unrolled.recurrence.compiled.arithmetic import CONTRACT, sigmoid, tanh
from unrolled.recurrence.compiled.columns import first_column, packed, scratch, step_back, step_forward
from unrolled.recurrence.compiled.dispatch import GRU, LSTM, RELU
from unrolled.recurrence.compiled.matmul import WIDTH
from unrolled.recurrence.compiled.openmp import arguments, array, next_share, run


@njit(error_model="numpy", fastmath=CONTRACT)
def _rnn_forward(relu, drive, hidden, panels, product, offsets, reverse, first, last):
    """h after a row = tanh(drive + (h before it) W_hh^T), or for ReLU the positive part of that sum."""
    steps, size = len(offsets) - 1, drive.shape[1]
    for step in range(steps):
        row, _, after, end = step_forward(step, reverse, hidden, panels, product, offsets, first, last)
        for b in range(first, end):
            if relu:
                for j in range(size):
                    z = drive[row + b, j] + product[b, j]
                    hidden[after + b, j] = np.float32(0) if z < np.float32(0) else z
            else:
                for j in range(size):
                    hidden[after + b, j] = tanh(drive[row + b, j] + product[b, j])


@njit(error_model="numpy", fastmath=CONTRACT)
def _rnn_backward(relu, hidden, d_gates, d_hidden, panels, product, offsets, reverse, first, last):
    """d_hidden comes as dL/d(outputs) and leaves as dL/dh; d_gates leaves as dL/d(W_ih x + W_hh h + b)."""
    steps, size = len(offsets) - 1, d_hidden.shape[1]
    later, shared = 0, 0
    for step in range(steps):
        row, _, after, end = step_back(
            step, reverse, later, shared, d_gates, d_hidden, panels, product, offsets, first, last
        )
        for b in range(first, end):
            if relu:
                for j in range(size):
                    d_gates[row + b, j] = (
                        np.float32(0) if hidden[after + b, j] <= np.float32(0) else d_hidden[row + b, j]
                    )
            else:
                for j in range(size):
                    h = hidden[after + b, j]
                    d_gates[row + b, j] = d_hidden[row + b, j] * (np.float32(1) - h * h)
        later, shared = row, end


@njit(error_model="numpy", fastmath=CONTRACT)
def _lstm_forward(activations, hidden, cells, panels, product, offsets, reverse, first, last):
    """The activations come as W_ih x + b and leave as the gates i, f, g, o."""
    steps, size = len(offsets) - 1, hidden.shape[1]
    gates = activations.reshape(len(activations), 4, size)  # constant indices, or the loops are not vectorised
    for step in range(steps):
        row, before, after, end = step_forward(step, reverse, hidden, panels, product, offsets, first, last)
        for b in range(first, end):
            r, old, new = row + b, before + b, after + b
            for j in range(4 * size):
                activations[r, j] += product[b, j]
            for j in range(size):
                gates[r, 0, j] = sigmoid(gates[r, 0, j])
            for j in range(size):
                gates[r, 1, j] = sigmoid(gates[r, 1, j])
            for j in range(size):
                gates[r, 2, j] = tanh(gates[r, 2, j])
            for j in range(size):
                gates[r, 3, j] = sigmoid(gates[r, 3, j])
            for j in range(size):
                kept = gates[r, 1, j] * cells[old, j]
                cells[new, j] = kept + gates[r, 0, j] * gates[r, 2, j]
            for j in range(size):
                hidden[new, j] = gates[r, 3, j] * tanh(cells[new, j])


@njit(error_model="numpy", fastmath=CONTRACT)
def _lstm_backward(activations, cells, d_gates, d_hidden, d_cell, panels, product, offsets, reverse, first, last):
    """As `_rnn_backward`; d_cell [B, H] comes as dL/dc after each column's last row, leaves as before its first."""
    steps, size = len(offsets) - 1, d_hidden.shape[1]
    gates, drives = activations.reshape(len(activations), 4, size), d_gates.reshape(len(d_gates), 4, size)
    one = np.float32(1)
    later, shared = 0, 0
    for step in range(steps):
        row, before, after, end = step_back(
            step, reverse, later, shared, d_gates, d_hidden, panels, product, offsets, first, last
        )
        for b in range(first, end):
            r, old, new = row + b, before + b, after + b
            for j in range(size):
                o, c = gates[r, 3, j], tanh(cells[new, j])
                drives[r, 3, j] = d_hidden[r, j] * c * o * (one - o)
                d_cell[b, j] += d_hidden[r, j] * o * (one - c * c)
            for j in range(size):
                i = gates[r, 0, j]
                drives[r, 0, j] = d_cell[b, j] * gates[r, 2, j] * i * (one - i)
            for j in range(size):
                g = gates[r, 2, j]
                drives[r, 2, j] = d_cell[b, j] * gates[r, 0, j] * (one - g * g)
            for j in range(size):
                f = gates[r, 1, j]
                drives[r, 1, j] = d_cell[b, j] * cells[old, j] * f * (one - f)
            for j in range(size):
                d_cell[b, j] *= gates[r, 1, j]
        later, shared = row, end


def _time_loop(data):
    """One kind of loop, forward or `back`; arrays that only the way back needs mean nothing on the way forward."""
    task = arguments(data, 18)
    shares, kind, back, reverse, steps, rows, columns, size, panel_count, padded = task[1:11]
    width = 4 * size if kind == LSTM else size
    panels = array(task[11], (panel_count, width if back else size, WIDTH))
    product, offsets = array(task[12], (columns, padded)), array(task[13], (steps + 1,), np.int64)
    activations = array(task[14], (rows, width))
    hidden, cells = array(task[15], (rows + columns, size)), array(task[16], (rows + columns, size))
    d_gates, d_hidden = array(task[17], (rows, width)), array(task[18], (rows, size))
    d_cell = array(task[19], (columns, size))
    share = next_share(data)
    while share < shares:
        first, last = first_column(share, shares, offsets), first_column(share + 1, shares, offsets)
        if back and kind == LSTM:
            _lstm_backward(
                activations, cells, d_gates, d_hidden, d_cell, panels, product, offsets, reverse, first, last
            )
        elif back:
            _rnn_backward(kind == RELU, hidden, d_gates, d_hidden, panels, product, offsets, reverse, first, last)
        elif kind == LSTM:
            _lstm_forward(activations, hidden, cells, panels, product, offsets, reverse, first, last)
        else:
            _rnn_forward(kind == RELU, activations, hidden, panels, product, offsets, reverse, first, last)
        share = next_share(data)


def forward(
    kind: int, weight_hh: Tensor, bias_hh: Tensor | None, activations: Tensor, extra: Tensor,
    states: Sequence[Tensor], offsets: Tensor, reverse: bool,
) -> None:  # fmt: skip
    """Fill the states [N + B, H] from the initial ones among them; activations [N, gates*H] come as W_ih x + b.

    `offsets` (int64 [T + 1]) say at which row each time step begins. An LSTM's activations leave as its gates
    i, f, g, o, a GRU's as r, z, n, with W_hn h + bias_hh in `extra` [N, H]; a plain RNN's are left alone, as its states
    are all that its backward pass needs.
    """
    columns = len(states[0]) - len(activations)
    if len(offsets) > 2:
        panels = packed(weight_hh, transposed=True)
        product = activations.new_empty(columns, len(panels) * WIDTH)
    else:  # packing does not pay for a single step: torch does its product
        before = states[0][columns:] if reverse else states[0][:columns]
        panels, product = activations.new_empty(0), before @ weight_hh.detach().t()
    if kind == GRU:
        assert bias_hh is not None
        gru_loop.forward(bias_hh, activations, extra, states[0], panels, product, offsets, reverse)
        return
    unused = activations
    _run(kind, False, reverse, panels, product, offsets, (activations, states[0], states[-1], unused, unused, unused))


def backward(
    kind: int, weight_hh: Tensor, activations: Tensor, extra: Tensor, states: Sequence[Tensor],
    d_hidden: Tensor, carried: Tensor | None, offsets: Tensor, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """dL/d(recurrent product) and dL/d(W_ih x + b), each [N, gates*H], in memory that this thread's next call reuses.

    d_hidden [N, H] comes as dL/d(outputs) and leaves as dL/dh. `carried` [B, H] is an LSTM's dL/dc, or what a GRU's
    dL/dh has past the product: it comes as it enters each column's last row and leaves as it comes out of its first.
    """
    panels = packed(weight_hh, transposed=False)
    product = activations.new_empty(len(states[0]) - len(activations), len(panels) * WIDTH)
    if kind == GRU:
        assert carried is not None
        d_gates, d_drive = scratch.like(activations, copies=2)
        of_rows = (activations, extra, states[0], d_gates, d_drive, d_hidden, carried)
        gru_loop.backward(of_rows, panels, product, offsets, reverse)
        return d_gates, d_drive
    (d_gates,) = scratch.like(activations)
    carried = d_hidden if carried is None else carried
    _run(
        kind, True, reverse, panels, product, offsets,
        (activations, states[0], states[-1], d_gates, d_hidden, carried),
    )  # fmt: skip
    return d_gates, d_gates


def _run(
    kind: int, back: bool, reverse: bool, panels: Tensor, product: Tensor, offsets: Tensor, tensors: tuple[Tensor, ...]
) -> None:
    activations, hidden, *_ = tensors
    columns, padded = product.shape
    numbers = (kind, back, reverse, len(offsets) - 1, len(activations), columns, hidden.shape[1], len(panels), padded)
    run(_time_loop, min(columns, torch.get_num_threads()), numbers, (panels, product, offsets, *tensors))
