import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from sklearn.metrics import top_k_accuracy_score

from unrolled import measures
from unrolled.perplexity import perplexity

streams = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 50))
blocks = st.integers(1, 40)


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
    with pytest.raises(ValueError, match="0 characters"):
        measures.bits_per_character(1.0, 0)


def test_a_coin_a_character_costs_one_bit() -> None:
    assert measures.bits_per_character(7 * math.log(2), 7) == pytest.approx(1, rel=1e-15)


@given(streams, st.lists(st.integers(0, 300), max_size=8))
def test_perplexity_does_not_depend_on_how_the_sums_are_chunked(nats: np.ndarray, cuts: list[int]) -> None:
    chunks = np.split(nats, sorted(cut for cut in cuts if cut <= nats.size))
    total = sum(float(chunk.sum()) for chunk in chunks)
    assert perplexity(total, nats.size) == pytest.approx(perplexity(nats.sum(), nats.size), rel=1e-11)


# ---- bootstrap


@settings(max_examples=50)
@given(streams, blocks, st.integers(0, 9))
def test_interval_holds_the_point_estimate(nats: np.ndarray, block: int, seed: int) -> None:
    low, high = measures.block_bootstrap_interval(nats, block=block, samples=300, seed=seed)
    point = perplexity(float(nats.sum()), nats.size)
    assert low <= point * (1 + 1e-9) and point <= high * (1 + 1e-9)


@given(st.floats(0, 100), st.integers(1, 500), blocks)
def test_a_constant_stream_leaves_no_doubt(nats: float, tokens: int, block: int) -> None:
    low, high = measures.block_bootstrap_interval(np.full(tokens, nats), block=block, samples=50)
    assert low == pytest.approx(math.exp(nats), rel=1e-9) and high == pytest.approx(low, rel=1e-9)


def test_interval_has_the_width_that_theory_gives_for_independent_tokens() -> None:
    nats = np.random.default_rng(0).exponential(2, 40_000)
    low, high = measures.block_bootstrap_interval(nats, block=100, samples=2000)
    standard_error = nats.std() / math.sqrt(nats.size)
    assert math.log(high) - math.log(low) == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_blocks_see_dependence_that_single_tokens_hide() -> None:
    stretches = np.repeat(np.random.default_rng(0).exponential(2, 200), 50)  # 200 independent values, 50 tokens each
    width = [np.diff(np.log(measures.block_bootstrap_interval(stretches, block=b)))[0] for b in (1, 50)]
    assert width[1] == pytest.approx(math.sqrt(50) * width[0], rel=0.15)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    nats = np.random.default_rng(0).exponential(2, 1000)
    first, again, other = (measures.block_bootstrap_interval(nats, block=20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@settings(max_examples=50)
@given(st.integers(1, 200), blocks, st.integers(0, 2**32 - 1))
def test_paired_difference_is_antisymmetric(tokens: int, block: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).exponential(3, (2, tokens))
    forth = measures.paired_bootstrap(a, b, block=block, samples=40)
    back = measures.paired_bootstrap(b, a, block=block, samples=40)
    assert back.difference == -forth.difference
    assert back.interval == (-forth.interval.high, -forth.interval.low)
    assert forth.ratio * back.ratio == pytest.approx(1)


def test_paired_difference_of_a_constant_handicap() -> None:
    b = np.random.default_rng(0).exponential(3, 1000)
    paired = measures.paired_bootstrap(b + math.log(2), b, block=10)
    assert paired.ratio == pytest.approx(2)
    assert paired.ratio_interval == pytest.approx((2, 2))  # though each perplexity alone is far from certain


def test_exploded_streams_are_results() -> None:
    fine, exploded = np.ones(100), np.full(100, 1e30)
    assert measures.block_bootstrap_interval(exploded, block=5) == (math.inf, math.inf)
    assert measures.paired_bootstrap(exploded, fine, block=5).ratio == math.inf
    assert measures.paired_bootstrap(fine, exploded, block=5).ratio == 0
    infinite = np.where(np.arange(100) < 50, np.inf, 1.0)
    assert measures.block_bootstrap_interval(infinite, block=5).high == math.inf
    assert all(math.isnan(x) for x in measures.paired_bootstrap(infinite, infinite, block=5).interval)
    assert all(math.isnan(x) for x in measures.block_bootstrap_interval([1.0, math.nan], block=1, confidence=0.5))


@pytest.mark.parametrize(
    ("nats", "options", "message"),
    [
        ([], {"block": 5}, "at least one token"),
        ([[1.0]], {"block": 5}, "one row"),
        ([1.0], {"block": 0}, "block >= 1"),
        ([1.0], {"block": 5, "samples": 0}, "samples >= 1"),
        ([1.0], {"block": 5, "confidence": 1.0}, "between 0 and 1"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_do(nats: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measures.block_bootstrap_interval(nats, **options)


def test_paired_bootstrap_wants_the_same_tokens() -> None:
    with pytest.raises(ValueError, match="2 and 3 were scored"):
        measures.paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0], block=1)


# ---- yardsticks


def test_unigram_by_hand() -> None:
    assert np.exp(-measures.unigram_nats([0, 1, 2], [2, 0, 1, 2])) == pytest.approx([3 / 6, 1 / 6, 2 / 6, 3 / 6])


@given(hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 10**9)))
def test_unigram_sums_to_one_and_is_finite(counts: np.ndarray) -> None:
    nats = measures.unigram_nats(counts, np.arange(counts.size))
    assert np.isfinite(nats).all()
    assert np.exp(-nats).sum() == pytest.approx(1, rel=1e-12)


def test_unigram_of_equal_counts_is_uniform() -> None:
    assert measures.unigram_perplexity(np.full(37, 5), [1, 2, 30]) == pytest.approx(measures.uniform_perplexity(37))


# ---- bands, accuracy, calibration


def test_bands_by_hand() -> None:
    counts = [100, 99, 10, 9, 0]
    bands = measures.frequency_bands(counts, [0, 1, 2, 3, 4, 4], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert [band[:5] for band in bands] == [
        ("100-999", 100, 999, 1, 1.0),
        ("10-99", 10, 99, 2, 5.0),
        ("0-9", 0, 9, 3, 15.0),
    ]
    assert bands[1].perplexity == pytest.approx(math.exp(2.5))
    assert bands[2].perplexity == pytest.approx(math.exp(5))


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_bands_part_the_stream(types: int, tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = (10 ** random.uniform(0, 5, types)).astype(np.int64)
    targets, nats = random.integers(types, size=tokens), random.exponential(5, tokens)
    bands = measures.frequency_bands(counts, targets, nats)
    assert sum(band.tokens for band in bands) == tokens
    assert math.fsum(band.nats for band in bands) == pytest.approx(nats.sum())
    for band in bands:
        inside = (band.low <= counts[targets]) & (counts[targets] <= band.high)
        assert inside.sum() == band.tokens


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_accuracy_is_scikit_learns(k: int) -> None:
    random = np.random.default_rng(0)
    scores, targets = random.normal(size=(500, 8)), random.integers(8, size=500)
    ours = measures.top_k_accuracy(measures.target_ranks(scores, targets), k)
    assert ours == pytest.approx(top_k_accuracy_score(targets, scores, k=k, labels=range(8)))


def test_nan_scores_predict_nothing() -> None:
    scores = [[math.nan] * 3, [0.0, math.nan, 1.0], [0.0, 2.0, 1.0]]
    assert measures.target_ranks(scores, [0, 2, 2]).tolist() == [3, 1, 1]


def test_calibration_by_hand() -> None:
    report = measures.calibration([0.1, 0.3, 0.9, 0.9, 0.8], [False, False, True, True, False], bins=2)
    assert report.tokens.tolist() == [2, 3]
    assert report.confidence == pytest.approx([0.2, 2.6 / 3])
    assert report.accuracy == pytest.approx([0, 2 / 3])
    assert report.error == pytest.approx((2 * 0.2 + 3 * 0.2) / 5)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_calibration_counts_belong_to_scikit_learns_bins(tokens: int, bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sure = np.round(random.uniform(0, 1, tokens), 2)  # many on the very edge of a bin
    right = random.uniform(0, 1, tokens) < sure
    report = measures.calibration(sure, right, bins=bins)
    accuracy, mean = calibration_curve(right, sure, n_bins=bins, pos_label=True)
    assert report.accuracy.tolist() == accuracy.tolist() and report.confidence.tolist() == mean.tolist()
    assert report.tokens.sum() == tokens
    assert report.tokens @ report.confidence == pytest.approx(sure.sum())  # fails if a count sat in another bin
    assert report.tokens @ report.accuracy == pytest.approx(right.sum())


def test_a_model_that_means_what_it_says_is_calibrated() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0, 1, 100_000)
    assert measures.calibration(sure, random.uniform(0, 1, sure.size) < sure).error < 0.01
    assert measures.calibration(sure, np.zeros(sure.size, bool)).error == pytest.approx(sure.mean())


def test_calibration_of_a_diverged_model_is_nan() -> None:
    assert math.isnan(measures.calibration([math.nan, math.nan], [False, False]).error)
    assert measures.calibration([math.nan, 1 + 1e-7], [False, True]).tokens.tolist() == [1]
