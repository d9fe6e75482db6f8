"""Accuracy and calibration, beside scikit-learn's."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from sklearn.metrics import top_k_accuracy_score

from unrolled.scoring import measures


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_accuracy_is_scikit_learns(k: int) -> None:
    random = np.random.default_rng(0)
    scores, targets = random.normal(size=(500, 8)), random.integers(8, size=500)
    ours = measures.hits(measures.target_ranks(scores, targets), k).mean()
    assert ours == pytest.approx(top_k_accuracy_score(targets, scores, k=k, labels=range(8)))


def test_nan_scores_predict_nothing() -> None:
    scores = [[math.nan] * 3, [0.0, math.nan, 1.0], [0.0, 2.0, 1.0]]
    ranks = measures.target_ranks(scores, [0, 2, 2])
    assert (ranks.above.tolist(), ranks.tied.tolist()) == ([3, 1, 1], [0, 1, 1])
    assert measures.hits(ranks, 1).tolist() == [0, 0, 0] and measures.hits(ranks, 9).tolist() == [0, 1, 1]


def test_ties_by_hand() -> None:
    """Three level at the top: each is first one time in three, and among the first two two times in three."""
    ranks = measures.target_ranks([[5.0, 5, 5, 1], [5, 5, 5, 1], [1, 5, 1, 1]], [2, 3, 3])
    assert (ranks.above.tolist(), ranks.tied.tolist()) == ([0, 3, 1], [3, 1, 3])
    assert measures.hits(ranks, 1).tolist() == [1 / 3, 0, 0]
    assert measures.hits(ranks, 2).tolist() == [2 / 3, 0, 1 / 3]
    assert measures.hits(ranks, 5).tolist() == [1, 1, 1]


@given(st.integers(1, 12), st.integers(1, 15))
def test_a_constant_model_is_right_by_chance(types: int, k: int) -> None:
    ranks = measures.target_ranks(np.zeros((types, types)), np.arange(types))
    assert measures.hits(ranks, k) == pytest.approx(min(k / types, 1))


@given(hnp.arrays(np.float64, (6, 5), elements=st.sampled_from([0.0, 1.0, 2.0, -np.inf])), st.integers(1, 6))
def test_hits_are_those_of_ties_ordered_by_chance(scores: np.ndarray, k: int) -> None:
    """By every order of the columns; each row has k hits to give."""
    targets = [0, 1, 2, 3, 4, 0]
    found = np.zeros(len(targets))
    orders = [np.array(order) for order in permutations(range(5))]
    for order in orders:
        best = order[np.argsort(-scores[:, order], axis=1, kind="stable")[:, :k]]
        found += (best == np.array(targets)[:, None]).any(axis=1)
    assert measures.hits(measures.target_ranks(scores, targets), k) == pytest.approx(found / len(orders))
    of_all = [measures.hits(measures.target_ranks(scores, [target] * 6), k) for target in range(5)]
    assert np.sum(of_all, axis=0) == pytest.approx(min(k, 5))


def test_calibration_by_hand() -> None:
    report = measures.calibration([0.1, 0.3, 0.9, 0.9, 0.8], [False, False, True, True, False], bins=2)
    assert report.tokens.tolist() == [2, 3]
    assert report.confidence == pytest.approx([0.2, 2.6 / 3])
    assert report.accuracy == pytest.approx([0, 2 / 3])
    assert report.error == pytest.approx((2 * 0.2 + 3 * 0.2) / 5)


def test_a_tie_is_right_in_part() -> None:
    report = measures.calibration([0.25] * 4, [0.25] * 4)
    assert (report.tokens.tolist(), report.accuracy.tolist(), report.error) == ([4], [0.25], 0)


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
