"""Interpolation against its formula, and its weight against a search over all weights."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.scoring.interpolation import interpolated_nats, interpolation_weight

probabilities = st.lists(st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)), min_size=1, max_size=30)


@given(probabilities, st.floats(0, 1))
def test_it_is_the_mean_of_the_probabilities(pairs: list[tuple[float, float]], weight: float) -> None:
    p, q = np.array(pairs).T
    expected = -np.log((1 - weight) * p + weight * q)
    assert interpolated_nats(-np.log(p), -np.log(q), weight) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=20)
@given(probabilities)
def test_no_other_weight_predicts_better(pairs: list[tuple[float, float]]) -> None:
    first, second = -np.log(np.array(pairs)).T
    weight = interpolation_weight(first, second, steps=2000)
    best = min(interpolated_nats(first, second, other).sum() for other in np.linspace(0, 1, 101))
    assert interpolated_nats(first, second, weight).sum() <= best + 0.01


def test_a_model_that_predicts_nothing_is_left_out() -> None:
    nothing, something = np.full(5, math.inf), np.arange(1.0, 6.0)
    assert interpolation_weight(nothing, something) == 1
    assert interpolated_nats(nothing, something, 1.0).tolist() == something.tolist()
    assert interpolation_weight(something, nothing) == 0
    assert interpolated_nats(something, nothing, 0.0).tolist() == something.tolist()


def test_twins_may_have_any_weight() -> None:
    nats = np.array([1.0, 2.0])
    assert interpolated_nats(nats, nats, interpolation_weight(nats, nats)) == pytest.approx(nats)


def test_other_tokens_do_not_mix() -> None:
    with pytest.raises(ValueError, match="same tokens"):
        interpolated_nats(np.zeros(3), np.zeros(1), 0.5)
