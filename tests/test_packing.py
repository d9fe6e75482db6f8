"""Columns of different lengths: as torch's PackedSequence, and as if each column ran alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twins import run_packed_twin, twin_of
from unrolled.recurrence.bptt import unroll
from unrolled.recurrence.cells import CELLS, LayerWeights
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.packing import pack
from unrolled.recurrence.profile import Profile

T, E, H = 6, 5, 7
CPU = torch.device("cpu")
PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 2e-5)]  # step by step, compiled
LENGTHS = [[3, 6, 1, 6, 4], [5, 2, 2, 1, 4], [6, 5, 3, 2, 1]]
any_lengths = st.lists(st.integers(1, T), min_size=1, max_size=9)


def example(
    cell: str, dtype: torch.dtype, reverse: bool, columns: int, features: int = E, hidden: int = H
) -> tuple[RecurrentLayer, Tensor, tuple[Tensor, ...], list[Tensor]]:
    """A layer, inputs [T, B, E], a state, and a weight of their own for each output and each final state."""
    torch.manual_seed(3)
    layer = RecurrentLayer(cell, features, hidden, reverse=reverse).to(dtype)
    state = tuple(torch.randn(columns, hidden).to(dtype).requires_grad_() for _ in range(layer.cell.states))
    inputs = torch.randn(T, columns, features).to(dtype).requires_grad_()
    weights = [torch.randn(T, columns, hidden).to(dtype), *(torch.randn(columns, hidden).to(dtype) for _ in state)]
    return layer, inputs, state, weights


def live(lengths: Tensor) -> Tensor:
    """[T, B]: true where there is a token."""
    return torch.arange(T)[:, None] < lengths


def test_the_picture_in_the_module_is_right() -> None:
    forward, backward = (pack(3, 3, torch.tensor([2, 3, 1]), reverse, CPU) for reverse in (False, True))
    assert forward.counts == [3, 2, 1] and forward.offsets.tolist() == [0, 3, 5, 6]
    assert ["xyz"[column] for column in forward.order] == ["y", "x", "z"]
    tokens = ["adgbe..f."[row] for row in forward.read]
    assert tokens == ["d", "a", "g", "e", "b", "f"]
    states = ["y0", "x0", "z0", "y1", "x1", "z1", "y2", "x2", "y3"]
    assert [tokens[place] for place in forward.first] == [tokens[place] for place in backward.last] == ["a", "d", "g"]
    assert [tokens[place] for place in forward.last] == [tokens[place] for place in backward.first] == ["b", "f", "g"]
    for field, opposite, expected in (
        ("initial", "final", ["x0", "y0", "z0"]),
        ("final", "initial", ["x2", "y3", "z1"]),
        ("before", "after", ["y0", "x0", "z0", "y1", "x1", "y2"]),
        ("after", "before", ["y1", "x1", "z1", "y2", "x2", "y3"]),
    ):
        assert [states[place] for place in getattr(forward, field)] == expected
        assert [states[place] for place in getattr(backward, opposite)] == expected


def test_packing_leaves_the_padding_out_and_comes_back_with_zeros() -> None:
    packing = pack(3, 3, torch.tensor([2, 3, 1]), False, CPU)
    window = torch.arange(1.0, 10)
    packed = packing.packed(window.view(3, 3, 1))
    assert packed[:, 0].tolist() == [2, 1, 3, 5, 4, 8]
    assert packing.padded(packed)[..., 0].tolist() == [[1, 2, 3], [4, 5, 0], [0, 8, 0]]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_torch_on_a_packed_sequence_in_outputs_and_all_gradients(
    cell: str, dtype: torch.dtype, tolerance: float, reverse: bool, lengths: list[int]
) -> None:
    each = torch.tensor(lengths)
    layer, inputs, state, weights = example(cell, dtype, reverse, len(lengths))
    twin = twin_of(layer, cell)
    outputs, final = layer(inputs, state, lengths=each)
    twin_outputs, twin_final = run_packed_twin(twin, inputs, state, each, reverse)
    ours, theirs = [outputs, *final], [twin_outputs, *twin_final]
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)

    gradients = torch.autograd.grad(ours, [inputs, *state, *layer.parameters()], weights)
    parameters = [twin.weight_ih_l0, twin.weight_hh_l0, twin.bias_ih_l0]
    parameters += [] if layer.bias_hh is None else [twin.bias_hh_l0]
    expected = torch.autograd.grad(theirs, [inputs, *state, *parameters], weights)
    for gradient, reference in zip(gradients, expected, strict=True):
        part = reference[-len(gradient) :]  # of torch's second bias only the candidate's is ours
        torch.testing.assert_close(gradient, part, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_is_the_numerical_one(cell: str, reverse: bool) -> None:
    layer, inputs, state, _ = example(cell, torch.float64, reverse, 3, features=2, hidden=3)
    lengths = torch.tensor([2, 4, 1])

    def forward(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        owned = len(list(layer.parameters()))
        weights = LayerWeights(*rest[:owned])
        outputs, final = unroll(layer.cell, inputs, weights, rest[owned:], reverse=reverse, lengths=lengths)
        return outputs, *final

    # Along one direction drawn at random, in which every entry has its part: each by itself takes ten times as long.
    assert torch.autograd.gradcheck(forward, (inputs, *layer.parameters(), *state), fast_mode=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=15)
@given(lengths=any_lengths)
def test_each_column_is_as_if_it_ran_alone(
    cell: str, dtype: torch.dtype, tolerance: float, reverse: bool, lengths: list[int]
) -> None:
    layer, inputs, state, weights = example(cell, dtype, reverse, len(lengths))
    read, profile = [inputs, *state, *layer.parameters()], Profile()
    outputs, final = layer(inputs, state, profile, torch.tensor(lengths))
    gradients = torch.autograd.grad([outputs, *final], read, weights)

    every, given_back, profiles = [], [], [Profile() for _ in lengths]
    for column, length in enumerate(lengths):
        one = slice(column, column + 1)
        alone, last = layer(inputs[:length, one], tuple(part[one] for part in state), profiles[column])
        torch.testing.assert_close(outputs[:length, one], alone, rtol=tolerance, atol=tolerance)
        assert not outputs[length:, column].any()
        for mine, other in zip(final, last, strict=True):
            torch.testing.assert_close(mine[one], other, rtol=tolerance, atol=tolerance)
        every += [alone, *last]
        given_back += [weights[0][:length, one], *(weight[one] for weight in weights[1:])]
    expected = torch.autograd.grad(every, read, given_back)
    squares = torch.zeros(T, dtype=torch.float64)
    for own, length in zip(profiles, lengths, strict=True):
        squares[:length] += own.norms[layer.name].double() ** 2
    torch.testing.assert_close(gradients, expected, rtol=10 * tolerance, atol=10 * tolerance)
    torch.testing.assert_close(profile.norms[layer.name].double(), squares.sqrt(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=15)
@given(lengths=any_lengths, data=st.data())
def test_the_order_of_the_columns_does_not_matter(
    cell: str, dtype: torch.dtype, tolerance: float, reverse: bool, lengths: list[int], data: st.DataObject
) -> None:
    shuffled = torch.tensor(data.draw(st.permutations(range(len(lengths)))))
    layer, inputs, state, weights = example(cell, dtype, reverse, len(lengths))
    each, parameters = torch.tensor(lengths), list(layer.parameters())
    outputs, final = layer(inputs, state, lengths=each)
    gradients = torch.autograd.grad([outputs, *final], [*parameters, inputs, *state], weights)
    moved, last = layer(inputs[:, shuffled], tuple(part[shuffled] for part in state), lengths=each[shuffled])
    moved_weights = [weights[0][:, shuffled], *(weight[shuffled] for weight in weights[1:])]
    again = torch.autograd.grad([moved, *last], [*parameters, inputs, *state], moved_weights)
    torch.testing.assert_close(moved, outputs[:, shuffled], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(last, tuple(part[shuffled] for part in final), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(again, gradients, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=15)
@given(lengths=any_lengths, padding=st.sampled_from([0.0, 1e30, float("inf"), float("nan")]))
def test_what_stands_in_the_padding_changes_no_bit_and_its_gradient_is_zero(
    cell: str, dtype: torch.dtype, reverse: bool, lengths: list[int], padding: float
) -> None:
    layer, inputs, state, weights = example(cell, dtype, reverse, len(lengths))
    each = torch.tensor(lengths)
    other = inputs.detach().masked_fill(~live(each)[..., None], padding).requires_grad_()
    found = []
    for read in (inputs, other):
        outputs, final = layer(read, state, profile := Profile(addends_wanted=True), each)
        gradients = torch.autograd.grad([outputs, *final], [read, *state, *layer.parameters()], weights)
        assert not gradients[0][~live(each)].any()
        found.append([outputs, *final, *gradients, profile.norms[layer.name], *profile.addends[layer.name]])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_profile_and_addends_are_those_of_a_whole_window_whose_loss_leaves_the_padding_out(
    cell: str, dtype: torch.dtype, tolerance: float
) -> None:
    lengths = torch.tensor(LENGTHS[1])
    layer, inputs, state, (weight, *_) = example(cell, dtype, False, len(lengths))
    padded, whole = Profile(addends_wanted=True), Profile(addends_wanted=True)
    (layer(inputs, state, padded, lengths)[0] * weight).sum().backward()
    (layer(inputs, state, whole)[0] * weight * live(lengths)[..., None]).sum().backward()
    for ours, theirs in (
        (padded.norms[layer.name], whole.norms[layer.name]),
        *zip(padded.addends[layer.name], whole.addends[layer.name], strict=True),
    ):
        torch.testing.assert_close(ours, theirs, rtol=10 * tolerance, atol=tolerance)
    addends = padded.addends[layer.name]
    assert padded.norms[layer.name][5] == addends.weight_ih[5] == 0 and not addends.weight_hh[5:].any()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cell", CELLS)
def test_columns_that_all_fill_the_window_give_the_bytes_of_no_lengths(
    cell: str, dtype: torch.dtype, reverse: bool
) -> None:
    layer, inputs, state, weights = example(cell, dtype, reverse, 3)
    found = []
    for lengths in (None, torch.full((3,), T)):
        outputs, final = layer(inputs, state, lengths=lengths)
        found.append([outputs, *final, *torch.autograd.grad([outputs, *final], [inputs, *layer.parameters()], weights)])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cell", CELLS)
def test_without_gradients_the_same_numbers_and_no_graph(cell: str, dtype: torch.dtype) -> None:
    layer, inputs, state, _ = example(cell, dtype, True, 5)
    lengths = torch.tensor(LENGTHS[0])
    outputs, final = layer(inputs, state, lengths=lengths)
    with torch.inference_mode():
        plain, last = layer(inputs, state, lengths=lengths)
    assert plain.grad_fn is None
    assert all(torch.equal(*pair) for pair in zip((plain, *last), (outputs.detach(), *final), strict=True))
