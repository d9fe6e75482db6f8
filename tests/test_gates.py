import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import linear

from unrolled.probing.gates import CARRYING, gate_values, gate_values_of_stack, time_constants
from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.spectra import GATES, spectra
from unrolled.recurrence.stack import Stack

T, B, E, H = 7, 3, 4, 5


def layer_of(cell: str, *, reverse: bool = False) -> RecurrentLayer:
    return RecurrentLayer(cell, E, H, reverse=reverse).double()


def next_state(cell: str, gates: dict[str, torch.Tensor], before: torch.Tensor, cell_before: torch.Tensor):
    """h and c after one step, by the textbook, from its gates alone, and the candidate where that is no gate."""
    if cell == "lstm":
        after = gates["forget"] * cell_before + gates["input"] * gates["candidate"]
        return gates["output"] * after.tanh(), after
    if cell == "gru":
        return (1 - gates["update"]) * gates["candidate"] + gates["update"] * before, cell_before
    if cell in ("mingru", "minlstm"):
        return gates["forget"] * before + (1 - gates["forget"]) * gates["candidate"], cell_before
    return gates["hidden"], cell_before


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_gates_give_the_outputs_again(cell: str, reverse: bool) -> None:
    layer, inputs = layer_of(cell, reverse=reverse), torch.randn(T, B, E, dtype=torch.float64)
    state = tuple(torch.rand(B, H, dtype=torch.float64) for _ in range(layer.cell.states))
    outputs, _ = layer(inputs, state)
    values = gate_values(layer, inputs, state)
    assert list(values) == list(GATES[type(layer.cell)])
    if not layer.cell.recurrent:
        drive = linear(inputs, layer.weight_ih, layer.bias)[..., -H:]
        values["candidate"] = torch.where(drive >= 0, drive + 0.5, drive.sigmoid())
    h, c = state[0], state[-1]
    for t in range(T - 1, -1, -1) if reverse else range(T):
        h, c = next_state(cell, {name: each[t] for name, each in values.items()}, h, c)
        torch.testing.assert_close(h, outputs[t], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("connection", ["plain", "residual", "highway", "dense"])
def test_a_layer_of_a_stack_reads_what_the_one_below_passes_on(connection: str) -> None:
    stack = Stack("forward", "rnn", inputs=E, hidden=H, layers=3, connection=connection).double()
    inputs = torch.randn(T, B, E, dtype=torch.float64)
    values = gate_values_of_stack(stack, inputs)
    outputs, _ = stack(inputs, stack.initial_state(B))
    top = values[-1]["hidden"].requires_grad_()
    if connection in ("plain", "dense"):
        torch.testing.assert_close(top, outputs)
    if connection == "residual":
        torch.testing.assert_close(sum(each["hidden"] for each in values), outputs)
    assert len(values) == 3


def test_a_mingru_keeps_what_its_update_gate_does_not_write() -> None:
    layer, inputs = layer_of("mingru"), torch.randn(T, B, E, dtype=torch.float64)
    z = torch.sigmoid(linear(inputs, layer.weight_ih, layer.bias)[..., :H])
    torch.testing.assert_close(gate_values(layer, inputs, layer.initial_state(B)), {"forget": 1 - z})


@pytest.mark.parametrize("cell", CELLS)
def test_spectra_are_of_each_gates_own_block(cell: str) -> None:
    layer = layer_of(cell)
    assert bool(spectra(layer)) == layer.cell.recurrent
    for index, (name, spectrum) in enumerate(spectra(layer).items()):
        block = layer.weight_hh.detach().numpy()[index * H : (index + 1) * H]
        assert name == GATES[type(layer.cell)][index]
        assert spectrum.radius == pytest.approx(np.abs(np.linalg.eigvals(block)).max(), rel=1e-9)
        assert spectrum.norm == pytest.approx(np.linalg.svd(block)[1].max(), rel=1e-9)
        assert spectrum.radius <= spectrum.norm * (1 + 1e-9)


@given(st.floats(0.01, 10))
def test_of_a_multiple_of_the_identity_both_are_that_multiple(a: float) -> None:
    layer = layer_of("rnn")
    with torch.no_grad():
        layer.weight_hh.copy_(a * torch.eye(H))
    assert spectra(layer)["hidden"] == pytest.approx((a, a))


def test_weights_that_are_not_finite_have_no_spectrum() -> None:
    layer = layer_of("lstm")
    with torch.no_grad():
        layer.weight_hh[0, 0] = math.inf
    found = spectra(layer)
    assert all(map(math.isnan, found["input"]))
    assert all(map(math.isfinite, found["forget"]))


def test_a_time_constant_is_where_a_held_value_has_fallen_to_1_over_e() -> None:
    means = torch.tensor([0.5, 0.9, 0.99, 1.0], dtype=torch.float64)
    found = time_constants(means)
    torch.testing.assert_close(means[:3] ** found[:3], torch.full((3,), math.exp(-1), dtype=torch.float64))
    assert found[3] == math.inf


def test_every_cell_that_carries_names_the_gate_that_does() -> None:
    assert set(CARRYING) == {type(cell) for cell in CELLS.values() if cell.carries}
    assert all(gate in GATES[cell] for cell, gate in CARRYING.items())
