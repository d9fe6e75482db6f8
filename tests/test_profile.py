"""The profile of a layer that is called several times in one graph."""

import pytest
import torch
from torch import Tensor

from examples import B, E, H, T, example
from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile


def in_calls(
    layer: RecurrentLayer, inputs: Tensor, state: tuple[Tensor, ...], cuts: list[int], profile: Profile
) -> list[Tensor]:
    """The outputs of a window in several calls, of so many steps each from the left."""
    parts = list(inputs.split(cuts))
    for index in reversed(range(len(parts))) if layer.reverse else range(len(parts)):
        parts[index], state = layer(parts[index], state, profile)
    return parts


def loss(outputs: list[Tensor], counted: range) -> Tensor:
    """Of the counted time steps alone: a call that has none of them is not in the graph."""
    weight = torch.randn(T, B, H, generator=torch.Generator().manual_seed(6))
    terms, start = [], 0
    for part in outputs:
        steps = [t for t in range(start, start + len(part)) if t in counted]
        if steps:
            terms.append((part[steps[0] - start : steps[-1] + 1 - start] * weight[steps]).sum())
        start += len(part)
    return sum(terms, torch.zeros(()))


def assert_same_profile(ours: Profile, theirs: Profile, tolerance: float) -> None:
    assert ours.norms.keys() == theirs.norms.keys() == ours.addends.keys() == theirs.addends.keys()
    for name, norms in theirs.norms.items():
        pairs = [(ours.norms[name], norms), *zip(ours.addends[name], theirs.addends[name], strict=True)]
        for mine, other in pairs:
            torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("counted", [range(1), range(2, 4), range(T)])
@pytest.mark.parametrize("cuts", [[1] * T, [3, T - 3], [2, 1, T - 3]])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_profile_of_several_calls_is_that_of_one_call_over_the_window(
    cell: str, reverse: bool, dtype: torch.dtype, tolerance: float, cuts: list[int], counted: range
) -> None:
    layer, inputs, state = example(cell, reverse)
    layer, inputs, state = layer.to(dtype), inputs.to(dtype), tuple(part.to(dtype) for part in state)
    once, often = Profile(addends_wanted=True), Profile(addends_wanted=True)
    for profile, calls in ((once, [T]), (often, cuts)):
        layer.zero_grad()
        loss(in_calls(layer, inputs, state, calls, profile), counted).backward()
        whole = layer.weight_ih.grad.norm().item(), layer.weight_hh.grad.norm().item()
        sums = profile.addends[layer.name].sum_ih.item(), profile.addends[layer.name].sum_hh.item()
        assert sums == pytest.approx(whole, rel=1e-5)
    assert_same_profile(often, once, tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_the_profile_of_a_layer_on_two_branches_is_one_branch_after_the_other(cell: str) -> None:
    layer, inputs, state = example(cell)
    inputs = inputs, torch.randn(4, B, E, dtype=torch.float64)
    both, alone = Profile(addends_wanted=True), [Profile(addends_wanted=True) for _ in inputs]
    sum(layer(branch, state, both)[0].square().sum() for branch in inputs).backward()
    gradients = layer.weight_ih.grad.norm().item(), layer.weight_hh.grad.norm().item()
    for branch, profile in zip(inputs, alone, strict=True):
        layer(branch, state, profile)[0].square().sum().backward()
    assert torch.equal(both.norms[layer.name], torch.cat([each.norms[layer.name] for each in alone]))
    addends, each = both.addends[layer.name], [profile.addends[layer.name] for profile in alone]
    assert torch.equal(addends.weight_ih, torch.cat([one.weight_ih for one in each]))
    assert torch.equal(addends.weight_hh, torch.cat([one.weight_hh for one in each]))
    assert (addends.sum_ih.item(), addends.sum_hh.item()) == pytest.approx(gradients, rel=1e-12)


def test_a_profile_is_of_the_latest_backward_pass_whichever_calls_it_reaches() -> None:
    layer, inputs, state = example("lstm")
    profile, fresh = Profile(addends_wanted=True), Profile(addends_wanted=True)
    outputs = in_calls(layer, inputs, state, [1] * T, profile)
    loss(outputs, range(1)).backward(retain_graph=True)
    loss(outputs, range(4)).backward()
    loss([layer(inputs, state, fresh)[0]], range(4)).backward()
    assert_same_profile(profile, fresh, 1e-10)


def test_layers_of_one_name_or_both_directions_are_refused_by_a_profile() -> None:
    layer, inputs, state = example("rnn")
    layer(inputs, state, profile := Profile())
    with pytest.raises(ValueError, match="a name of its own, and two are called 'layer'"):
        example("rnn")[0](inputs, state, profile)
    layer.reverse = True
    with pytest.raises(ValueError, match="a name of its own, and two are called 'layer'"):
        layer(inputs, state, profile)
