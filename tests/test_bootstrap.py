"""Intervals: the width that theory gives, blocks that see dependence, and twins compared on the same units."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unrolled.ground.bootstrap import block_bootstrap_interval, paired_bootstrap
from unrolled.ground.perplexity import exp, perplexity

streams = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 50))
blocks = st.integers(1, 40)


@settings(max_examples=50)
@given(streams, blocks, st.integers(0, 9))
def test_interval_holds_the_point_estimate(nats: np.ndarray, block: int, seed: int) -> None:
    low, high = block_bootstrap_interval(nats, value=exp, block=block, samples=300, seed=seed)
    point = perplexity(float(nats.sum()), nats.size)
    assert low <= point * (1 + 1e-9) and point <= high * (1 + 1e-9)


@given(st.floats(0, 100), st.integers(1, 500), blocks)
def test_a_constant_stream_leaves_no_doubt(nats: float, tokens: int, block: int) -> None:
    low, high = block_bootstrap_interval(np.full(tokens, nats), value=exp, block=block, samples=50)
    assert low == pytest.approx(math.exp(nats), rel=1e-9) and high == pytest.approx(low, rel=1e-9)


def test_interval_has_the_width_that_theory_gives_for_independent_tokens() -> None:
    nats = np.random.default_rng(0).exponential(2, 40_000)
    low, high = block_bootstrap_interval(nats, block=100, samples=2000)
    standard_error = nats.std() / math.sqrt(nats.size)
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_blocks_see_dependence_that_single_tokens_hide() -> None:
    stretches = np.repeat(np.random.default_rng(0).exponential(2, 200), 50)  # 200 independent values, 50 tokens each
    width = [np.diff(block_bootstrap_interval(stretches, block=b))[0] for b in (1, 50)]
    assert width[1] == pytest.approx(math.sqrt(50) * width[0], rel=0.15)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    nats = np.random.default_rng(0).exponential(2, 1000)
    first, again, other = (block_bootstrap_interval(nats, block=20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@settings(max_examples=50)
@given(st.integers(1, 200), blocks, st.integers(0, 2**32 - 1))
def test_paired_difference_is_antisymmetric(tokens: int, block: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).exponential(3, (2, tokens))
    forth = paired_bootstrap(a, b, block=block, samples=40)
    back = paired_bootstrap(b, a, block=block, samples=40)
    assert back.difference == -forth.difference
    assert back.interval == (-forth.interval.high, -forth.interval.low)


def test_paired_difference_of_a_constant_handicap() -> None:
    b = np.random.default_rng(0).exponential(3, 1000)
    paired = paired_bootstrap(b + math.log(2), b, block=10)
    assert exp(paired.difference) == pytest.approx(2)
    assert [exp(each) for each in paired.interval] == pytest.approx(
        [2, 2]
    )  # though each perplexity alone is far from certain


def test_exploded_streams_are_results() -> None:
    fine, exploded = np.ones(100), np.full(100, 1e30)
    assert block_bootstrap_interval(exploded, value=exp, block=5) == (math.inf, math.inf)
    assert exp(paired_bootstrap(exploded, fine, block=5).difference) == math.inf
    assert exp(paired_bootstrap(fine, exploded, block=5).difference) == 0
    infinite = np.where(np.arange(100) < 50, np.inf, 1.0)
    assert block_bootstrap_interval(infinite, block=5).high == math.inf
    assert all(math.isnan(x) for x in paired_bootstrap(infinite, infinite, block=5).interval)
    assert all(math.isnan(x) for x in block_bootstrap_interval([1.0, math.nan], block=1, confidence=0.5))


@pytest.mark.parametrize(
    ("nats", "options", "message"),
    [
        ([], {"block": 5}, "at least one unit"),
        ([[1.0]], {"block": 5}, "one row"),
        ([1.0], {"block": 0}, "block >= 1"),
        ([1.0], {"block": 5, "samples": 0}, "samples >= 1"),
        ([1.0], {"block": 5, "confidence": 1.0}, "between 0 and 1"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_do(nats: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        block_bootstrap_interval(nats, **options)


def test_paired_bootstrap_wants_the_same_units() -> None:
    with pytest.raises(ValueError, match="2 and 3 were scored"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0], block=1)


def test_the_interval_is_of_the_value_asked_for_at_the_ends_of_the_means() -> None:
    nats = np.random.default_rng(0).exponential(2, 1000)
    plain = block_bootstrap_interval(nats, block=20)
    for value in (exp, math.sqrt, lambda mean: 7 * mean - 3):
        assert block_bootstrap_interval(nats, value=value, block=20) == (value(plain.low), value(plain.high))
