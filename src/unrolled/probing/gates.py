"""What a recurrent layer's gates do with its state: their values along an input."""

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from unrolled.recurrence.cells import GRU, LSTM, ReLURNN
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.minimal_cells import MinGRU, MinLSTM
from unrolled.recurrence.spectra import GATES
from unrolled.recurrence.stack import Stack, State
from unrolled.recurrence.threads import one_thread

SIGNED = ("hidden", "candidate")  # between -1 and 1, where the others lie between 0 and 1
# The gate whose value is the share of the state that a step keeps.
CARRYING = {GRU: "update", LSTM: "forget", MinGRU: "forget", MinLSTM: "forget"}


@one_thread()
@torch.no_grad()
def gate_values(layer: RecurrentLayer, inputs: Tensor, state: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Each gate at each time step and unit, [T, B, H]; inputs [T, B, E], and the state that the layer starts from.

    What the gates read is known once the layer has run, so they need no loop over time of their own. A minGRU's z is
    the share that it writes; told is what it keeps, 1 - z.
    """
    if not layer.cell.recurrent:
        return {CARRYING[type(layer.cell)]: _shares_kept(layer, inputs)}
    outputs, _ = layer(inputs, state)
    rows = (outputs[1:], state[0][None]) if layer.reverse else (state[0][None], outputs[:-1])
    drive = linear(inputs, layer.weight_ih, layer.bias).split(layer.hidden, dim=-1)
    recurrent = linear(torch.cat(rows), layer.weight_hh).split(layer.hidden, dim=-1)
    names = GATES[type(layer.cell)]
    if layer.bias_hh is not None:  # a GRU, whose candidate sees the recurrent product through the reset gate
        r, z = (torch.sigmoid(each + product) for each, product in zip(drive[:2], recurrent, strict=False))
        return dict(zip(names, (r, z, torch.tanh(drive[2] + r * (recurrent[2] + layer.bias_hh))), strict=True))
    read = {name: each + product for name, each, product in zip(names, drive, recurrent, strict=True)}
    if isinstance(layer.cell, ReLURNN):
        return {"hidden": read["hidden"].clamp(min=0)}
    return {name: each.tanh() if name in SIGNED else each.sigmoid() for name, each in read.items()}


def _shares_kept(layer: RecurrentLayer, inputs: Tensor) -> Tensor:
    """Of a cell without a recurrent product, which hang on its input alone: [T, B, H]."""
    first, second, *_ = linear(inputs, layer.weight_ih, layer.bias).split(layer.hidden, dim=-1)
    if isinstance(layer.cell, MinGRU):
        return torch.sigmoid(-first)
    return torch.sigmoid(logsigmoid(second) - logsigmoid(first))


@one_thread()
@torch.no_grad()
def gate_values_of_stack(
    stack: Stack, inputs: Tensor, state: tuple[State, ...] | None = None
) -> list[dict[str, Tensor]]:
    """``gate_values`` of every layer from the lowest up, without dropout; from the initial state if none is given."""
    values, passed = [], inputs
    state = stack.initial_state(inputs.shape[1]) if state is None else state
    for index, (layer, before) in enumerate(zip(stack.layers, state, strict=True)):
        values.append(gate_values(layer, passed, before))
        passed = stack.connected(index, passed, passed, layer(passed, before)[0])
    return values


def time_constants(means: Tensor) -> Tensor:
    """After how many time steps what a unit holds has fallen to 1/e, if its carrying gate stood at its mean: [H].

    tau = -1 / log(mean of the forget gate) (Mahto, Vo, Turek & Huth 2021); inf for a gate that stays open.
    """
    return 1 / means.log().abs()
