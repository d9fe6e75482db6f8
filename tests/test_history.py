"""What a training has yielded: the best epoch is kept as it was, and a checkpoint's copy is the whole of it."""

import json
import math
from typing import Any

import pandas as pd
import pytest
import torch

from miniature import SIZES, arm_of, split_of, text_of
from unrolled.ground.score import Sums
from unrolled.training.clipping import Norms
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step, fit
from unrolled.training.history import History
from unrolled.training.training import Training

TRAIN, VALID = split_of(text_of(200)), split_of(text_of(60, seed=1))


def epoch(number: int, loss: float) -> Epoch:
    return Epoch(number, 1.0, {"loss": Sums(2 * loss, 2)}, {}, {}, {}, {})


def step(number: int, loss: float = 2.0) -> Step:
    return Step(number, 1, 32, loss, 0.1, Norms(3.0, 0.25, {"head": 3.0}))


def without_tensors(value: Any) -> Any:
    """Whatever an epoch holds, in what compares by value."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: without_tensors(each) for key, each in value.items()}
    return [without_tensors(each) for each in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("arm", ["lstm-clipped-1", "bilstm-unclipped-1"])
def test_what_a_checkpoint_gives_back_is_what_was_there(arm: str) -> None:
    training = Training.of(arm_of(arm, layers=2, epochs=2), SIZES)
    history, restored = History(training), History(training)
    for record in fit(training, TRAIN, VALID):
        history.add(record)
    tensors, text = history.state()
    restored.restore(tensors, json.loads(json.dumps(text)))
    pd.testing.assert_frame_equal(restored.steps(), history.steps(), check_exact=True)
    assert [without_tensors(vars(each)) for each in restored.epochs] == [
        without_tensors(vars(each)) for each in history.epochs
    ]
    assert restored.best is not None and history.best is not None and restored.best.number == history.best.number
    assert without_tensors(restored.weights) == without_tensors(history.weights)
    again = restored.state()
    assert (without_tensors(again[0]), again[1]) == (without_tensors(tensors), text)


def test_an_empty_history_comes_back_empty() -> None:
    history = History(Training.of(arm_of("rnn-clipped-1"), SIZES))
    tensors, text = history.state()
    assert (tensors, text) == ({}, {"epochs": [], "best": None, "inherited": 0})
    history.restore(tensors, text)
    assert history.steps().empty and history.epochs == [] and history.best is None


@pytest.mark.parametrize(
    ("losses", "best"),
    [([3.0, 2.0, 2.0], 2), ([math.inf, math.inf], 1), ([math.inf, 5.0, 6.0], 2), ([1.0, math.nan], 1)],
)
def test_the_best_epoch_is_the_first_of_lowest_loss_and_never_the_untrained_network(
    losses: list[float], best: int
) -> None:
    training = Training.of(arm_of("rnn-clipped-1"), SIZES)
    history = History(training)
    history.add(epoch(0, 0.0))
    for number, loss in enumerate(losses, start=1):
        with torch.no_grad():
            training.model.output_bias.fill_(number)
        history.add(epoch(number, loss))
    with torch.no_grad():
        training.model.output_bias.fill_(99)
    assert history.best is not None and history.best.number == best
    assert (history.weights["output_bias"] == best).all()


def test_a_divergence_is_noted_and_without_an_epoch_the_weights_are_those_there_are() -> None:
    training = Training.of(arm_of("rnn-clipped-1"), SIZES)
    history = History(training)
    history.add(epoch(0, 3.0))
    history.add(step(1))
    assert history.diverged_at is None
    history.add(step(2, math.nan))
    assert history.diverged_at == 2 and history.best is None
    assert history.weights.keys() == dict(training.model.named_parameters()).keys()
    columns = ["step", "epoch", "tokens", "loss", "learning_rate", "grad_norm", "grad_norm_after", "grad_norm/head"]
    assert list(history.steps()) == columns
    assert history.steps()[columns[:3]].dtypes.unique().tolist() == [torch.tensor(1).numpy().dtype]
