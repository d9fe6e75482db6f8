"""Intervals: the width that theory gives, blocks that see dependence, and twins compared on the same units."""

import math
from collections.abc import Sized

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.coverage import Source, coverage
from unrolled.ground.bootstrap import (
    FEWEST,
    bootstrap_interval,
    bootstrap_statistic,
    count_clusters,
    fewest_samples,
    paired_bootstrap,
)
from unrolled.ground.perplexity import exp, perplexity

streams = hnp.arrays(np.float64, st.integers(2, 300), elements=st.floats(0, 50))
blocks = st.integers(1, 40)


def of_one(units: Sized) -> np.ndarray:
    """All units are of one document, so that stretches of them are resampled."""
    return np.zeros(len(units), dtype=np.int64)


@settings(max_examples=50)
@given(streams, blocks, st.integers(0, 9))
def test_interval_holds_the_point_estimate(nats: np.ndarray, block: int, seed: int) -> None:
    low, high = bootstrap_interval(nats, of_one(nats), value=exp, block=block, samples=300, seed=seed)
    point = perplexity(float(nats.sum()), nats.size)
    assert low <= point * (1 + 1e-9) and point <= high * (1 + 1e-9)


@given(st.floats(0, 100), st.integers(2, 500), blocks)
def test_a_constant_stream_leaves_no_doubt(nats: float, tokens: int, block: int) -> None:
    low, high = bootstrap_interval(
        np.full(tokens, nats), of_one(np.full(tokens, nats)), value=exp, block=block, samples=50
    )
    assert low == pytest.approx(math.exp(nats), rel=1e-9) and high == pytest.approx(low, rel=1e-9)


def test_interval_has_the_width_that_theory_gives_for_independent_tokens() -> None:
    nats = np.random.default_rng(0).exponential(2, 40_000)
    low, high = bootstrap_interval(nats, of_one(nats), block=100, samples=2000)
    standard_error = nats.std() / math.sqrt(nats.size)
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_blocks_see_dependence_that_single_tokens_hide() -> None:
    stretches = np.repeat(np.random.default_rng(0).exponential(2, 200), 50)  # 200 independent values, 50 tokens each
    width = [np.diff(bootstrap_interval(stretches, of_one(stretches), block=b))[0] for b in (1, 50)]
    assert width[1] == pytest.approx(math.sqrt(50) * width[0], rel=0.15)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    nats = np.random.default_rng(0).exponential(2, 1000)
    first, again, other = (bootstrap_interval(nats, of_one(nats), block=20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@settings(max_examples=50)
@given(st.integers(2, 200), blocks, st.integers(0, 2**32 - 1))
def test_paired_difference_is_antisymmetric(tokens: int, block: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).exponential(3, (2, tokens))
    forth = paired_bootstrap(a, b, of_one(a), block=block, samples=40)
    back = paired_bootstrap(b, a, of_one(a), block=block, samples=40)
    assert back.difference == -forth.difference
    assert back.interval == (-forth.interval.high, -forth.interval.low)


def test_paired_difference_of_a_constant_handicap() -> None:
    b = np.random.default_rng(0).exponential(3, 1000)
    paired = paired_bootstrap(b + math.log(2), b, of_one(b), block=10)
    assert exp(paired.difference) == pytest.approx(2)
    assert [exp(each) for each in paired.interval] == pytest.approx(
        [2, 2]
    )  # though each perplexity alone is far from certain


def test_exploded_streams_are_results() -> None:
    fine, exploded = np.ones(100), np.full(100, 1e30)
    assert bootstrap_interval(exploded, of_one(exploded), value=exp, block=5) == (math.inf, math.inf)
    assert exp(paired_bootstrap(exploded, fine, of_one(fine), block=5).difference) == math.inf
    assert exp(paired_bootstrap(fine, exploded, of_one(fine), block=5).difference) == 0
    infinite = np.where(np.arange(100) < 50, np.inf, 1.0)
    assert bootstrap_interval(infinite, of_one(infinite), block=5).high == math.inf
    assert all(math.isnan(x) for x in paired_bootstrap(infinite, infinite, of_one(infinite), block=5).interval)
    assert all(
        math.isnan(x) for x in bootstrap_interval([1.0, math.nan], of_one([1.0, math.nan]), block=1, confidence=0.5)
    )


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
        bootstrap_interval(nats, of_one(nats), **options)


def test_paired_bootstrap_wants_the_same_units() -> None:
    with pytest.raises(ValueError, match="2 and 3 were scored"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0], [0, 0], block=1)


def test_the_interval_is_of_the_value_asked_for_at_the_ends_of_the_means() -> None:
    nats = np.random.default_rng(0).exponential(2, 1000)
    plain = bootstrap_interval(nats, of_one(nats), block=20)
    for value in (exp, math.sqrt, lambda mean: 7 * mean - 3):
        assert bootstrap_interval(nats, of_one(nats), value=value, block=20) == (value(plain.low), value(plain.high))


# ---- documents


def test_documents_are_drawn_whole_whatever_their_order_and_names() -> None:
    random = np.random.default_rng(0)
    document = np.repeat(np.arange(30), random.integers(1, 40, 30))
    units = random.exponential(2, 30)[document]
    found = bootstrap_interval(units, document, block=5)
    assert bootstrap_interval(units, 7 * document - 40, block=1) == found  # no stretch matters
    mixed = random.permutation(len(units))
    assert bootstrap_interval(units[mixed], document[mixed], block=5) == pytest.approx(found, rel=1e-12)
    assert bootstrap_interval(units, of_one(units), block=5) != found


def test_documents_of_one_unit_are_stretches_of_one() -> None:
    units = np.random.default_rng(0).exponential(2, 200)
    for_each = bootstrap_interval(units, np.arange(200), block=50)
    assert for_each == bootstrap_interval(units, of_one(units), block=1)


@pytest.mark.parametrize("documents", [1, 2, FEWEST - 1, FEWEST, FEWEST + 1])
def test_too_few_documents_give_way_to_stretches(documents: int) -> None:
    document = np.repeat(np.arange(documents), 50)
    units = np.random.default_rng(0).exponential(2, len(document))
    stretches = bootstrap_interval(units, of_one(units), block=7)
    enough = documents >= FEWEST
    assert (bootstrap_interval(units, document, block=7) != stretches) == enough
    assert count_clusters(document) == (documents if enough else None)


def test_every_unit_has_a_cluster() -> None:
    with pytest.raises(ValueError, match="3 units, 2 clusters"):
        bootstrap_interval([1.0, 2.0, 3.0], [0, 1], block=1)


@pytest.mark.parametrize("source", [Source(20, 0.0), Source(50, 0.7)])
def test_intervals_hold_the_truth_as_often_as_they_say(source: Source) -> None:
    """95 %, within what 300 splits can tell (0.044, at odds of 1 to 2000); docs/intervals.md has more of them."""
    found = coverage(source, splits=300, samples=300)
    assert 0.906 <= found["one model"] <= 0.994 and 0.906 <= found["difference"] <= 0.994
    assert found["blocks"] < 0.9


def test_one_cluster_says_nothing_of_others() -> None:
    assert np.isnan(bootstrap_interval([3.0], [0], block=10)).all()
    assert np.isnan(bootstrap_statistic([[3.0, 4.0]], [0], lambda means: float(means[0]), block=10)[1]).all()


@pytest.mark.parametrize(("confidence", "fewest"), [(0.95, 40), (0.9, 20), (0.5, 4), (0.99, 200)])
def test_fewer_samples_than_an_interval_takes_are_known(confidence: float, fewest: int) -> None:
    """With one fewer an interval leaves none out at either end, and is the range of the samples."""
    assert fewest_samples(confidence) == fewest
    units, clusters = np.random.default_rng(0).normal(size=20_000), np.arange(20_000)
    for samples, left_out in ((fewest + 1, 1), (fewest - 1, 0)):
        found = bootstrap_interval(units, clusters, block=1, samples=samples, confidence=confidence)
        every = bootstrap_interval(units, clusters, block=1, samples=samples, confidence=1 - 1e-9)
        assert (found == every) == (left_out == 0)
