"""The learning rate at an epoch's end, and the weights averaged once the loss no longer falls."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from miniature import SIZES, arm_of, split_of, text_of
from unrolled.training.annealing import anneal, average
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step, fit
from unrolled.training.training import Training

TRAIN, VALID = split_of(text_of(410)), split_of(text_of(90, seed=1))


def training_of(**train: Any) -> Training:
    return Training.of(arm_of("lstm-clipped-1", embedding=8, hidden=8, **train), SIZES)


def run(**train: Any) -> tuple[list[Step], list[Epoch]]:
    records = list(fit(training_of(**train), TRAIN, VALID))
    return [each for each in records if isinstance(each, Step)], [each for each in records if isinstance(each, Epoch)]


def test_the_rate_is_annealed_after_an_epoch_that_did_not_lower_the_validation_loss() -> None:
    _, epochs = run(epochs=6, learning_rate=60.0, anneal_factor=3.0)
    best = math.inf
    for epoch, following in pairwise(epochs[1:]):
        improved = epoch.valid_loss < best
        best = min(best, epoch.valid_loss)
        assert following.learning_rate == pytest.approx(epoch.learning_rate / (1 if improved else 3))
    assert epochs[-1].learning_rate < 60  # or the rule above was never put to the test


def test_the_rate_is_annealed_after_every_epoch_from_a_given_one_on() -> None:
    _, epochs = run(epochs=5, learning_rate=8.0, anneal_factor=2.0, anneal_after=3)
    assert [epoch.learning_rate for epoch in epochs[1:]] == [8.0, 8.0, 8.0, 4.0, 2.0]


def test_averaging_after_no_epoch_begins_with_the_second() -> None:
    """Though the loss falls all the while."""
    training = training_of(epochs=3, anneal_factor=1.0, average_after=0)
    seen: list[torch.Tensor] = []
    for record in fit(training, TRAIN, VALID):
        if isinstance(record, Step) and record.epoch > 1:
            seen.append(training.model.state_dict()["output_bias"].clone())
        elif isinstance(record, Epoch) and record.number == 1:
            assert torch.equal(training.weights()["output_bias"], training.model.state_dict()["output_bias"])
    torch.testing.assert_close(training.weights()["output_bias"], torch.stack(seen).mean(0))


def test_averaging_begins_where_the_loss_no_longer_falls_and_scores_the_mean_of_the_weights() -> None:
    """A rate so high that the loss rises: from then on each epoch is scored with the mean of all weights since."""
    training = training_of(epochs=12, learning_rate=60.0, anneal_factor=1.0, average_after=2)
    seen: list[dict[str, torch.Tensor]] = []
    losses: list[float] = []
    began: int | None = None
    for record in fit(training, TRAIN, VALID):
        own = {name: each.detach().clone() for name, each in training.model.named_parameters()}
        if isinstance(record, Step):
            seen += [own] if began is not None else []
            continue
        if began is not None:
            for name, mean in training.weights().items():
                expected = torch.stack([each[name].double() for each in seen]).mean(0)
                torch.testing.assert_close(mean.double(), expected, rtol=1e-4, atol=1e-5)
            twin = training_of().model
            twin.load_state_dict(training.weights())
            assert record.valid == training.task.validate(twin, VALID)
        elif record.number:
            assert all(torch.equal(each, own[name]) for name, each in training.weights().items())
            best_but_last = min(losses[:-2], default=math.inf)
            began = record.number if record.valid_loss > best_but_last else None
            losses.append(record.valid_loss)
    assert began is not None and began < 11, losses


def test_averaging_begins_again_from_the_averages_where_the_loss_with_them_no_longer_falls() -> None:
    """By hand: 5 is above the best of 2 and 3, and 9, as the first of those since then, above that of 6 and 7."""
    training = training_of(epochs=9, anneal_factor=1.0, average_after=0, average_again=1)
    (name, weight), *_ = training.model.named_parameters()
    began = []
    for value, loss in enumerate([5.0, 4.0, 3.0, 3.5, 9.0, 8.0, 8.5, 8.0, 8.2], 1):
        weight.data.fill_(value)
        average(training)
        before = training.weights()[name].clone()
        anneal(training, loss)
        if training.averaged == 0:
            began.append(value)
            assert torch.equal(weight, before) and torch.equal(training.weights()[name], weight)
            assert training.began == len(training.valid_losses) == value
    assert began == [1, 5, 9] and weight.unique().item() == (6 + 7 + 8 + 9) / 4


def test_the_weights_go_on_as_if_no_mean_had_been_scored() -> None:
    changes = {"epochs": 8, "learning_rate": 60.0, "anneal_factor": 1.0}
    averaged, _ = run(**changes, average_after=1)
    plain, _ = run(**changes)
    assert averaged == plain
