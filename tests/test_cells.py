"""Every cell of the registry against its torch.nn twin, a numerical gradient, and its own definition."""

import pytest
import torch
from torch import Tensor, nn

from unrolled.bptt import LayerWeights, unroll
from unrolled.nets.cells import CELLS, RecurrentLayer, find_cell

T, B, E, H = 6, 3, 5, 4


def twin_of(layer: RecurrentLayer, cell: str) -> nn.RNNBase:
    """The torch layer with the same weights; its second bias is zero but for the GRU's candidate."""
    inputs, hidden = layer.weight_ih.shape[1], layer.hidden
    twins = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    twin = nn.RNN(inputs, hidden, nonlinearity="relu") if cell == "relu" else twins[cell](inputs, hidden)
    twin = twin.to(layer.weight_ih.dtype)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(layer.weight_ih)
        twin.weight_hh_l0.copy_(layer.weight_hh)
        twin.bias_ih_l0.copy_(layer.bias)
        twin.bias_hh_l0.zero_()
        if layer.bias_hh is not None:
            twin.bias_hh_l0[-hidden:] = layer.bias_hh
    return twin


def run_twin(twin: nn.RNNBase, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    outputs, final = twin(inputs, tuple(part[None] for part in state) if len(state) > 1 else state[0][None])
    return outputs, tuple(part[0] for part in (final if isinstance(final, tuple) else (final,)))


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


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_adjoint_is_the_numerical_gradient(cell: str, reverse: bool) -> None:
    layer, inputs, state = example(cell, torch.float64, reverse)

    def forward(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        owned = 3 if layer.bias_hh is None else 4
        outputs, final = unroll(layer.cell, inputs, LayerWeights(*rest[:owned]), rest[owned:], reverse=reverse)
        return outputs, *final

    assert torch.autograd.gradcheck(forward, (inputs, *layer.parameters(), *state))


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "rnn", "inputs": 0, "hidden": 3}, "inputs must be at least 1, not 0"),
        ({"cell": "rnn", "inputs": 3, "hidden": -1}, "hidden must be at least 1, not -1"),
        ({"cell": "gru", "inputs": 3, "hidden": 3, "forget_bias": 1.0}, "forget_bias is for cell 'lstm', not 'gru'"),
    ],
)
def test_layer_names_the_bad_argument(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentLayer(**arguments)
