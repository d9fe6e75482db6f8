"""Every cell of the registry against its torch.nn twin, a numerical gradient, and its own definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from twins import run_twin, twin_of
from unrolled.recurrence.bptt import unroll
from unrolled.recurrence.cells import CELLS, LayerWeights, find_cell
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile, lag_profile

T, B, E, H = 6, 3, 5, 4
RECURRENT = [name for name, cell in CELLS.items() if cell.recurrent]
MINIMAL = [name for name, cell in CELLS.items() if not cell.recurrent]


def example(cell: str, dtype: torch.dtype, reverse: bool = False) -> tuple[RecurrentLayer, Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(3)
    layer = RecurrentLayer(cell, E, H, reverse=reverse).to(dtype)
    state = tuple(torch.randn(B, H, dtype=dtype, requires_grad=True) for _ in range(CELLS[cell].states))
    return layer, torch.randn(T, B, E, dtype=dtype, requires_grad=True), state


def weighted(outputs: Tensor, final: tuple[Tensor, ...]) -> Tensor:
    """A loss in which every output and every final state has a weight of its own."""
    torch.manual_seed(4)
    return sum((part * torch.randn_like(part)).sum() for part in (outputs, *final))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_torch_twin_in_outputs_and_all_gradients(
    cell: str, dtype: torch.dtype, tolerance: float, reverse: bool
) -> None:
    layer, inputs, state = example(cell, dtype, reverse)
    twin = twin_of(layer, cell)
    outputs, final = layer(inputs, state)
    twin_outputs, twin_final = run_twin(twin, inputs.flip(0) if reverse else inputs, state)
    twin_outputs = twin_outputs.flip(0) if reverse else twin_outputs
    for ours, theirs in zip((outputs, *final), (twin_outputs, *twin_final), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)

    ours = [inputs, *state, layer.weight_ih, layer.weight_hh, layer.bias]
    theirs = [inputs, *state, twin.weight_ih_l0, twin.weight_hh_l0, twin.bias_ih_l0]
    if layer.bias_hh is not None:
        ours, theirs = [*ours, layer.bias_hh], [*theirs, twin.bias_hh_l0]
    gradients = torch.autograd.grad(weighted(outputs, final), ours)
    expected = list(torch.autograd.grad(weighted(twin_outputs, twin_final), theirs))
    if layer.bias_hh is not None:
        expected[-1] = expected[-1][-H:]
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, T - 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_relu_passes_gradients_as_torch_where_a_unit_is_no_finite_number(
    dtype: torch.dtype, step: int, value: float
) -> None:
    """One unit becomes ``value`` at that step, the others of its column nan, the product of it with 0."""
    layer, inputs, state = example("relu", dtype)
    with torch.no_grad():
        layer.weight_ih.copy_(torch.eye(H, E))
        inputs[step, 0, 0] = value
    twin = twin_of(layer, "relu")
    ours = torch.autograd.grad(weighted(*layer(inputs, state)), [inputs, *state, *layer.parameters()])
    of_twin = [twin.weight_ih_l0, twin.weight_hh_l0, twin.bias_ih_l0]
    theirs = torch.autograd.grad(weighted(*run_twin(twin, inputs, state)), [inputs, *state, *of_twin])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_adjoint_is_the_numerical_gradient(cell: str, reverse: bool) -> None:
    layer, inputs, state = example(cell, torch.float64, reverse)

    def forward(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        owned = 3 if layer.bias_hh is None else 4
        outputs, final = unroll(layer.cell, inputs, LayerWeights(*rest[:owned]), rest[owned:], reverse=reverse)
        return outputs, *final

    assert torch.autograd.gradcheck(forward, (inputs, *layer.parameters(), *state))


@pytest.mark.parametrize("cell", MINIMAL)
@given(seed=st.integers(0, 2**31), scale=st.floats(0, 100), steps=st.integers(1, 40), reverse=st.booleans())
def test_without_a_recurrent_matrix_a_gradient_never_grows_going_back(
    cell: str, seed: int, scale: float, steps: int, reverse: bool
) -> None:
    """dL/dh_t is dL/dh_t+1 times shares between 0 and 1, whatever the weights and whatever is read."""
    torch.manual_seed(seed)
    layer = RecurrentLayer(cell, E, H, initial_range=scale).double()
    inputs, state = torch.randn(steps, B, E, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)
    layer.reverse, last = reverse, 0 if reverse else -1
    found = lag_profile(lambda profile: layer(inputs, (state,), profile)[0][last].sum(), layer.parameters())
    norms = found["layer"]
    assert norms[0] == pytest.approx((B * H) ** 0.5) and (norms.diff() <= 0).all()


@pytest.mark.parametrize(("dtype", "closed"), [(torch.float32, -1e4), (torch.float64, -1e4), (torch.float32, -90.0)])
def test_a_minlstm_whose_gates_are_both_closed_still_weighs_them(dtype: torch.dtype, closed: float) -> None:
    """f and i are 0 in either precision, yet f / (f + i) is what their logarithms say: here sigmoid(1)."""
    layer = RecurrentLayer("minlstm", 1, 1).to(dtype)
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.bias.copy_(torch.tensor([closed - 1, closed, 0.5]))
    state = torch.full((1, 1), 3.0, dtype=dtype, requires_grad=True)
    outputs, _ = layer(torch.zeros(1, 1, 1, dtype=dtype), (state,))
    (gradient,) = torch.autograd.grad(outputs.sum(), state, retain_graph=True)
    share = 1 / (1 + math.exp(-1))
    assert gradient.item() == pytest.approx(share, rel=1e-4)
    assert outputs.item() == pytest.approx(3 * share + 1 - share, rel=1e-4)
    (of_bias,) = torch.autograd.grad(outputs.sum(), layer.bias)
    assert of_bias[1].item() == pytest.approx(-of_bias[0].item()) == pytest.approx(2 * share * (1 - share), rel=1e-4)


@pytest.mark.parametrize("name", ["lsmt", "LSTM", "gur"])
def test_unknown_cell_names_the_nearest(name: str) -> None:
    nearest = {"lsmt": "lstm", "gur": "gru"}.get(name, "one of rnn")
    with pytest.raises(ValueError, match=f"{name}.*{nearest}"):
        find_cell(name)


def test_initial_weights_are_uniform_in_torchs_bound_and_forget_bias_is_set() -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer("lstm", 30, 100, forget_bias=1.0)
    for weight in (layer.weight_ih, layer.weight_hh):
        assert 0.0999 < weight.abs().max() <= 0.1
        assert abs(weight.std().item() - 0.1 / 3**0.5) < 0.001
    assert layer.bias[100:200].tolist() == [1.0] * 100
    assert layer.bias[:100].abs().max() <= 0.1


@pytest.mark.parametrize("cell", RECURRENT)
def test_orthogonal_recurrence_keeps_lengths(cell: str) -> None:
    layer = RecurrentLayer(cell, 3, 8, initialisation="orthogonal").double()
    for gate in layer.weight_hh.split(8):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-6)


def test_an_identity_relu_layer_sums_what_it_reads_and_carries_gradients_unchanged() -> None:
    torch.manual_seed(1)
    layer = RecurrentLayer("relu", 4, 4, initialisation="identity")
    assert layer.weight_ih.abs().max() < 0.01
    with torch.no_grad():
        layer.weight_ih.copy_(torch.eye(4))
    inputs = torch.rand(5, 2, 4)
    profile = Profile()
    outputs, _ = layer(inputs, layer.initial_state(2), profile)
    torch.testing.assert_close(outputs, inputs.cumsum(0))
    outputs[-1].sum().backward()
    torch.testing.assert_close(profile.norms["layer"], torch.full((5,), 8.0).sqrt())


@pytest.mark.parametrize(("cell", "sign"), [("lstm", -1.0), ("gru", None)])
def test_chrono_biases_make_gates_forget_within_the_longest_time(cell: str, sign: float | None) -> None:
    torch.manual_seed(1)
    hidden, longest = 2000, 50
    layer = RecurrentLayer(cell, 3, hidden, initialisation="chrono", longest=longest)
    forget = layer.bias[hidden : 2 * hidden].sigmoid()
    times = 1 / (1 - forget)  # a leak of 1 - f a step lasts that many steps
    assert times.min() >= 2 - 1e-4
    assert times.max() <= longest + 1e-2
    assert times.mean().item() == pytest.approx(1 + longest / 2, rel=0.03)
    if sign is not None:
        assert torch.equal(layer.bias[:hidden], sign * layer.bias[hidden : 2 * hidden])


def test_a_generator_draws_the_same_weights_whatever_was_drawn_before() -> None:
    def drawn() -> list[bytes]:
        generator = torch.Generator().manual_seed(7)
        layer = RecurrentLayer("lstm", 3, 4, initialisation="orthogonal", generator=generator)
        return [parameter.detach().numpy().tobytes() for parameter in layer.parameters()]

    assert drawn() == drawn()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "rnn", "inputs": 0, "hidden": 3}, "inputs must be at least 1, not 0"),
        ({"cell": "rnn", "inputs": 3, "hidden": -1}, "hidden must be at least 1, not -1"),
        ({"cell": "gru", "inputs": 3, "hidden": 3, "forget_bias": 1.0}, "forget_bias is for LSTM, not GRU"),
        ({"cell": "rnn", "inputs": 3, "hidden": 3, "initialisation": "ortogonal"}, "did you mean 'orthogonal'"),
        ({"cell": "lstm", "inputs": 3, "hidden": 3, "initialisation": "identity"}, "without gates, not LSTM"),
        ({"cell": "lstm", "inputs": 3, "hidden": 3, "initialisation": "chrono"}, "longest >= 3, not LSTM, None"),
        ({"cell": "relu", "inputs": 3, "hidden": 3, "initialisation": "chrono", "longest": 9}, "not ReLURNN, 9"),
        ({"cell": "mingru", "inputs": 3, "hidden": 3, "forget_bias": 1.0}, "forget_bias is for LSTM, not MinGRU"),
        ({"cell": "mingru", "inputs": 3, "hidden": 3, "weight_dropout": 0.5}, "with a recurrent matrix, not MinGRU"),
        *(
            (
                {"cell": "minlstm", "inputs": 3, "hidden": 3, "initialisation": how, "longest": 9},
                f"initialisation '{how}' is for cells with a recurrent matrix, not MinLSTM",
            )
            for how in ("orthogonal", "identity", "chrono")
        ),
    ],
)
def test_layer_names_the_bad_argument(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentLayer(**arguments)
