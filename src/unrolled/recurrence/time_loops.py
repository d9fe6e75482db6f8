"""The loops over time, one step of a cell after another: for every cell, on any device, in any precision.

`compiled/time_loops.py` holds faster ones for some cells. Rows and states are laid out as in `packing.py`.
"""

from collections.abc import Sequence

from torch import Tensor

from unrolled.recurrence.cell import Cell, LayerWeights, Parts
from unrolled.recurrence.packing import Packing, select


def forward(
    cell: Cell, weights: LayerWeights, activations: Tensor, extra: Tensor, states: Parts, packing: Packing
) -> None:
    """Fill in the states [N + B, H] from the initial ones among them; `activations` [N, gates*H] come as W_ih x + b."""
    operands = cell.prepare(activations, extra, weights)
    gates = _gate_views(activations, weights.weight_hh.shape[1], packing.counts)
    rows, extras = activations.split(packing.counts), extra.split(packing.counts)
    blocks = list(zip(*(part.split([packing.columns, *packing.counts]) for part in states), strict=True))
    for t in reversed(range(len(rows))) if packing.reverse else range(len(rows)):
        above, beside = _first(packing.counts[t], blocks[t]), blocks[t + 1]
        before, after = (beside, above) if packing.reverse else (above, beside)
        cell.step(rows[t], gates[t], extras[t], operands, before, after)


def backward(
    cell: Cell, weight_hh: Tensor, activations: Tensor, extra: Tensor, states: Parts,
    d_hidden: Tensor, carried: Tensor | None, packing: Packing,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """dL/d(recurrent product) and dL/d(W_ih x + b), each [N, gates*H].

    d_hidden [N, H] comes as dL/d(outputs) and leaves as dL/dh. `carried` [B, H] (see `Cell.adjoint`), its columns in
    the packing's order, comes as it enters each column's last step and leaves as it comes out of the first.
    """
    before, after = ([select(part, rows) for part in states] for rows in (packing.before, packing.after))
    d_gates, *others = cell.factors(activations, extra, before, after)
    gates = _gate_views(d_gates, weight_hh.shape[1], packing.counts)
    hidden_rows, gate_rows = d_hidden.split(packing.counts), d_gates.split(packing.counts)
    slices = list(zip(*(other.split(packing.counts) for other in others), strict=True)) or [()] * len(gates)
    later: Tensor | None = None
    for t in range(len(gates)) if packing.reverse else reversed(range(len(gates))):
        row = hidden_rows[t]
        passing = None if carried is None else carried[: len(row)]
        if later is not None and cell.recurrent:
            shared = min(len(row), len(later))
            row[:shared].addmm_(later[:shared], weight_hh)
        if passing is not None and cell.states == 1:
            row.add_(passing)
        later = gate_rows[t]
        cell.adjoint(gates[t], slices[t], row, passing)
    return d_gates, cell.drive_gradient(d_gates, others, d_hidden)


def _gate_views(whole: Tensor, size: int, counts: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """The gates' views [n, H] into [N, gates*H], by time step; split all at once, which is cheaper."""
    return list(zip(*(gate.split(counts) for gate in whole.split(size, dim=-1)), strict=True))


def _first(count: int, parts: Parts) -> Parts:
    return parts if len(parts[0]) == count else [part[:count] for part in parts]
