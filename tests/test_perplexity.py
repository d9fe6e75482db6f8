"""Perplexity: one division, one exponential, at the very end."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unrolled.ground.perplexity import perplexity

streams = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 50))


def test_perplexity_of_a_fair_die_is_its_sides() -> None:
    assert perplexity(12 * math.log(6), 12) == pytest.approx(6, rel=1e-15)
    assert perplexity(0.0, 3) == 1


def test_perplexity_beyond_a_double_is_inf_and_of_nan_is_nan() -> None:
    assert perplexity(710.0, 1) == math.inf
    assert perplexity(math.inf, 5) == math.inf
    assert math.isnan(perplexity(math.nan, 5))


def test_no_tokens_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        perplexity(0.0, 0)


@given(streams, st.lists(st.integers(0, 300), max_size=8))
def test_perplexity_does_not_depend_on_how_the_sums_are_chunked(nats: np.ndarray, cuts: list[int]) -> None:
    chunks = np.split(nats, sorted(cut for cut in cuts if cut <= nats.size))
    total = sum(float(chunk.sum()) for chunk in chunks)
    assert perplexity(total, nats.size) == pytest.approx(perplexity(nats.sum(), nats.size), rel=1e-11)
