"""How far back a loss reaches, over several stretches of a text."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from examples import V, network, task_of
from miniature import split_of, text_of
from unrolled.ground.evaluation import Resampling
from unrolled.probing.lags import STRETCHES, lags_of_stretches, reaches
from unrolled.recurrence.profile import lag_profile
from unrolled.training.diagnostics import LAG_STEPS

RESAMPLING = Resampling(block=200, samples=20, confidence=0.95, seed=1)


def powers(*factors: float, steps: int = 30) -> np.ndarray:
    return np.stack([factor ** np.arange(float(steps)) for factor in factors])


@given(st.floats(0.3, 0.95), st.integers(2, 20))
def test_stretches_that_are_alike_leave_no_doubt(factor: float, count: int) -> None:
    found = reaches(powers(*[factor] * count), RESAMPLING)
    value, interval = found["half_life"]
    assert value == pytest.approx(math.log(0.5) / math.log(factor)) and interval == pytest.approx((value, value))
    value, interval = found["gradient_reach"]
    assert interval == (value, value)


def test_the_interval_holds_what_the_stretches_say_and_the_mean_is_of_squares() -> None:
    profiles = powers(*np.linspace(0.6, 0.8, 12))
    value, (low, high) = reaches(profiles, RESAMPLING)["half_life"]
    assert math.log(0.5) / math.log(0.6) < low < value < high < math.log(0.5) / math.log(0.8)
    mean = np.sqrt(np.square(profiles).mean(0))
    slopes = [(math.log(mean[b]) - math.log(mean[a])) / (b - a) for a in range(30) for b in range(a + 1, 30)]
    assert value == pytest.approx(math.log(0.5) / np.median(slopes))


def test_one_stretch_has_no_interval_and_what_is_not_finite_no_value() -> None:
    (value, interval), _ = reaches(powers(0.5), RESAMPLING).values()
    assert value == pytest.approx(1) and all(map(math.isnan, interval))
    broken = powers(0.5, 0.5)
    broken[1, 3] = math.inf
    assert all(
        math.isnan(each) for value, interval in reaches(broken, RESAMPLING).values() for each in (value, *interval)
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("tokens", "stretches"), [(4 * 2 * LAG_STEPS * 3 + 50, 3), (4 * 2 * LAG_STEPS * 25, STRETCHES), (90, 1)]
)
def test_stretches_of_a_text_do_not_overlap(bidirectional: bool, tokens: int, stretches: int) -> None:
    """The first is that of a training's own profile; each is as if the text began with it."""
    net, task, split = network(bidirectional=bidirectional), task_of(), split_of(text_of(tokens, types=V))
    found = lags_of_stretches(net, task, split, "forward.0")
    assert len(found) == stretches
    own = lag_profile(lambda profile: task.single_loss(net, split, LAG_STEPS, profile), net.parameters())["forward.0"]
    torch.testing.assert_close(torch.from_numpy(found[0]), own.double())
    assert len({tuple(each) for each in found}) == stretches
