"""Dynamic evaluation against its rule in plain autograd: what is scored when, by which weights, and what is left."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.dynamic_evaluation import (
    EPSILON,
    Dynamics,
    MeanSquares,
    adapted,
    choose_dynamics,
    dynamic_nats,
    mean_squares,
)
from unrolled.tasks.language_model.model.network import Network, States
from unrolled.tasks.language_model.model.predictions import predictions

V = 11


def network(*, bidirectional: bool = False, tied: bool = False, dropout: float = 0.0) -> Network:
    return Network(
        V,
        cell="lstm",
        bidirectional=bidirectional,
        embedding=6,
        hidden=6,
        layers=2,
        dropout=dropout,
        tied=tied,
        generator=torch.Generator().manual_seed(0),
    )


def tokens(length: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, length).astype(np.uint16)


def statistics(net: Network, segment: int = 7) -> MeanSquares:
    return mean_squares(net, tokens(300, seed=1), segment=segment, columns=4)


def parts(split: np.ndarray, segment: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What is read and what is predicted, [T, 1] each, a segment at a time."""
    stream = torch.from_numpy(np.concatenate([[END_ID], split]).astype(np.int64))[:, None]
    for start in range(0, len(split), segment):
        stop = min(start + segment, len(split))
        yield stream[start:stop], stream[start + 1 : stop + 1]


def by_hand(net: Network, split: np.ndarray, dynamics: Dynamics, squares: dict[str, Tensor] | None) -> list[float]:
    """Nats of each token, by `backward` and the formula on a copy, weight by weight."""
    home = {name: each.detach().clone() for name, each in net.named_parameters()}
    net = copy.deepcopy(net)
    roots = None if squares is None else {name: each.sqrt() for name, each in squares.items()}
    mean = 1.0 if roots is None else torch.cat([each.flatten() for each in roots.values()]).mean().item()
    state, nats = net.initial_state(1), []
    for read, target in parts(split, dynamics.segment):
        net.zero_grad()
        hidden, after = net.hidden(read, target, state)
        of_tokens = cross_entropy(net.logits(hidden["forward"][:, 0]), target[:, 0], reduction="none")
        of_tokens.mean().backward()
        nats += of_tokens.tolist()
        state = States(after.forward, state.backward).detach()
        with torch.no_grad():
            for name, each in net.named_parameters():
                if each.grad is not None:
                    root = torch.ones_like(each) if roots is None else roots[name]
                    epsilon = 0.0 if roots is None else EPSILON
                    pull = (dynamics.decay * root / mean).clamp(max=1) * (home[name] - each)
                    each += pull - dynamics.rate * each.grad / (root + epsilon)
    return nats


def named(net: Network, squares: MeanSquares) -> dict[str, Tensor]:
    names = {id(each): name for name, each in net.named_parameters()}
    return {names[id(each)]: square for each, square in zip(adapted(net), squares, strict=True)}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("with_squares", [False, True])
def test_standing_still_is_static_evaluation_exactly(bidirectional: bool, with_squares: bool) -> None:
    net, split = network(bidirectional=bidirectional, dropout=0.5), tokens()
    nats = dynamic_nats(net, split, Dynamics(7, 0, 0), squares=statistics(net) if with_squares else None)
    static = torch.cat([each.nats("forward") for each in predictions(net, split, window=7)])
    assert nats.dtype == np.float64
    assert nats.tolist() == static.tolist()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rms", [False, True])
def test_the_rule_written_out(bidirectional: bool, tied: bool, rms: bool) -> None:
    net, split = network(bidirectional=bidirectional, tied=tied).double(), tokens()
    squares = statistics(net) if rms else None
    dynamics = Dynamics(7, 3e-3 if rms else 0.5, 0.1)
    expected = by_hand(net, split, dynamics, named(net, squares) if squares else None)
    assert dynamic_nats(net, split, dynamics, squares=squares) == pytest.approx(np.array(expected), rel=1e-9)
    still = dynamic_nats(net, split, Dynamics(7, 0, 0), squares=None)
    assert (np.abs(still[7:] - expected[7:]) > 1e-6).all(), "the weights moved after the first segment"
    assert still[:7].tolist() == pytest.approx(expected[:7], rel=1e-9), "and not before"


def test_no_weight_goes_further_than_home() -> None:
    """Where decay RMS / mean(RMS) is above 1 the way back is whole, and not overshot."""
    net, split = network().double(), tokens()
    squares = statistics(net)
    roots = torch.cat([each.sqrt().flatten() for each in squares])
    assert (roots > 2 * roots.mean()).any() and (roots < roots.mean()).any()
    expected = by_hand(net, split, Dynamics(7, 3e-3, 1.0), named(net, squares))
    nats = dynamic_nats(net, split, Dynamics(7, 3e-3, 1.0), squares=squares)
    assert nats == pytest.approx(np.array(expected), rel=1e-9)


def test_mean_squares_are_those_of_segments_taken_one_by_one() -> None:
    net, text = network(bidirectional=True).double(), tokens(110, seed=1)
    columns = torch.from_numpy(text[:108].astype(np.int64)).view(4, 27).t()
    before = torch.cat([torch.tensor([END_ID]), torch.from_numpy(text.astype(np.int64))])[:108].view(4, 27).t()
    for segments, lengths in ((None, [10, 10, 7]), (2, [10, 10])):
        state, gradients = net.initial_state(4), []
        for index, length in enumerate(lengths):
            rows = slice(10 * index, 10 * index + length)
            hidden, after = net.hidden(before[rows], columns[rows], state)
            nats = cross_entropy(net.logits(hidden["forward"]).flatten(0, 1), columns[rows].flatten())
            gradients.append(torch.autograd.grad(nats, adapted(net)))
            state = States(after.forward, state.backward).detach()
        found = mean_squares(net, text, segment=10, columns=4, segments=segments)
        for ours, *each in zip(found, *gradients, strict=True):
            assert torch.allclose(ours, torch.stack(each).square().mean(0), rtol=1e-7, atol=1e-20)


def test_the_adapted_parameters_are_those_of_the_forward_head() -> None:
    for tied in (False, True):
        net = network(bidirectional=True, tied=tied)
        names = {id(each): name for name, each in net.named_parameters()}
        found = [names[id(each)] for each in adapted(net)]
        assert len(set(found)) == len(found)
        assert set(found) == {n for n in names.values() if not n.startswith(("backward_stack", "join"))}


def everything(net: Network) -> list[bytes]:
    grads = [each.grad for each in net.parameters()]
    tensors = [*net.state_dict().values(), *(each for each in grads if each is not None)]
    return [each.numpy().tobytes() for each in tensors]


@pytest.mark.parametrize("sparse", [False, True])
def test_the_network_is_left_as_it_was(sparse: bool) -> None:
    net = network(dropout=0.5)
    net.embedding.sparse = sparse  # as training leaves it
    for each in net.parameters():
        each.grad = torch.full_like(each, 7)
    before, random = everything(net), torch.get_rng_state()
    squares = statistics(net)
    dynamic_nats(net, tokens(), Dynamics(7, 1e-2, 0.1), squares=squares)
    choose_dynamics(net, tokens(), segment=7, rates=[1e-2], decays=[0.1], squares=None)
    broken = tokens()
    broken[40] = V  # outside the vocabulary: an error in the middle of the text
    for text_of in (
        lambda: dynamic_nats(net, broken, Dynamics(7, 1e-2, 0.1), squares=squares),
        lambda: mean_squares(net, broken, segment=7, columns=2),
    ):
        with pytest.raises((IndexError, RuntimeError)):
            text_of()
    assert everything(net) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert net.embedding.sparse == sparse and all(each.requires_grad for each in net.parameters())


@settings(max_examples=30)
@given(changed=st.integers(0, 39), segment=st.integers(1, 45))
def test_every_token_is_scored_before_it_is_seen(changed: int, segment: int) -> None:
    net, split = network(), tokens(40)
    dynamics = Dynamics(segment, 0.5, 0.05)
    before = dynamic_nats(net, split, dynamics, squares=None)
    other = split.copy()
    other[changed] = (other[changed] + 1) % V
    after = dynamic_nats(net, other, dynamics, squares=None)
    assert len(after) == len(split)
    assert after[:changed].tolist() == before[:changed].tolist()
    assert after[changed] != before[changed]


def test_it_is_deterministic_and_learns_a_text_that_repeats_itself() -> None:
    net, split = network(), np.tile(tokens(20), 10)
    squares = statistics(net)
    one, two = (dynamic_nats(net, split, Dynamics(5, 2e-2, 1e-3), squares=squares) for _ in range(2))
    assert one.tolist() == two.tolist()
    assert one[-20:].sum() < 0.9 * one[:20].sum()


def test_the_best_of_the_grid_is_chosen() -> None:
    net, split = network(), np.tile(tokens(20), 5)
    squares, rates, decays = statistics(net, 5), [1e-4, 1e-2, 10.0], [0.0, 0.5]
    grid = [Dynamics(5, rate, decay) for rate in rates for decay in decays]
    sums = {each: dynamic_nats(net, split, each, squares=squares).sum() for each in grid}
    chosen, nats = choose_dynamics(net, split, segment=5, rates=iter(rates), decays=iter(decays), squares=squares)
    assert nats == sums[chosen] == min(sums.values())
    assert chosen.rate == 1e-2, "too small a rate learns nothing, too large a one destroys the network"


def test_broken_and_idle_networks() -> None:
    net = network()
    net.output_bias.data[3] = math.nan
    assert (dynamic_nats(net, tokens(), Dynamics(7, 0.1, 0.1), squares=None) == math.inf).all()
    squares = [torch.zeros_like(each) for each in adapted(net)]
    still = dynamic_nats(network(), tokens(), Dynamics(7, 0, 0.1), squares=squares)
    assert np.isfinite(still).all(), "no gradient anywhere: nothing to measure the decay against"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ((0, 0.1, 0.1), "at least 1 token, not 0"),
        ((5, -0.1, 0.1), "rate .* at least 0, not -0.1"),
        ((5, math.nan, 0.1), "rate .* finite"),
        ((5, 0.1, 1.5), r"decay .* 0..1, not 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(setting: tuple[int, float, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dynamics(*setting)


def test_what_does_not_fit_is_refused() -> None:
    net = network()
    with pytest.raises(ValueError, match="no dynamic evaluation to choose from"):
        choose_dynamics(net, tokens(), segment=5, rates=[], decays=[0.1], squares=None)
    with pytest.raises(ValueError, match="another network's"):
        dynamic_nats(net, tokens(), Dynamics(5, 0.1, 0.1), squares=statistics(network(tied=True)))
    for segment, segments in ((0, None), (5, 0)):
        with pytest.raises(ValueError, match="at least 1 segment of 1 token"):
            mean_squares(net, tokens(), segment=segment, segments=segments)
    with pytest.raises(UserError, match="too small"):
        mean_squares(net, tokens(), segment=5)
