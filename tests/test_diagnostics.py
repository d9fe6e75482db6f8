"""What an epoch's end measures: where the gradient goes, without a trace in the training."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from examples import network, task_of, tokens
from miniature import arm_of, split_of
from unrolled.recurrence.profile import lag_profile
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.windows import windows
from unrolled.training.diagnostics import addends
from unrolled.training.training import Options, Training


def training_of(net: Network, **changes: Any) -> Training:
    return Training(task_of(**changes), net, Options.of(arm_of("lstm-clipped-1")["train"]), torch.Generator())


def test_the_lag_profile_of_a_linear_recurrence_is_a_power() -> None:
    """A ReLU network kept positive with W_hh = a I and no input is linear: ||dL/dh_{T-k}|| = a^k ||dL/dh_T||."""
    net, a = network(bidirectional=True, layers=1, cell="relu"), 0.9
    for stack in net.stacks.values():
        (layer,) = stack.layers
        layer.weight_hh.data = a * torch.eye(6)
        layer.weight_ih.data.zero_()
        layer.bias.data.fill_(1.0)
    task, split = task_of(columns=3), split_of(tokens(90))
    profiles = lag_profile(lambda profile: task.single_loss(net, split, 12, profile), net.parameters())
    assert set(profiles) == {"forward.0", "backward.0"}
    for norms in profiles.values():
        assert len(norms) == 12
        assert (norms / norms[0]).tolist() == pytest.approx([a**k for k in range(12)], rel=1e-4)


def copied_at_every_step(
    net: Network, stack: str, read: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    """A tanh stack written out in plain autograd, each time step with copies of the weights that are its own."""
    (layer,) = net.stacks[stack].layers
    copies = [
        {name: getattr(layer, name).detach().clone().requires_grad_() for name in ("weight_ih", "weight_hh")}
        for _ in read
    ]
    rows = [hidden] * len(read)
    for t in range(len(read)) if stack == "forward" else reversed(range(len(read))):
        drive = net.embedding(read[t]) @ copies[t]["weight_ih"].t() + layer.bias
        rows[t] = hidden = torch.tanh(drive + hidden @ copies[t]["weight_hh"].t())
    return torch.stack(rows), copies


@pytest.mark.parametrize("bidirectional", [False, True])
def test_addends_are_the_gradients_of_copies_of_the_weights_one_a_time_step(bidirectional: bool) -> None:
    """The mean loss of the second window, its heads averaged, its states those that the windows beside it leave."""
    net, split = network(bidirectional=bidirectional, layers=1, cell="rnn").double(), tokens(90)
    before, measured, behind = windows(split, columns=3, window=10)
    edge = {"forward": (before.left, -1), "backward": (behind.right, 0)}
    read = {"forward": measured.left, "backward": measured.right}
    heads, copies = {}, {}
    for stack in net.stacks:
        context, last = edge[stack]
        start, _ = copied_at_every_step(net, stack, context, torch.zeros(3, 6, dtype=torch.float64))
        heads[stack], copies[stack] = copied_at_every_step(net, stack, read[stack], start[last].detach())
    if bidirectional:
        heads["joined"] = torch.tanh(net.join(torch.cat([heads["forward"], heads["backward"]], -1)))
    target = measured.target.flatten()
    of_heads = [cross_entropy(net.logits(hidden).flatten(0, 1), target) for hidden in heads.values()]
    torch.stack(of_heads).mean().backward()
    found = addends(training_of(net, columns=3), split_of(split))
    assert set(found) == {f"{stack}.0" for stack in copies}
    for stack, of_steps in copies.items():
        (ours,) = [each for name, each in found.items() if name.startswith(stack)]
        for name, norms, whole in (
            ("weight_ih", ours.weight_ih, ours.sum_ih),
            ("weight_hh", ours.weight_hh, ours.sum_hh),
        ):
            gradients = torch.stack([each[name].grad for each in of_steps])
            assert norms.tolist() == pytest.approx(gradients.flatten(1).norm(dim=1).tolist(), rel=1e-9)
            assert whole.item() == pytest.approx(gradients.sum(0).norm().item(), rel=1e-9)


def test_measuring_addends_leaves_no_trace() -> None:
    net, plain = network(bidirectional=True, dropout=0.5), network(bidirectional=True)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    random = torch.get_rng_state()
    found = addends(training_of(net, columns=2), split_of(tokens()))
    assert torch.equal(random, torch.get_rng_state())
    assert all((parameter.grad == 7).all() for parameter in net.parameters())
    for name, ours in addends(training_of(plain, columns=2), split_of(tokens())).items():
        assert all(torch.equal(*pair) for pair in zip(found[name], ours, strict=True)), "dropout was on"


def test_addends_of_a_text_shorter_than_two_windows() -> None:
    net = network(bidirectional=False, layers=1)
    (ours,) = addends(training_of(net, columns=2, window=35), split_of(tokens(21))).values()
    assert len(ours.weight_hh) == 10
