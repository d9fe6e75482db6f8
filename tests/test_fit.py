"""Training: the loop everyone writes gives the same losses, norms and weights; divergence ends it as a result."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unrolled.corpus.streams import Tokens, windows
from unrolled.lab import fit as training
from unrolled.lab.fit import Epoch, Step, Training, fit
from unrolled.nets.network import Network
from unrolled.settings import Train
from unrolled.tasks.language_model import loss, total_nats

V, EOS = 20, 1


def train(**changes: Any) -> Train:
    settings = {
        "seed": 1,
        "epochs": 2,
        "columns": 4,
        "window": 8,
        "optimiser": "sgd",
        "learning_rate": 1.0,
        "anneal_factor": 4.0,
        "anneal_after": None,
        "average_after": None,
        "weight_decay": 0.0,
        "clip_norm": 0.25,
    }
    return Train(**(settings | changes))


def network(*, bidirectional: bool = False, cell: str = "lstm", dropout: float = 0.0, tied: bool = True) -> Network:
    return Network(
        V,
        cell=cell,
        bidirectional=bidirectional,
        embedding=8,
        hidden=8,
        layers=1,
        dropout=dropout,
        tied=tied,
        generator=torch.Generator().manual_seed(0),
    )


def tokens(length: int, seed: int = 0) -> Tokens:
    """A text with something to learn: every token is its predecessor plus 0, 1 or 2."""
    return (np.cumsum(np.random.default_rng(seed).integers(0, 3, length)) % V).astype(np.uint16)


def run(net: Network, settings: Train) -> tuple[list[Step], list[Epoch]]:
    generator = torch.Generator().manual_seed(1)
    records = list(fit(Training(net, settings, generator), tokens(410), tokens(90, 1), eos=EOS))
    return [each for each in records if isinstance(each, Step)], [each for each in records if isinstance(each, Epoch)]


@pytest.mark.parametrize("clip_norm", [None, 0.25])
def test_the_plain_loop_gives_the_same_losses_norms_and_weights(clip_norm: float | None) -> None:
    settings, net, twin = train(clip_norm=clip_norm), network(), network()
    lstm = nn.LSTM(8, 8)
    (layer,) = twin.stacks["forward"].layers
    for ours, theirs in (("weight_ih", "weight_ih_l0"), ("weight_hh", "weight_hh_l0"), ("bias", "bias_ih_l0")):
        getattr(lstm, theirs).data = getattr(layer, ours).data.clone()
    lstm.bias_hh_l0.data.zero_()
    lstm.bias_hh_l0.requires_grad_(False)  # ours has one bias, so one gradient
    parameters = [twin.embedding.weight, twin.output_bias, *(each for each in lstm.parameters() if each.requires_grad)]
    optimiser = torch.optim.SGD(parameters, lr=settings.learning_rate)
    steps, _ = run(net, settings.model_copy(update={"epochs": 1}))
    state = None
    for step, window in zip(steps, windows(tokens(410), columns=4, window=8, eos=EOS), strict=True):
        optimiser.zero_grad()
        hidden, state = lstm(twin.embedding(window.left), state)
        state = tuple(part.detach() for part in state)
        loss = cross_entropy(twin.logits(hidden).flatten(0, 1), window.target.flatten())
        loss.backward()
        before = nn.utils.clip_grad_norm_(parameters, math.inf if clip_norm is None else clip_norm).item()
        optimiser.step()
        assert step.loss == pytest.approx(loss.item(), rel=1e-4)
        assert step.norms.before == pytest.approx(before, rel=1e-3)
    torch.testing.assert_close(net.embedding.weight, twin.embedding.weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(net.stacks["forward"].layers[0].weight_hh, lstm.weight_hh_l0, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("optimiser", "weight_decay"), [("sgd", 0.0), ("sgd", 0.01), ("adam", 0.0), ("adamw", 0.01)])
@pytest.mark.parametrize("tied", [False, True])
def test_an_embedding_whose_gradient_is_that_of_the_rows_read_trains_as_a_dense_one(
    tied: bool, optimiser: str, weight_decay: float
) -> None:
    settings = train(optimiser=optimiser, weight_decay=weight_decay, learning_rate=0.05, epochs=1)
    net, twin = network(tied=tied), network(tied=tied)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimiser]
    dense = kind(twin.parameters(), lr=0.05, weight_decay=weight_decay)
    state = twin.initial_state(4)
    steps, _ = run(net, settings)
    for step, window in zip(steps, windows(tokens(410), columns=4, window=8, eos=EOS), strict=True):
        dense.zero_grad()
        nats, terms, state = loss(twin, window, state.detach())
        (nats / terms).backward()
        assert twin.embedding.weight.grad is not None and not twin.embedding.weight.grad.is_sparse
        before = nn.utils.clip_grad_norm_(twin.parameters(), 0.25).item()
        dense.step()
        assert step.norms.before == pytest.approx(before, rel=1e-4)
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3 if optimiser != "sgd" else 1e-5)


def test_it_learns_and_reports_every_step_and_epoch() -> None:
    settings = train(epochs=12, learning_rate=4.0)
    steps, epochs = run(network(), settings)
    assert [step.number for step in steps] == list(range(1, 12 * 13 + 1))  # 410 tokens, 4 columns, windows of 8
    assert [epoch.number for epoch in epochs] == list(range(13))
    assert math.exp(epochs[0].valid_loss) == pytest.approx(V, rel=0.1)
    assert math.exp(epochs[-1].valid_loss) < V / 2  # three successors are possible
    assert all(step.norms.after <= 0.25 * (1 + 1e-6) for step in steps)
    assert any(step.norms.before > 0.25 for step in steps)
    assert all(set(step.norms.groups) == {"embedding", "forward.0", "head"} for step in steps)
    assert all(math.hypot(*step.norms.groups.values()) == pytest.approx(step.norms.before) for step in steps)


def test_an_epochs_profile_has_a_norm_for_every_time_step_of_both_stacks() -> None:
    _, epochs = run(network(bidirectional=True), train())
    assert epochs[0].profile == {}
    for epoch in epochs[1:]:
        assert set(epoch.profile) == set(epoch.lag_profile) == {"forward.0", "backward.0"}
        assert all(len(norms) == 8 and (norms > 0).all() for norms in epoch.profile.values())
    for epoch in epochs:
        assert set(epoch.addends) == {"forward.0", "backward.0"}
        assert all(len(each.weight_hh) == len(each.weight_ih) == 8 for each in epoch.addends.values())


def test_measuring_the_addends_changes_nothing_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, bare = network(bidirectional=True, dropout=0.3), network(bidirectional=True, dropout=0.3)
    steps, _ = run(measured, train())
    monkeypatch.setattr(training, "addends", lambda *_, **__: {})
    assert steps == run(bare, train())[0]
    for one, other in zip(measured.parameters(), bare.parameters(), strict=True):
        assert one.detach().numpy().tobytes() == other.detach().numpy().tobytes()


def test_clipping_changes_nothing_where_no_norm_exceeds_it() -> None:
    loose, _ = run(network(), train(clip_norm=1e6))
    never, _ = run(network(), train(clip_norm=None))
    assert [step.loss for step in loose] == [step.loss for step in never]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_seed_decides_everything(bidirectional: bool) -> None:
    first, epochs = run(network(bidirectional=bidirectional, dropout=0.3), train())
    torch.rand(7)
    again, epochs_again = run(network(bidirectional=bidirectional, dropout=0.3), train())
    assert first == again
    assert [epoch.valid for epoch in epochs] == [epoch.valid for epoch in epochs_again]


def test_divergence_is_the_last_step_and_no_error() -> None:
    steps, epochs = run(network(cell="relu"), train(clip_norm=None, learning_rate=1e20, epochs=5))
    assert steps[-1].diverged and not any(step.diverged for step in steps[:-1])
    assert len(epochs) < 6


def test_the_rate_is_annealed_after_an_epoch_that_did_not_lower_the_validation_loss() -> None:
    _, epochs = run(network(), train(epochs=6, learning_rate=60.0, anneal_factor=3.0))
    best = math.inf
    for epoch, following in pairwise(epochs[1:]):
        improved = epoch.valid_loss < best
        best = min(best, epoch.valid_loss)
        assert following.learning_rate == pytest.approx(epoch.learning_rate / (1 if improved else 3))
    assert epochs[-1].learning_rate < 60  # or the rule above was never put to the test


def test_the_rate_is_annealed_after_every_epoch_from_a_given_one_on() -> None:
    _, epochs = run(network(), train(epochs=5, learning_rate=8.0, anneal_factor=2.0, anneal_after=3))
    assert [epoch.learning_rate for epoch in epochs[1:]] == [8.0, 8.0, 8.0, 4.0, 2.0]


def test_averaging_begins_where_the_loss_no_longer_falls_and_scores_the_mean_of_the_weights() -> None:
    """A rate so high that the loss rises: from then on each epoch is scored with the mean of all weights since."""
    settings, net = train(epochs=8, learning_rate=60.0, anneal_factor=1.0, average_after=2), network()
    training_ = Training(net, settings, torch.Generator().manual_seed(1))
    seen: list[dict[str, torch.Tensor]] = []
    losses: list[float] = []
    began: int | None = None
    for record in fit(training_, tokens(410), tokens(90, 1), eos=EOS):
        own = {name: each.detach().clone() for name, each in net.named_parameters()}
        if isinstance(record, Step):
            seen += [own] if began is not None else []
            continue
        if began is not None:
            for name, mean in training_.weights().items():
                expected = torch.stack([each[name].double() for each in seen]).mean(0)
                torch.testing.assert_close(mean.double(), expected, rtol=1e-4, atol=1e-5)
            twin = network()
            twin.load_state_dict(training_.weights())
            assert record.valid == total_nats(twin, tokens(90, 1), window=512, eos=EOS)
        elif record.number:
            assert all(torch.equal(each, own[name]) for name, each in training_.weights().items())
            best_but_last = min(losses[:-2], default=math.inf)
            began = record.number if record.valid_loss > best_but_last else None
            losses.append(record.valid_loss)
    assert began is not None and began < 7, losses


def test_the_weights_go_on_as_if_no_mean_had_been_scored() -> None:
    changes = {"epochs": 8, "learning_rate": 60.0, "anneal_factor": 1.0}
    averaged, _ = run(network(), train(**changes, average_after=1))
    plain, _ = run(network(), train(**changes))
    assert averaged == plain
