"""Training: the loop everyone writes gives the same losses, norms and weights; divergence ends it as a result."""

import math
from itertools import islice
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy

from miniature import split_of, text_of
from unrolled.recurrence.profile import Profile
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.task import Task
from unrolled.tasks.language_model.model.windows import windows
from unrolled.training import diagnostics
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step, fit
from unrolled.training.training import Options, Training

V = 20
SHAPE: dict[str, Any] = {
    "cell": "lstm", "bidirectional": False, "embedding": 8, "hidden": 8, "layers": 1, "tied": True
}  # fmt: skip
TRAIN, VALID = split_of(text_of(410)), split_of(text_of(90, seed=1))


def train(**changes: Any) -> dict[str, Any]:
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
        "profile_every": 1,
        "clip_norm": 0.25,
    }
    return settings | changes


def network(**changes: Any) -> Network:
    return Network(V, **(SHAPE | changes), generator=torch.Generator().manual_seed(0))


def training_of(net: Network, settings: dict[str, Any]) -> Training:
    return Training(Task(settings), net, Options.of(settings), torch.Generator().manual_seed(1))


def run(net: Network, settings: dict[str, Any]) -> tuple[list[Step], list[Epoch]]:
    records = list(fit(training_of(net, settings), TRAIN, VALID))
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
    optimiser = torch.optim.SGD(parameters, lr=settings["learning_rate"])
    steps, _ = run(net, settings | {"epochs": 1})
    state = None
    for step, window in zip(steps, windows(TRAIN.tokens, columns=4, window=8), strict=True):
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
    task, twin = Task(settings), network(tied=tied)
    net = task.model({"vocabulary": V}, SHAPE | {"tied": tied}, torch.Generator().manual_seed(0))
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimiser]
    dense = kind(twin.parameters(), lr=0.05, weight_decay=weight_decay)
    assert net.embedding.sparse == (tied or (optimiser == "sgd" and not weight_decay)) and not twin.embedding.sparse
    carry = task.start(twin)
    steps, _ = run(net, settings)
    for step, batch in zip(steps, task.batches(TRAIN), strict=True):
        dense.zero_grad()
        nats, terms, carry = task.loss(twin, batch, task.entry(twin, batch, carry))
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


@pytest.mark.parametrize("clip_norm", [None, 0.25])
def test_profiling_a_batch_in_three_changes_nothing_but_the_profile(clip_norm: float | None) -> None:
    every, third = (training_of(network(dropout=0.3), train(clip_norm=clip_norm, profile_every=n)) for n in (1, 3))
    measured = torch.empty(0)
    for one, other in zip(fit(every, TRAIN, VALID), fit(third, TRAIN, VALID), strict=True):
        if isinstance(one, Step):
            assert one == other
            measured = every.profiles["forward.0"][: every.profiled].clone()
        elif isinstance(other, Epoch) and one.number:
            assert len(measured) == 12  # of 13 batches, as the last one is shorter
            assert one.profile["forward.0"].equal(measured.median(0).values)
            assert other.profile["forward.0"].equal(measured[::3].median(0).values)
            assert one.valid == other.valid and one.addends.keys() == other.addends.keys()
    for mine, theirs in zip(every.model.parameters(), third.model.parameters(), strict=True):
        assert mine.equal(theirs)


def test_measuring_the_addends_changes_nothing_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, bare = network(bidirectional=True, dropout=0.3), network(bidirectional=True, dropout=0.3)
    steps, _ = run(measured, train())
    monkeypatch.setattr(diagnostics, "addends", lambda *_, **__: {})
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


def test_windows_of_drawn_lengths_are_stepped_at_rates_in_proportion_and_measured_from_their_ends() -> None:
    """The same in every training of the seed, others in each epoch; the weights are those of steps at these rates."""
    settings = train(window=20, window_varies=True, learning_rate=2.0, clip_norm=None, epochs=2)
    net, twin = network(bidirectional=True), network(bidirectional=True)
    training = training_of(net, settings)
    task, lengths, norms = training.task, [], []
    carry = task.start(twin)
    for record in fit(training, TRAIN, VALID):
        if isinstance(record, Epoch):
            measured, carry = record, task.start(twin)
            continue
        batch = next(task.batches(TRAIN, epoch=record.epoch, first=training.position - 1))
        steps, profile = len(batch.window.target), Profile()
        assert record.learning_rate == 2.0 * steps / 20 and training.learning_rate == 2.0
        nats, terms, carry = task.loss(twin, batch, task.entry(twin, batch, carry), profile=profile)
        for parameter, gradient in zip(twin.parameters(), grad(nats / terms, list(twin.parameters())), strict=True):
            parameter.data -= record.learning_rate * gradient
        lengths.append((record.epoch, steps))
        norms.append(profile.norms)
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)
    by_epoch = [[steps for epoch, steps in lengths if epoch == number] for number in (1, 2)]
    assert by_epoch[0] != by_epoch[1] and [sum(each) for each in by_epoch] == [102, 102]  # 410 tokens in 4 columns
    assert [len(each) for each in by_epoch] == [task.steps(TRAIN, epoch) for epoch in (1, 2)]
    last = norms[len(by_epoch[0]) :]
    for name, place in (("forward.0", -4), ("backward.0", 3)):  # the third step before the last that is read
        assert len(measured.profile[name]) == min(20, max(by_epoch[1]))
        of_batches = torch.stack([each[name][place] for each in last if len(each[name]) > 3])
        torch.testing.assert_close(measured.profile[name][place], of_batches.median(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("stop", [2, 14, 15, 20])
def test_a_training_goes_on_from_where_it_stands(stop: int, varies: bool) -> None:
    """In the midst of an epoch, at its end and after it: what comes is what would have come."""
    settings = train(epochs=2, window_varies=varies)
    whole = list(fit(training_of(network(dropout=0.3), settings), TRAIN, VALID))
    training = training_of(network(dropout=0.3), settings)
    first = list(islice(fit(training, TRAIN, VALID), stop))
    rest = list(fit(training, TRAIN, VALID))
    assert [type(each) for each in first + rest] == [type(each) for each in whole]
    assert [each for each in first + rest if isinstance(each, Step)] == [
        each for each in whole if isinstance(each, Step)
    ]
    losses = [[each.valid for each in records if isinstance(each, Epoch)] for records in (first + rest, whole)]
    assert losses[0] == losses[1]
