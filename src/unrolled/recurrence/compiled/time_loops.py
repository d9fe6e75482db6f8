"""The loops over time of `recurrence/time_loops.py`, compiled: the cells' own arithmetic, in float32 on the CPU.

Columns are independent of each other in the loop over time, so each thread takes its share of them through the whole
window, forward or back, without waiting for the others: at each step the product with the shared matrix (`matmul.py`),
then the elementwise work, while the numbers are in the cache. Each inner loop names few arrays, or the compiler would
not vectorise it. How rows and states are laid out is explained in `packing.py`.
"""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unrolled.recurrence.compiled.arithmetic import CONTRACT, sigmoid, tanh
from unrolled.recurrence.compiled.matmul import WIDTH, multiply, pack_panel
from unrolled.recurrence.compiled.openmp import arguments, array, next_share, run


@njit(inline="always")
def _rows(t, offsets, columns, reverse):
    """Of time step t: its first row, how many rows it has, the first state before it, the first state after it."""
    row, count = offsets[t], offsets[t + 1] - offsets[t]
    above, beside = columns + offsets[t - 1] if t > 0 else 0, columns + row
    before, after = (beside, above) if reverse else (above, beside)
    return row, count, before, after


@njit(error_model="numpy")
def _first_column(share, shares, offsets):
    """Where a share of the columns begins; each share has about the same number of rows."""
    column, rows, length = 0, 0, len(offsets) - 1
    while rows * shares < share * offsets[-1]:
        while offsets[length] - offsets[length - 1] <= column:
            length -= 1
        rows += length
        column += 1
    return column


@njit(error_model="numpy", fastmath=CONTRACT)
def _rnn_forward(relu, drive, hidden, panels, product, offsets, reverse, first, last):
    """h after a row = tanh(drive + (h before it) W_hh^T), or for ReLU the positive part of that sum."""
    steps, size = len(offsets) - 1, drive.shape[1]
    for step in range(steps):
        t = steps - 1 - step if reverse else step
        row, count, before, after = _rows(t, offsets, len(product), reverse)
        end = min(last, count)
        if len(panels):
            multiply(hidden[before:], panels, product, first, end)
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
    later, shared = 0, 0  # the first row of the later time step; where the columns end that run at both steps
    for step in range(steps):
        t = step if reverse else steps - 1 - step
        row, count, _, after = _rows(t, offsets, len(product), reverse)
        end = min(last, count)
        shared = min(shared, end)
        multiply(d_gates[later:], panels, product, first, shared)
        for b in range(first, end):
            if b < shared:
                for j in range(size):
                    d_hidden[row + b, j] += product[b, j]
            if relu:
                for j in range(size):
                    d_gates[row + b, j] = (
                        d_hidden[row + b, j] if hidden[after + b, j] > np.float32(0) else np.float32(0)
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
        t = steps - 1 - step if reverse else step
        row, count, before, after = _rows(t, offsets, len(product), reverse)
        end = min(last, count)
        if len(panels):
            multiply(hidden[before:], panels, product, first, end)
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
        t = step if reverse else steps - 1 - step
        row, count, before, after = _rows(t, offsets, len(product), reverse)
        end = min(last, count)
        shared = min(shared, end)
        multiply(d_gates[later:], panels, product, first, shared)
        for b in range(first, end):
            r, old, new = row + b, before + b, after + b
            if b < shared:
                for j in range(size):
                    d_hidden[r, j] += product[b, j]
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


RNN, RELU, LSTM = range(3)  # the kinds of loop


def _pack(data):
    _, shares, transposed, rows, columns, depth, weight, panels = arguments(data, 6)
    weights, packed = array(weight, (rows, columns)), array(panels, (shares, depth, WIDTH))
    panel = next_share(data)
    while panel < shares:
        pack_panel(weights, transposed, packed, panel)
        panel = next_share(data)


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
        first, last = _first_column(share, shares, offsets), _first_column(share + 1, shares, offsets)
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


class _Scratch(threading.local):
    """Memory for the gates' gradients, kept between backward passes: fresh pages cost more than filling them."""

    def __init__(self) -> None:
        self.kept = torch.empty(0)

    def like(self, activations: Tensor) -> Tensor:
        if len(self.kept) < activations.numel():
            self.kept = activations.new_empty(activations.numel())
        return self.kept[: activations.numel()].view(activations.shape)


_scratch = _Scratch()


def forward(
    kind: int, weight_hh: Tensor, activations: Tensor, states: Sequence[Tensor], offsets: Tensor, reverse: bool
) -> None:
    """Fill the states [N + B, H] from the initial ones among them; activations [N, gates*H] come as W_ih x + b.

    `offsets` (int64 [T + 1]) say at which row each time step begins. An LSTM's activations leave as its gates
    i, f, g, o; a plain RNN's are left alone, as its states are all that its backward pass needs.
    """
    columns = len(states[0]) - len(activations)
    if len(offsets) > 2:
        panels = _packed(weight_hh, transposed=True)
        product = activations.new_empty(columns, len(panels) * WIDTH)
    else:  # packing does not pay for a single step: torch does its product
        before = states[0][columns:] if reverse else states[0][:columns]
        panels, product = activations.new_empty(0), before @ weight_hh.detach().t()
    unused = activations
    _run(kind, False, reverse, panels, product, offsets, (activations, states[0], states[-1], unused, unused, unused))


def backward(
    kind: int, weight_hh: Tensor, activations: Tensor, states: Sequence[Tensor],
    d_hidden: Tensor, d_cell: Tensor | None, offsets: Tensor, reverse: bool,
) -> Tensor:  # fmt: skip
    """dL/d(W_ih x + W_hh h + b) [N, gates*H], in memory that this thread's next call will overwrite.

    d_hidden [N, H] comes as dL/d(outputs) and leaves as dL/dh. d_cell [B, H], which only an LSTM has, comes as dL/dc
    after each column's last row and leaves as dL/dc before its first.
    """
    panels, d_gates = _packed(weight_hh, transposed=False), _scratch.like(activations)
    product = activations.new_empty(len(states[0]) - len(activations), len(panels) * WIDTH)
    d_cell = d_hidden if d_cell is None else d_cell
    _run(
        kind, True, reverse, panels, product, offsets,
        (activations, states[0], states[-1], d_gates, d_hidden, d_cell),
    )  # fmt: skip
    return d_gates


def _packed(weight_hh: Tensor, *, transposed: bool) -> Tensor:
    """W_hh^T [H, gates*H], or W_hh itself, cut into panels."""
    rows, columns = weight_hh.shape
    depth, width = (columns, rows) if transposed else (rows, columns)
    panels = weight_hh.new_empty(-(-width // WIDTH), depth, WIDTH)
    run(_pack, len(panels), (transposed, rows, columns, depth), (weight_hh.detach().contiguous(), panels))
    return panels


def _run(
    kind: int, back: bool, reverse: bool, panels: Tensor, product: Tensor, offsets: Tensor, tensors: tuple[Tensor, ...]
) -> None:
    activations, hidden, *_ = tensors
    columns, padded = product.shape
    numbers = (kind, back, reverse, len(offsets) - 1, len(activations), columns, hidden.shape[1], len(panels), padded)
    run(_time_loop, min(columns, torch.get_num_threads()), numbers, (panels, product, offsets, *tensors))
