"""The loss and the scores: every token once, whatever the window, and the sums of a definition written out."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from unrolled.corpus.streams import windows
from unrolled.nets.network import Network
from unrolled.tasks.language_model import (
    addends,
    lag_profiles,
    loss,
    predictions,
    reset_nats,
    state_from_the_right,
    total_nats,
)

V, EOS = 13, 1


def network(*, bidirectional: bool, layers: int = 2, cell: str = "lstm", dropout: float = 0.0) -> Network:
    return Network(
        V,
        cell=cell,
        bidirectional=bidirectional,
        embedding=6,
        hidden=6,
        layers=layers,
        dropout=dropout,
        tied=False,
        generator=torch.Generator().manual_seed(0),
    )


def tokens(length: int = 101) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, length).astype(np.uint16)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_scores_do_not_depend_on_the_window(bidirectional: bool) -> None:
    net, split = network(bidirectional=bidirectional), tokens()
    whole = total_nats(net, split, window=len(split), eos=EOS)
    assert set(whole) == ({"forward", "backward", "joined"} if bidirectional else {"forward"})
    for window in (1, 2, 7, 50, 100, 1000):
        again = total_nats(net, split, window=window, eos=EOS)
        for head, sums in whole.items():
            assert again[head].tokens == sums.tokens == len(split)
            assert again[head].nats == pytest.approx(sums.nats, rel=1e-5)


def test_the_definition_written_out() -> None:
    """-log p(w_t | w_<t) from a fresh reading of the whole prefix for every single token."""
    net, split = network(bidirectional=False), tokens(20)
    stream = [EOS, *split.tolist()]
    nats = []
    for t in range(len(split)):
        prefix = torch.tensor(stream[: t + 1])[:, None]
        hidden, _ = net.hidden(prefix, prefix, net.initial_state(1))
        nats.append(cross_entropy(net.logits(hidden["forward"][-1]), torch.tensor([stream[t + 1]])).item())
    scored = torch.cat([each.nats("forward") for each in predictions(net, split, window=7, eos=EOS)])
    assert scored.tolist() == pytest.approx(nats, rel=1e-5)


def test_a_backward_head_scores_the_mirrored_text_as_a_forward_one() -> None:
    net, split = network(bidirectional=True), tokens(40)
    mirrored = network(bidirectional=False)
    mirrored.load_state_dict(
        {
            name.replace("backward_stack", "forward_stack"): value
            for name, value in net.state_dict().items()
            if "forward_stack" not in name and "join" not in name
        }
    )
    backward = torch.cat([each.nats("backward") for each in predictions(net, split, window=9, eos=EOS)])
    flipped = np.ascontiguousarray(split[::-1])
    forward = torch.cat([each.nats("forward") for each in predictions(mirrored, flipped, window=40, eos=EOS)])
    assert backward.flip(0).tolist() == pytest.approx(forward.tolist(), rel=1e-4)


def test_the_probabilities_sum_to_one() -> None:
    for prediction in predictions(network(bidirectional=True), tokens(), window=30, eos=EOS):
        for log_probabilities in prediction.log_probabilities.values():
            assert log_probabilities.exp().sum(-1).tolist() == pytest.approx([1.0] * len(prediction.targets), rel=1e-5)


def test_an_untrained_network_with_zero_weights_is_uniform() -> None:
    net = network(bidirectional=True)
    for parameter in net.parameters():
        parameter.data.zero_()
    for sums in total_nats(net, tokens(), window=10, eos=EOS).values():
        assert math.exp(sums.nats / sums.tokens) == pytest.approx(V)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_loss_of_one_column_is_the_score(bidirectional: bool) -> None:
    """Training's loss over one window that holds the whole split, and evaluation's sum over its heads."""
    net, split = network(bidirectional=bidirectional), tokens()
    (window,) = windows(split, columns=1, window=len(split), eos=EOS)
    nats, terms, _ = loss(net, window, net.initial_state(1))
    scored = total_nats(net, split, window=10, eos=EOS)
    assert terms == len(split) * len(scored)
    assert nats.item() == pytest.approx(sum(sums.nats for sums in scored.values()), rel=1e-5)


def test_the_state_from_the_right_is_the_window_ahead_read() -> None:
    net, split = network(bidirectional=True), tokens(40)
    _, second = windows(split, columns=2, window=10, eos=EOS)
    warm = state_from_the_right(net, second, 2)
    expected = net.read("backward", second.right, net.initial_state(2).backward)[1]
    for layer, other in zip(warm, expected, strict=True):
        for part, same in zip(layer, other, strict=True):
            assert torch.equal(part, same) and not part.requires_grad and part.abs().sum() > 0
    assert all(part.abs().sum() == 0 for layer in state_from_the_right(net, None, 2) for part in layer)


def test_a_broken_network_has_infinite_nats_not_nan() -> None:
    net = network(bidirectional=False)
    net.output_bias.data[3] = math.nan
    assert total_nats(net, tokens(), window=10, eos=EOS)["forward"].nats == math.inf


def test_the_lag_profile_of_a_linear_recurrence_is_a_power() -> None:
    """A ReLU network kept positive with W_hh = a I and no input is linear: ||dL/dh_{T-k}|| = a^k ||dL/dh_T||."""
    net, a = network(bidirectional=True, layers=1, cell="relu"), 0.9
    for stack in net.stacks.values():
        (layer,) = stack.layers
        layer.weight_hh.data = a * torch.eye(6)
        layer.weight_ih.data.zero_()
        layer.bias.data.fill_(1.0)
    for norms in lag_profiles(net, tokens(90), columns=3, steps=12, eos=EOS).values():
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
    before, measured, behind = windows(split, columns=3, window=10, eos=EOS)
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
    found = addends(net, split, columns=3, window=10, eos=EOS)
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
    found = addends(net, tokens(), columns=2, window=10, eos=EOS)
    assert torch.equal(random, torch.get_rng_state())
    assert all((parameter.grad == 7).all() for parameter in net.parameters())
    for name, ours in addends(plain, tokens(), columns=2, window=10, eos=EOS).items():
        assert all(torch.equal(*pair) for pair in zip(found[name], ours, strict=True)), "dropout was on"


def test_addends_of_a_text_shorter_than_two_windows() -> None:
    (ours,) = addends(network(bidirectional=False, layers=1), tokens(21), columns=2, window=35, eos=EOS).values()
    assert len(ours.weight_hh) == 5


@pytest.mark.parametrize("bidirectional", [False, True])
def test_started_anew_each_sentence_is_scored_as_if_it_stood_alone(bidirectional: bool) -> None:
    net = network(bidirectional=bidirectional)
    text = np.random.default_rng(4).integers(0, V, 211).astype(np.uint16)  # ends within a sentence
    expected, first = [], 0
    for end in [*(np.flatnonzero(text == EOS) + 1).tolist(), len(text)]:
        sentence = torch.from_numpy(text[first:end].astype(np.int64))
        left = torch.cat([torch.tensor([EOS]), sentence[:-1]])[: len(sentence), None]
        hidden, _ = net.read("forward", left, net.initial_state(1).forward) if len(left) else (torch.empty(0, 1, 6), ())
        expected.append(cross_entropy(net.logits(hidden[:, 0]), sentence, reduction="none"))
        first = end
    for columns, window in ((32, 16), (1, 1), (3, 100)):
        nats = reset_nats(net, text, eos=EOS, columns=columns, window=window)
        torch.testing.assert_close(nats, torch.cat(expected).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", [[EOS] * 5, [3, 4, 5], [3, EOS]])
def test_texts_without_a_sentences_end_or_of_nothing_else(text: list[int]) -> None:
    assert len(reset_nats(network(bidirectional=False), np.array(text, dtype=np.uint16), eos=EOS)) == len(text)
