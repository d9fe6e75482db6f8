"""The engine: time, profiles, addends. Every cell of the registry runs through each invariance."""

import pytest
import torch
from torch import Tensor

from examples import B, E, H, T, example
from unrolled.recurrence.bptt import unroll
from unrolled.recurrence.cells import CELLS, LayerWeights
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile, lag_profile


def step_by_step(
    layer: RecurrentLayer, inputs: Tensor, state: tuple[Tensor, ...], copies: list[LayerWeights]
) -> list[Tensor]:
    """Hidden states by windows of one step, each with its own copy of the weights: plain autograd between them."""
    hidden = []
    for t in range(len(inputs)):
        _, state = unroll(layer.cell, inputs[t : t + 1], copies[t], state)
        state[0].retain_grad()
        hidden.append(state[0])
    return hidden


def copies_of(layer: RecurrentLayer) -> list[LayerWeights]:
    def copy(weight: Tensor | None) -> Tensor | None:
        return None if weight is None else weight.detach().clone().requires_grad_()

    owned = (layer.weight_ih, layer.weight_hh, layer.bias, layer.bias_hh)
    return [LayerWeights(*map(copy, owned)) for _ in range(T)]


@pytest.mark.parametrize("cell", CELLS)
def test_profile_is_the_retained_gradient_of_an_unrolled_net(cell: str) -> None:
    layer, inputs, state = example(cell)
    target = torch.randn(T, B, H, dtype=torch.float64)
    profile = Profile()
    outputs, _ = layer(inputs, state, profile)
    (outputs * target).sum().backward()

    hidden = step_by_step(layer, inputs, state, copies_of(layer))
    (torch.stack(hidden) * target).sum().backward()
    expected = torch.stack([part.grad.norm() for part in hidden])
    torch.testing.assert_close(profile.norms["layer"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_weight_gradient_is_the_sum_of_addends_and_their_norms_are_reported(cell: str) -> None:
    layer, inputs, state = example(cell)
    profile = Profile(addends_wanted=True)
    layer(inputs, state, profile)[0].square().sum().backward()

    copies = copies_of(layer)
    torch.stack(step_by_step(layer, inputs, state, copies)).square().sum().backward()
    addends = profile.addends["layer"]
    for name, norms, whole in (
        ("weight_ih", addends.weight_ih, addends.sum_ih),
        ("weight_hh", addends.weight_hh, addends.sum_hh),
    ):
        parts = [getattr(copy, name).grad for copy in copies]
        gradient = getattr(layer, name).grad
        torch.testing.assert_close(gradient, torch.stack(parts).sum(0), rtol=1e-10, atol=1e-12)
        if not len(gradient):  # a cell without a recurrent matrix: nothing is added, so there is no norm of it
            assert not len(norms)
            continue
        torch.testing.assert_close(norms, torch.stack([part.norm() for part in parts]), rtol=1e-9, atol=1e-12)
        assert whole.item() == pytest.approx(gradient.norm().item(), rel=1e-12)


def test_a_huge_gradient_and_its_addends_have_norms() -> None:
    """A finite gradient of norm 1e20 has squares beyond float32: an unclipped network's may be so."""
    layer, inputs, state = example("relu")
    outputs, _ = layer.float()(inputs.float(), tuple(each.float() for each in state), profile := Profile(True))
    (outputs * 1e20).sum().backward()
    found = [*profile.addends["layer"], profile.norms["layer"]]
    assert all(part.isfinite().all() and part.max() > 1e19 for part in found)


@pytest.mark.parametrize("cell", CELLS)
def test_lag_profile_counts_back_from_the_last_step_in_both_directions(cell: str) -> None:
    layer, inputs, state = example(cell)
    hidden = step_by_step(layer, inputs, state, copies_of(layer))
    hidden[-1].sum().backward()
    expected = torch.stack([part.grad.norm() for part in reversed(hidden)])

    forward = lag_profile(lambda profile: layer(inputs, state, profile)[0][-1].sum(), layer.parameters())
    torch.testing.assert_close(forward["layer"], expected, rtol=1e-12, atol=0)
    assert all(parameter.grad is None for parameter in layer.parameters())

    layer.reverse = True
    backward = lag_profile(lambda profile: layer(inputs.flip(0), state, profile)[0][0].sum(), layer.parameters())
    torch.testing.assert_close(backward["layer"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("cut", [1, 3, T - 1])
@pytest.mark.parametrize("cell", CELLS)
def test_two_windows_with_carried_state_are_one_long_window(cell: str, cut: int) -> None:
    layer, inputs, state = example(cell)
    whole, final = layer(inputs, state)
    first, carried = layer(inputs[:cut], state)
    second, last = layer(inputs[cut:], carried)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(last, final, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    weights = list(layer.parameters())
    joined = torch.autograd.grad((torch.cat((first, second)) * whole.detach()).sum(), weights)
    at_once = torch.autograd.grad((whole * whole.detach()).sum(), weights)
    torch.testing.assert_close(joined, at_once, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_reverse_is_the_flipped_window(cell: str) -> None:
    layer, inputs, state = example(cell)
    weight = torch.randn(T, B, H, dtype=torch.float64)
    profiles = Profile(), Profile()
    forward, final = layer(inputs.flip(0), state, profiles[0])
    (forward * weight.flip(0)).sum().backward()
    gradients = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    layer.reverse = True
    backward, last = layer(inputs, state, profiles[1])
    (backward * weight).sum().backward()
    ours = [backward.flip(0), *last, *(parameter.grad for parameter in layer.parameters())]
    torch.testing.assert_close(ours, [forward, *final, *gradients], rtol=1e-12, atol=1e-13)
    norms = [profile.norms["layer"] for profile in profiles]
    torch.testing.assert_close(norms[1].flip(0), norms[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_without_gradients_the_same_numbers_and_no_graph(cell: str) -> None:
    layer, inputs, state = example(cell)
    outputs, _ = layer(inputs, state)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            plain, _ = layer(inputs, state)
        assert plain.grad_fn is None
        assert torch.equal(plain, outputs.detach())


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_written_into_are_refused_never_a_wrong_gradient(cell: str) -> None:
    layer, inputs, state = example(cell)
    outputs, final = layer(inputs, state)
    expected = torch.autograd.grad(outputs.sum(), layer.weight_hh, retain_graph=True)[0]
    with torch.no_grad():
        final[0].mul_(0)
    assert torch.equal(torch.autograd.grad(outputs.sum(), layer.weight_hh, retain_graph=True)[0], expected)
    with torch.no_grad():
        outputs.mul_(0)
    with pytest.raises(RuntimeError, match="modified"):
        outputs.sum().backward()


@pytest.mark.parametrize("cell", CELLS)
def test_a_second_backward_pass_repeats_the_first_though_their_room_is_shared(cell: str) -> None:
    layer, inputs, state = example(cell)
    below = RecurrentLayer(cell, E, E).double()
    hidden, _ = below(inputs, tuple(torch.zeros(B, E, dtype=torch.float64) for _ in state))
    outputs, _ = layer(hidden, state)
    owned = [*layer.parameters(), *below.parameters()]
    first = torch.autograd.grad(outputs.square().sum(), owned, retain_graph=True)
    copies = [gradient.clone() for gradient in first]
    second = torch.autograd.grad(outputs.square().sum(), owned)
    assert all(torch.equal(*pair) for pair in zip((*first, *second), copies * 2, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_same_inputs_give_the_same_bytes(cell: str) -> None:
    def run() -> list[bytes]:
        layer, inputs, state = example(cell)
        layer, profile = layer.float(), Profile(addends_wanted=True)
        outputs, _ = layer(inputs.float(), tuple(part.float() for part in state), profile)
        outputs.square().sum().backward()
        tensors = [outputs.detach(), profile.norms["layer"], *profile.addends["layer"]]
        return [part.numpy().tobytes() for part in (*tensors, *(p.grad for p in layer.parameters()))]

    assert run() == run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.zeros(B, E)}, r"inputs must be \[T, B, 5\].*not \[3, 5\]"),
        ({"inputs": torch.zeros(0, B, E)}, r"inputs.*not \[0, 3, 5\]"),
        ({"inputs": torch.zeros(T, B, E + 1)}, r"inputs must be \[T, B, 5\].*not \[7, 3, 6\]"),
        ({"inputs": torch.zeros(T, B, E, dtype=torch.float64)}, "inputs must be torch.float32.*not torch.float64"),
        ({"state": (torch.zeros(B, H),)}, r"state must have 2 part\(s\), not 1"),
        ({"state": (torch.zeros(B, H), torch.zeros(B + 1, H))}, r"state\[1\] must be \[3, 4\].*not \[4, 4\]"),
        ({"state": (torch.zeros(B, H).half(), torch.zeros(B, H))}, r"state\[0\] must be torch.float32.*float16"),
        ({"lengths": torch.ones(B)}, r"lengths must be int64 \[3\], not torch.float32 \[3\]"),
        ({"lengths": torch.ones(T, dtype=torch.int64)}, r"lengths must be int64 \[3\], not torch.int64 \[7\]"),
        ({"lengths": torch.tensor([1, 0, 7])}, "lengths must be between 1 and 7, .* not 0"),
        ({"lengths": torch.tensor([1, 8, 7])}, "lengths must be between 1 and 7, .* not 8"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(change: dict[str, object], message: str) -> None:
    state = torch.zeros(B, H), torch.zeros(B, H)
    with pytest.raises(ValueError, match=message) as error:
        RecurrentLayer("lstm", E, H)(**{"inputs": torch.zeros(T, B, E), "state": state, **change})
    assert "\n" not in str(error.value)


def test_half_precision_on_the_cpu_is_named() -> None:
    layer = RecurrentLayer("rnn", E, H).to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"float32 or float64 on the CPU, not torch\.bfloat16"):
        layer(torch.zeros(T, B, E, dtype=torch.bfloat16), layer.initial_state(B))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("lengths", [None, [4, T, 1]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_cuda_device_gives_the_same_numbers(cell: str, reverse: bool, lengths: list[int] | None) -> None:
    found = []
    for device in ("cpu", "cuda"):
        layer, inputs, state = example(cell, reverse)
        layer, inputs = layer.to(device), inputs.to(device)
        profile = Profile(addends_wanted=True)
        each = None if lengths is None else torch.tensor(lengths, device=device)
        outputs, final = layer(inputs, tuple(part.to(device) for part in state), profile, each)
        (outputs.square().sum() + sum(part.square().sum() for part in final)).backward()
        parts = [outputs, *final, *(each.grad for each in layer.parameters()), profile.norms["layer"]]
        found.append([part.detach().cpu() for part in (*parts, *profile.addends["layer"])])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)
