from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.lab.cliff import cliff
from unrolled.lab.fit import Step, Training, fit
from unrolled.settings import Settings

PARAMS = Path(__file__).parents[1] / "params.yaml"
V, EOS = 7, 0
TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 600)) % V).astype(np.uint16)


def training_of(arm: str, **train: object) -> Training:
    settings = Settings.load(PARAMS, arm)
    sizes = {"embedding": 8, "hidden": 8, "dropout": 0.3}
    wanted = {"epochs": 1, "columns": 4, "window": 10, "learning_rate": 1.0, "clip_norm": None} | train
    settings = settings.model_copy(
        update={
            "network": settings.network.model_copy(update=sizes),
            "train": settings.train.model_copy(update=wanted),
        }
    )
    return Training.of(settings, V)


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("arm", ["rnn-unclipped", "lstm-clipped", "bilstm-clipped"])
def test_it_stands_where_training_stood(arm: str, number: int) -> None:
    """At distance 0 the step's own loss and norm; learning_rate * norm down, the weights after that step."""
    taken = [each for each in fit(training_of(arm), TOKENS, TOKENS, eos=EOS) if isinstance(each, Step)]
    again = training_of(arm)
    step = taken[number - 1]
    found = cliff(again, TOKENS, step=number, distances=[0.5, step.norms.before], eos=EOS)
    assert found.norm == pytest.approx(step.norms.before, rel=1e-6)
    assert found.losses[0] == step.loss
    assert found.distances == [0.0, 0.5, step.norms.before]
    after = training_of(arm)
    for each in fit(after, TOKENS, TOKENS, eos=EOS):
        if isinstance(each, Step) and each.number == number:
            break
    for moved, trained in zip(again.network.parameters(), after.network.parameters(), strict=True):
        torch.testing.assert_close(moved, trained, rtol=1e-4, atol=1e-6)


def test_along_a_short_way_the_loss_falls_by_norm_times_distance() -> None:
    """The first-order promise of the gradient, in double precision and without dropout's noise."""
    training = training_of("lstm-unclipped")
    training.network.double()
    found = cliff(training, TOKENS, step=1, distances=[1e-4], eos=EOS)
    assert found.losses[0] - found.losses[1] == pytest.approx(1e-4 * found.norm, rel=1e-2)
