"""The spectra of a recurrent layer's weights, gate by gate.

A gate's name is that of its block of H rows in weight_hh; a cell without gates has one block, `hidden`. A cell without
a recurrent product has no block and no spectrum.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.recurrence.cell import Cell
from unrolled.recurrence.cells import GRU, LSTM, ReLURNN, TanhRNN
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.minimal_cells import MinGRU, MinLSTM
from unrolled.recurrence.threads import one_thread

GATES: dict[type, tuple[str, ...]] = {
    TanhRNN: ("hidden",),
    ReLURNN: ("hidden",),
    GRU: ("reset", "update", "candidate"),
    LSTM: ("input", "forget", "candidate", "output"),
    # The share that is kept, the rest being written; the candidate has no upper end that it could stand at.
    MinGRU: ("forget",),
    MinLSTM: ("forget",),
}


class Spectrum(NamedTuple):
    """Of one gate's block of weight_hh [H, H]."""

    radius: float  # the largest modulus of an eigenvalue: growth of a state that passes through again and again
    norm: float  # the largest singular value: growth in one step at most (Pascanu, Mikolov & Bengio 2013, section 2.1)


def spectra(layer: RecurrentLayer) -> dict[str, Spectrum]:
    """Of each gate's block, none where there is no recurrent matrix; nan where a weight is not finite."""
    return spectra_of(layer.cell, layer.weight_hh)


@one_thread()
def spectra_of(cell: Cell, weight_hh: Tensor) -> dict[str, Spectrum]:
    """The same, of a matrix [gates*H, H] that is a layer's."""
    if not cell.recurrent:
        return {}
    blocks = weight_hh.detach().cpu().double().split(weight_hh.shape[1])
    return {name: _spectrum(block) for name, block in zip(GATES[type(cell)], blocks, strict=True)}


def _spectrum(block: Tensor) -> Spectrum:
    if not block.isfinite().all():
        return Spectrum(math.nan, math.nan)
    return Spectrum(torch.linalg.eigvals(block).abs().max().item(), torch.linalg.matrix_norm(block, 2).item())
