import pytest
import torch

from miniature import SIZES, arm_of, split_of, text_of
from unrolled.probing.cliff import cliff
from unrolled.training.fit import Step, fit
from unrolled.training.training import Training

TEXT = split_of(text_of(600))


def training_of(name: str) -> Training:
    return Training.of(arm_of(name, embedding=8, hidden=8, dropout=0.3, window=10, clip_norm=None), SIZES)


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("arm", ["rnn-unclipped-1", "lstm-clipped-1", "bilstm-clipped-1"])
def test_it_stands_where_training_stood(arm: str, number: int) -> None:
    """At distance 0 the step's own loss and norm; learning_rate * norm down, the weights after that step."""
    taken = [each for each in fit(training_of(arm), TEXT, TEXT) if isinstance(each, Step)]
    again = training_of(arm)
    step = taken[number - 1]
    found = cliff(again, TEXT, step=number, distances=[0.5, step.norms.before])
    assert found.norm == pytest.approx(step.norms.before, rel=1e-6)
    assert found.losses[0] == step.loss
    assert found.distances == [0.0, 0.5, step.norms.before]
    after = training_of(arm)
    for each in fit(after, TEXT, TEXT):
        if isinstance(each, Step) and each.number == number:
            break
    for moved, trained in zip(again.model.parameters(), after.model.parameters(), strict=True):
        torch.testing.assert_close(moved, trained, rtol=1e-4, atol=1e-6)


def test_along_a_short_way_the_loss_falls_by_norm_times_distance() -> None:
    """The first-order promise of the gradient, in double precision and without dropout's noise."""
    training = training_of("lstm-unclipped-1")
    training.model.double()
    found = cliff(training, TEXT, step=1, distances=[1e-4])
    assert found.losses[0] - found.losses[1] == pytest.approx(1e-4 * found.norm, rel=1e-2)
