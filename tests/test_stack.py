"""Stacks of each connection against the same written out with torch.nn layers and plain operations."""

from collections.abc import Callable
from copy import deepcopy
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from twins import run_twin, twin_of
from unrolled.ground.layers import PLACES
from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.dropout import DROPOUT_MASKS
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import CONNECTIONS, Stack, State

T, B, E, H, LAYERS = 5, 3, 4, 6, 3


class Twin:
    """The stack's definition, on copies of its weights."""

    def __init__(self, stack: Stack, cell: str) -> None:
        self.connection, self.reverse = stack.connection, stack.layers[0].reverse
        self.layers = [twin_of(layer, cell) for layer in stack.layers]
        self.gates = [deepcopy(gate) for gate in stack.gates]

    def parameters(self) -> list[nn.Parameter]:
        """In the stack's order; torch's second bias is our bias_hh where the cell has one."""
        used = [
            [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0]
            + ([layer.bias_hh_l0] if isinstance(layer, nn.GRU) else [])
            for layer in self.layers
        ]
        return list(chain(*used, *(gate.parameters() for gate in self.gates)))

    def __call__(
        self, inputs: Tensor, state: tuple[State, ...], masked: Callable[[Tensor], Tensor] = lambda values: values
    ) -> tuple[Tensor, tuple[State, ...]]:
        own, after, x = [], [], inputs
        for index, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            if self.connection == "dense":
                x = torch.cat([inputs, *own], dim=2)
            read = masked(x)
            y, final = run_twin(layer, read.flip(0) if self.reverse else read, before)
            y = y.flip(0) if self.reverse else y
            own.append(y)
            after.append(final)
            if self.connection == "residual" and index > 0:
                y = x + y
            if self.connection == "highway" and index > 0:
                gate = self.gates[index - 1]
                g = 1 / (1 + torch.exp(-(read @ gate.weight.T + gate.bias)))
                y = g * y + (1 - g) * x
            x = y
        return masked(x), tuple(after)


def example(
    cell: str, connection: str, *, reverse: bool = False, inputs: int = E, hidden: int = H, **options: object
) -> tuple[Stack, Tensor, tuple[State, ...]]:
    """A stack in float64, what it reads [T, B, inputs], and a state to start from."""
    torch.manual_seed(3)
    sizes = {"inputs": inputs, "hidden": hidden, "layers": LAYERS}
    stack = Stack("any", cell, **sizes, reverse=reverse, connection=connection, **options).double()
    parts = range(CELLS[cell].states)
    state = tuple(tuple(torch.randn(B, hidden).double().requires_grad_() for _ in parts) for _ in range(LAYERS))
    return stack, torch.randn(T, B, inputs, dtype=torch.float64, requires_grad=True), state


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_its_twin_in_outputs_and_all_gradients(cell: str, connection: str, reverse: bool) -> None:
    stack, inputs, state = example(cell, connection, reverse=reverse)
    twin = Twin(stack, cell)
    (outputs, after), (twin_outputs, twin_after) = stack(inputs, state), twin(inputs, state)
    ours, theirs = [outputs, *chain(*after)], [twin_outputs, *chain(*twin_after)]
    for value, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)

    weights = [torch.randn_like(value) for value in ours]  # so that every output and final state counts for itself
    read = [inputs, *chain(*state)]
    gradients = torch.autograd.grad(ours, [*read, *stack.parameters()], weights)
    references = torch.autograd.grad(theirs, [*read, *twin.parameters()], weights)
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference[-len(gradient) :], rtol=1e-10, atol=1e-10)  # bias_hh: its part


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_is_the_numerical_one(cell: str, connection: str) -> None:
    stack, inputs, state = example(cell, connection, inputs=2, hidden=2)

    def forward(inputs: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        outputs, after = stack(inputs, state)
        return outputs, *chain(*after)

    few = inputs[:3].detach().requires_grad_()
    # Along one direction drawn at random, in which every entry has its part: each by itself takes ten times as long.
    assert torch.autograd.gradcheck(forward, (few, *chain(*state), *stack.parameters()), fast_mode=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_profile_is_of_each_layers_own_state(cell: str, reverse: bool) -> None:
    """Of a residual stack, where h is not what a layer passes on: a step at a time, each h_t's gradient retained."""
    stack, inputs, state = example(cell, "residual", reverse=reverse)
    profile, weight = Profile(), torch.randn(T, B, H, dtype=torch.float64)
    (stack(inputs, state, profile=profile)[0] * weight).sum().backward()

    layers, now = Twin(stack, cell).layers, list(state)
    kept: dict[str, list[Tensor]] = {layer.name: [torch.empty(0)] * T for layer in stack.layers}
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(T - 1, -1, -1) if reverse else range(T):
        passed = inputs[t]
        for index, layer in enumerate(layers):
            _, now[index] = run_twin(layer, passed[None], now[index])
            hidden = now[index][0]
            hidden.retain_grad()
            kept[f"any.{index}"][t] = hidden
            passed = hidden if index == 0 else passed + hidden
        loss = loss + (passed * weight[t]).sum()
    loss.backward()
    assert set(profile.norms) == set(kept)
    for layer_name, rows in kept.items():
        expected = torch.stack([hidden.grad.norm() for hidden in rows])
        torch.testing.assert_close(profile.norms[layer_name], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_columns_of_different_lengths_are_as_if_each_ran_alone(cell: str, connection: str, reverse: bool) -> None:
    stack, inputs, state = example(cell, connection, reverse=reverse)
    lengths = [2, T, 1]
    read = [inputs, *chain(*state), *stack.parameters()]
    outputs, after = stack(inputs, state, lengths=torch.tensor(lengths))
    weights = [torch.randn_like(value) for value in (outputs, *chain(*after))]
    gradients = torch.autograd.grad([outputs, *chain(*after)], read, weights)
    every, parts = [], []
    for column, length in enumerate(lengths):
        one = slice(column, column + 1)
        alone, last = stack(inputs[:length, one], tuple(tuple(part[one] for part in layer) for layer in state))
        assert not outputs[length:, column].any()
        every += [alone, *chain(*last)]
        parts += [weights[0][:length, one], *(weight[one] for weight in weights[1:])]
        ours = [outputs[:length, one], *(part[one] for part in chain(*after))]
        torch.testing.assert_close(ours, every[-len(ours) :], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, torch.autograd.grad(every, read, parts), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", DROPOUT_MASKS)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_dropout_is_of_what_a_layer_reads_and_of_the_stacks_output(connection: str, mask: str, reverse: bool) -> None:
    """What a connection carries past a layer stays whole: the twin's masks are drawn anew, in the stack's order."""
    stack, inputs, state = example("lstm", connection, reverse=reverse, dropout=0.4, dropout_mask=mask)
    generator = torch.Generator().manual_seed(5)

    def masked(values: Tensor) -> Tensor:
        steps = 1 if mask == "window" else T
        return values * torch.empty(steps, *values.shape[1:]).double().bernoulli_(0.6, generator=generator) / 0.6

    expected, _ = Twin(stack, "lstm")(inputs, state, masked)
    outputs, _ = stack(inputs, state, torch.Generator().manual_seed(5))
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
    undropped, _ = stack(inputs, state)
    torch.testing.assert_close(undropped, Twin(stack, "lstm")(inputs, state)[0], rtol=1e-12, atol=1e-12)
    assert not torch.equal(outputs, undropped)


def test_dropout_by_place_drops_there_alone() -> None:
    """What the layers below the place make is bit by bit that of no dropout."""
    _, inputs, state = example("lstm", "plain")
    for place in PLACES:
        rates, masks = dict.fromkeys(PLACES, 0.0) | {place: 0.5}, dict.fromkeys(PLACES, "step") | {place: "window"}
        dropping, _, _ = example("lstm", "plain", dropout=rates, dropout_mask=masks)
        outputs, after = dropping(inputs, state, torch.Generator().manual_seed(1))
        whole, undropped = dropping(inputs, state)
        equal = [torch.equal(one[0], other[0]) for one, other in zip(after, undropped, strict=True)]
        assert equal == {"input": [False] * LAYERS, "between": [True, False, False], "output": [True] * LAYERS}[place]
        kept = (outputs != 0).any(0) if place == "output" else torch.ones(B, H, dtype=torch.bool)
        assert 0 < kept.sum() < B * H or place != "output"
        assert torch.equal(outputs, torch.where(kept, whole * 2, 0.0)) == (place == "output")
    everywhere = example("lstm", "plain", dropout=dict.fromkeys(PLACES, 0.3))[0](inputs, state, torch.Generator())[0]
    assert torch.equal(everywhere, example("lstm", "plain", dropout=0.3)[0](inputs, state, torch.Generator())[0])


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("dropout", {"input": 0.1}),
        ("dropout", dict.fromkeys(PLACES, 1.0)),
        ("dropout_mask", dict.fromkeys(PLACES, "any")),
    ],
)
def test_a_bad_dropout_by_place_is_refused(argument: str, given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=argument):
        Stack("any", "lstm", inputs=E, hidden=H, layers=1, **{argument: given})


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_of_sizes_of_their_own_equal_torchs_one_above_the_other(cell: str, reverse: bool) -> None:
    torch.manual_seed(2)
    stack = Stack("any", cell, inputs=E, hidden=[5, 7, 2], layers=3, reverse=reverse).double()
    inputs = torch.randn(T, B, E, dtype=torch.float64, requires_grad=True)
    (outputs, _), (expected, _) = (each(inputs, stack.initial_state(B)) for each in (stack, Twin(stack, cell)))
    assert outputs.shape == (T, B, 2) and [layer.hidden for layer in stack.layers] == [5, 7, 2]
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(outputs)
    ours, theirs = (torch.autograd.grad((each * weights).sum(), inputs) for each in (outputs, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("hidden", "connection"), [([4, 4], "plain"), ([4, 4, 5], "residual"), ([5, 4, 4], "dense")])
def test_sizes_that_do_not_go_with_the_layers_are_refused(hidden: list[int], connection: str) -> None:
    with pytest.raises(ValueError, match=r"hidden must be|one size"):
        Stack("any", "lstm", inputs=E, hidden=hidden, layers=3, connection=connection)


@pytest.mark.parametrize("cell", CELLS)
def test_a_highway_starts_close_to_carrying(cell: str) -> None:
    torch.manual_seed(1)
    stack = Stack("forward", cell, inputs=32, hidden=32, layers=2, connection="highway")
    inputs, (first, second) = torch.randn(20, 8, 32), stack.initial_state(8)
    with torch.no_grad():
        outputs, _ = stack(inputs, (first, second))
        below, _ = stack.layers[0](inputs, first)
        above, _ = stack.layers[1](below, second)
    moved = (outputs - below).norm() / (above - below).norm()  # 0: all carried, 1: nothing
    assert 0.05 < moved < 0.2
