"""The walks of `bptt.py` along a window, compiled: the same arithmetic as the cells', float32 on the CPU.

Columns do not meet in the loop over time, so each thread takes its share of them through the whole window, forward or
back, without waiting for the others: the product with the shared matrix (`tiles.py`), then what is done number by
number, while the numbers are in the cache. Loops name few arrays each, or the compiler would not vectorise them.
"""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unrolled.compiled.arithmetic import CONTRACT, sigmoid, tanh
from unrolled.compiled.team import arguments, array, next_share, run
from unrolled.compiled.tiles import WIDTH, multiply, pack_panel


@njit(inline="always")
def _times(step, steps, reverse):
    """Of the step-th time step that is read: t, and where the states before and after it stand."""
    t = steps - 1 - step if reverse else step
    before, after = (t + 1, t) if reverse else (t, t + 1)
    return t, before, after


@njit(error_model="numpy", fastmath=CONTRACT)
def _rnn_forward(relu, drive, hidden, panels, product, reverse, first, last):
    """hidden[t + 1] = tanh(drive[t] + hidden[t] W_hh^T), or its positive part."""
    steps, _, size = drive.shape
    for step in range(steps):
        t, before, after = _times(step, steps, reverse)
        if len(panels):
            multiply(hidden[before], panels, product, first, last)
        for b in range(first, last):
            if relu:
                for j in range(size):
                    z = drive[t, b, j] + product[b, j]
                    hidden[after, b, j] = np.float32(0) if z < np.float32(0) else z
            else:
                for j in range(size):
                    hidden[after, b, j] = tanh(drive[t, b, j] + product[b, j])


@njit(error_model="numpy", fastmath=CONTRACT)
def _rnn_backward(relu, hidden, d_gates, d_hidden, panels, product, reverse, first, last):
    """d_hidden comes as dL/d(outputs) and leaves as dL/dh; d_gates leaves as dL/d(W_ih x + W_hh h + b)."""
    steps, _, size = d_hidden.shape
    for step in range(steps):
        t, _, after = _times(steps - 1 - step, steps, reverse)
        if step > 0:
            multiply(d_gates[t - 1 if reverse else t + 1], panels, product, first, last)
        for b in range(first, last):
            if step > 0:
                for j in range(size):
                    d_hidden[t, b, j] += product[b, j]
            if relu:
                for j in range(size):
                    d_gates[t, b, j] = d_hidden[t, b, j] if hidden[after, b, j] > np.float32(0) else np.float32(0)
            else:
                for j in range(size):
                    h = hidden[after, b, j]
                    d_gates[t, b, j] = d_hidden[t, b, j] * (np.float32(1) - h * h)


@njit(error_model="numpy", fastmath=CONTRACT)
def _lstm_forward(stash, hidden, cells, panels, product, reverse, first, last):
    """stash comes as W_ih x + b and leaves as the gates i, f, g, o."""
    steps, columns, size = len(stash), hidden.shape[1], hidden.shape[2]
    gates = stash.reshape(steps, columns, 4, size)  # by constant indices, or the loops are not vectorised
    for step in range(steps):
        t, before, after = _times(step, steps, reverse)
        if len(panels):
            multiply(hidden[before], panels, product, first, last)
        for b in range(first, last):
            for j in range(4 * size):
                stash[t, b, j] += product[b, j]
            for j in range(size):
                gates[t, b, 0, j] = sigmoid(gates[t, b, 0, j])
            for j in range(size):
                gates[t, b, 1, j] = sigmoid(gates[t, b, 1, j])
            for j in range(size):
                gates[t, b, 2, j] = tanh(gates[t, b, 2, j])
            for j in range(size):
                gates[t, b, 3, j] = sigmoid(gates[t, b, 3, j])
            for j in range(size):
                kept = gates[t, b, 1, j] * cells[before, b, j]
                cells[after, b, j] = kept + gates[t, b, 0, j] * gates[t, b, 2, j]
            for j in range(size):
                hidden[after, b, j] = gates[t, b, 3, j] * tanh(cells[after, b, j])


@njit(error_model="numpy", fastmath=CONTRACT)
def _lstm_backward(stash, cells, d_gates, d_hidden, d_cell, panels, product, reverse, first, last):
    """As `_rnn_backward`; d_cell [B, H] comes as dL/dc after the window and leaves as dL/dc before it."""
    steps, columns, size = d_hidden.shape
    gates, drives = stash.reshape(steps, columns, 4, size), d_gates.reshape(steps, columns, 4, size)
    one = np.float32(1)
    for step in range(steps):
        t, before, after = _times(steps - 1 - step, steps, reverse)
        if step > 0:
            multiply(d_gates[t - 1 if reverse else t + 1], panels, product, first, last)
        for b in range(first, last):
            if step > 0:
                for j in range(size):
                    d_hidden[t, b, j] += product[b, j]
            for j in range(size):
                o, c = gates[t, b, 3, j], tanh(cells[after, b, j])
                drives[t, b, 3, j] = d_hidden[t, b, j] * c * o * (one - o)
                d_cell[b, j] += d_hidden[t, b, j] * o * (one - c * c)
            for j in range(size):
                i = gates[t, b, 0, j]
                drives[t, b, 0, j] = d_cell[b, j] * gates[t, b, 2, j] * i * (one - i)
            for j in range(size):
                g = gates[t, b, 2, j]
                drives[t, b, 2, j] = d_cell[b, j] * gates[t, b, 0, j] * (one - g * g)
            for j in range(size):
                f = gates[t, b, 1, j]
                drives[t, b, 1, j] = d_cell[b, j] * cells[before, b, j] * f * (one - f)
            for j in range(size):
                d_cell[b, j] *= gates[t, b, 1, j]


RNN, RELU, LSTM = range(3)  # the kinds of walk


def _pack(data):
    _, shares, transposed, rows, columns, depth, weight, panels = arguments(data, 6)
    weights, packed = array(weight, (rows, columns)), array(panels, (shares, depth, WIDTH))
    panel = next_share(data)
    while panel < shares:
        pack_panel(weights, transposed, packed, panel)
        panel = next_share(data)


def _walk(data):
    """One kind of walk, forward or `back`; what only the way back wants has no meaning on the way forward."""
    task = arguments(data, 16)
    shares, kind, back, reverse, steps, columns, size, panel_count, padded = task[1:10]
    width = 4 * size if kind == LSTM else size
    window, states = (steps, columns, width), (steps + 1, columns, size)
    panels = array(task[10], (panel_count, width if back else size, WIDTH))
    product, stash = array(task[11], (columns, padded)), array(task[12], window)
    hidden, cells = array(task[13], states), array(task[14], states)
    d_gates, d_hidden = array(task[15], window), array(task[16], (steps, columns, size))
    d_cell = array(task[17], (columns, size))
    share = next_share(data)
    while share < shares:
        first, last = share * columns // shares, (share + 1) * columns // shares
        if back and kind == LSTM:
            _lstm_backward(stash, cells, d_gates, d_hidden, d_cell, panels, product, reverse, first, last)
        elif back:
            _rnn_backward(kind == RELU, hidden, d_gates, d_hidden, panels, product, reverse, first, last)
        elif kind == LSTM:
            _lstm_forward(stash, hidden, cells, panels, product, reverse, first, last)
        else:
            _rnn_forward(kind == RELU, stash, hidden, panels, product, reverse, first, last)
        share = next_share(data)


class _Room(threading.local):
    """Room for the gates' gradients, kept between backward passes: fresh pages cost more than the work in them."""

    def __init__(self) -> None:
        self.kept = torch.empty(0)

    def like(self, stash: Tensor) -> Tensor:
        if len(self.kept) < stash.numel():
            self.kept = stash.new_empty(stash.numel())
        return self.kept[: stash.numel()].view(stash.shape)


_room = _Room()


def forward(kind: int, weight_hh: Tensor, stash: Tensor, states: Sequence[Tensor], reverse: bool) -> None:
    """Fill the states [T+1, B, H] from the initial one among them; stash [T, B, gates*H] comes as W_ih x + b.

    An LSTM's stash leaves as its gates i, f, g, o.
    """
    if len(stash) > 1:
        panels = _packed(weight_hh, transposed=True)
        product = stash.new_empty(stash.shape[1], len(panels) * WIDTH)
    else:  # a single step is not worth the packing: its product is torch's
        panels, product = stash.new_empty(0), states[0][1 if reverse else 0] @ weight_hh.detach().t()
    _run(kind, False, reverse, panels, product, (stash, states[0], states[-1], stash, stash, stash))


def backward(
    kind: int, weight_hh: Tensor, stash: Tensor, states: Sequence[Tensor],
    d_hidden: Tensor, d_cell: Tensor, reverse: bool,
) -> Tensor:  # fmt: skip
    """dL/d(W_ih x + W_hh h + b) [T, B, gates*H], in room that is ours until the next call in this thread.

    d_hidden [T, B, H] comes as dL/d(outputs) and leaves as dL/dh. d_cell [B, H], an LSTM's alone, comes as dL/dc after
    the window and leaves as dL/dc before it.
    """
    panels, d_gates = _packed(weight_hh, transposed=False), _room.like(stash)
    product = stash.new_empty(stash.shape[1], len(panels) * WIDTH)
    _run(kind, True, reverse, panels, product, (stash, states[0], states[-1], d_gates, d_hidden, d_cell))
    return d_gates


def _packed(weight_hh: Tensor, *, transposed: bool) -> Tensor:
    """W_hh^T [H, gates*H], or W_hh itself, in panels."""
    rows, columns = weight_hh.shape
    depth, width = (columns, rows) if transposed else (rows, columns)
    panels = weight_hh.new_empty(-(-width // WIDTH), depth, WIDTH)
    run(_pack, len(panels), (transposed, rows, columns, depth), (weight_hh.detach().contiguous(), panels))
    return panels


def _run(kind: int, back: bool, reverse: bool, panels: Tensor, product: Tensor, tensors: tuple[Tensor, ...]) -> None:
    stash, hidden, *_ = tensors
    steps, columns, _ = stash.shape
    numbers = (kind, back, reverse, steps, columns, hidden.shape[2], len(panels), product.shape[1])
    run(_walk, min(columns, torch.get_num_threads()), numbers, (panels, product, *tensors))
