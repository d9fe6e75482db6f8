"""Arms that differ by their seed alone, taken together: two spreads, survival, and what one seed says as before."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.ground.bootstrap import Interval, bootstrap_interval, paired_bootstrap, with_spread
from unrolled.ground.evaluation import Evaluation, Resampling, sums_of
from unrolled.ground.score import Score, Sums
from unrolled.report.markdown import or_bounded, over_seeds
from unrolled.report.seeds import Configuration, difference, middle, share_interval, spread, summary, survival

RESAMPLING = Resampling(block=10, samples=200, confidence=0.95, seed=1)
SCORE = Score(
    "perplexity", "perplexity", "token", lambda nats, n: math.exp(nats / n), summed="nats", ratio="perplexity ratio"
)
DOCUMENTS = np.repeat(np.arange(40), 25)
NATS = np.random.default_rng(0).exponential(4, len(DOCUMENTS)).astype(np.float32)


def scored(nats: Any) -> Evaluation:
    interval = bootstrap_interval(nats, DOCUMENTS, **RESAMPLING._asdict(), value=math.exp)
    sums = sums_of(nats)
    return Evaluation(
        Path("e"), {}, {SCORE.name: sums}, {SCORE.name: SCORE.of(sums)}, {SCORE.name: interval}, {}, {}, {}, 0.95,
        {SCORE.name: nats}, {}, DOCUMENTS, {},
    )  # fmt: skip


def configuration(name: str, handicaps: Sequence[float], lost: Sequence[int] = ()) -> Configuration:
    """A configuration whose n-th seed, n = 1, 2, ..., has that many nats more a token than NATS."""
    arch, clipping = name.split("-")
    arms: list[Any] = [
        SimpleNamespace(
            name=f"{name}-{seed}", arch=arch, clipping=clipping, seed=seed,
            evaluation=scored((NATS + np.float32(handicap)).astype(np.float32)),
            run=SimpleNamespace(valid=lambda seed=seed: {SCORE.name: Sums(100 * math.log(50 + seed), 100)}),
        )
        for seed, handicap in enumerate(handicaps, start=1)
    ]  # fmt: skip
    rows = [
        {"arm": arm.name, "lost": arm.seed in lost, "status": "finished",
         "came_back": arm.seed == 2 and arm.seed not in lost,
         "first_explosion": 7 if arm.seed in lost or arm.seed == 2 else None}
        for arm in arms
    ]  # fmt: skip
    return Configuration(name, arms, rows)


def test_of_one_seed_nothing_is_said_but_what_its_evaluation_says() -> None:
    alone = configuration("rnn-clipped", [0.0])
    row, evaluation = summary(alone, [SCORE], RESAMPLING), alone.arms[0].evaluation
    assert row["perplexity"] == evaluation.values["perplexity"]
    assert (row["perplexity_low"], row["perplexity_high"]) == evaluation.intervals["perplexity"]
    assert row["perplexity_seeds"] is None and row["seeds"] == 1


def test_seeds_are_taken_together_term_by_term() -> None:
    row = summary(configuration("rnn-clipped", [0.0, 0.1, 0.2]), [SCORE], RESAMPLING)
    mean = NATS.astype(float).mean()
    assert row["perplexity"] == pytest.approx(math.exp(mean + 0.1), rel=1e-6)
    each = [math.exp(mean + handicap) for handicap in (0.0, 0.1, 0.2)]
    assert row["perplexity_seeds"] == pytest.approx(np.std(each, ddof=1), rel=1e-5)
    assert row["perplexity_valid"] == pytest.approx((51 * 52 * 53) ** (1 / 3)) and row[
        "perplexity_valid_seeds"
    ] == pytest.approx(1)
    documents = bootstrap_interval(NATS + 0.1, DOCUMENTS, **RESAMPLING._asdict(), value=math.exp)
    assert row["perplexity_low"] < documents.low and row["perplexity_high"] > documents.high


def test_seeds_that_are_alike_add_nothing_to_the_interval() -> None:
    row = summary(configuration("rnn-clipped", [0.1, 0.1, 0.1]), [SCORE], RESAMPLING)
    alone = summary(configuration("rnn-clipped", [0.1]), [SCORE], RESAMPLING)
    assert row["perplexity_seeds"] == 0.0
    for end in ("perplexity_low", "perplexity_high"):
        assert row[end] == pytest.approx(alone[end], rel=1e-6)


def test_who_is_lost_counts_in_survival_and_not_in_the_score() -> None:
    each = configuration("rnn-unclipped", [0.0, 0.1, 50.0], lost=[3])
    row = summary(each, [SCORE], RESAMPLING)
    assert row["perplexity"] == pytest.approx(math.exp(NATS.astype(float).mean() + 0.05), rel=1e-6)
    assert (row["seeds"], row["survived"], row["exploded"], row["came_back"]) == (3, 2, 2, 1)
    assert (row["survival_low"], row["survival_high"]) == share_interval(2, 3, 0.95)


def test_a_difference_is_between_twins_of_one_seed() -> None:
    """The spread over seeds of each is large, that of their difference is not."""
    first, second = configuration("rnn-clipped", [0.0, 1.0, 2.0]), configuration("rnn-unclipped", [0.5, 1.5, 2.5])
    row = difference(first, second.name, second, SCORE, RESAMPLING)
    assert row["seeds"] == [1, 2, 3]
    assert row["difference"] == pytest.approx(-0.5, abs=1e-5) and row["difference_seeds"] == pytest.approx(0, abs=1e-5)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((-0.5, -0.5), abs=1e-4)


def test_only_seeds_that_both_survived_are_compared() -> None:
    first = configuration("rnn-clipped", [0.0, 0.0, 0.0], lost=[1])
    second = configuration("rnn-unclipped", [1.0, 2.0, 9.0], lost=[3])
    row = difference(first, second.name, second, SCORE, RESAMPLING)
    assert row["seeds"] == [2] and row["difference"] == pytest.approx(-2, abs=1e-5)
    assert row["difference_seeds"] is None
    for alone in (configuration("lstm-clipped", [0.0]), configuration("lstm-clipped", [0.0], lost=[1])):
        row = difference(alone, "rnn-clipped", first, SCORE, RESAMPLING)
        assert row["seeds"] == [] and "difference" not in row  # seed 1 alone, which the other lost


def test_a_baseline_is_the_same_for_every_seed() -> None:
    baseline = scored(NATS)
    row = difference(configuration("rnn-clipped", [0.1, 0.3]), "kneser_ney", baseline, SCORE, RESAMPLING)
    assert row["difference"] == pytest.approx(0.2, abs=1e-5)
    assert row["difference_seeds"] == pytest.approx(np.std([0.1, 0.3], ddof=1), abs=1e-4)
    alone = difference(configuration("rnn-clipped", [0.1]), "kneser_ney", baseline, SCORE, RESAMPLING)
    paired = paired_bootstrap((NATS + np.float32(0.1)), NATS, DOCUMENTS, **RESAMPLING._asdict())
    assert (alone["difference_low"], alone["difference_high"]) == paired.interval


def test_the_interval_of_several_seeds_covers_the_mean_of_all_that_there_could_be() -> None:
    """Documents and seeds drawn anew 600 times: the mean over both lies within as often as the interval says."""
    random, hits, trials = np.random.default_rng(3), 0, 600
    clusters = np.repeat(np.arange(60), 5)
    for _ in range(trials):
        of_document = np.repeat(random.normal(0, 0.3, 60), 5)
        units = [of_document + random.normal(0, 0.04) + random.normal(0, 0.5, 300) for _ in range(4)]
        documents = bootstrap_interval(np.mean(units, axis=0), clusters, block=10, samples=200)
        low, high = with_spread(documents, [each.mean() for each in units], 0.95)
        hits += low <= 0 <= high
    assert 0.93 <= hits / trials <= 0.985


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.floats(0, 3), st.floats(0, 3))
def test_more_spread_never_narrows_an_interval(means: list[float], below: float, above: float) -> None:
    centre = float(np.mean(means))
    interval = Interval(centre - below, centre + above)
    low, high = with_spread(interval, means, 0.95)
    assert low <= interval.low + 1e-9 and high >= interval.high - 1e-9
    if len(means) == 1:
        assert (low, high) == interval


def test_an_interval_of_what_exploded_stays_what_it_is() -> None:
    assert with_spread(Interval(1.0, math.inf), [1.0, 2.0], 0.95) == (1.0, math.inf)
    assert with_spread(Interval(1.0, 2.0), [1.0, math.inf], 0.95) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"), [(5, 5, 0.478, 1.0), (0, 5, 0.0, 0.522), (4, 5, 0.284, 0.995), (1, 1, 0.025, 1.0)]
)
def test_survival_has_the_exact_interval_of_a_share(count: int, of: int, low: float, high: float) -> None:
    """Clopper & Pearson 1934; these are the tables' values."""
    assert share_interval(count, of, 0.95) == pytest.approx((low, high), abs=1e-3)


def test_survival_of_every_kind() -> None:
    rows = [
        {"lost": False, "first_explosion": None, "status": "finished", "came_back": False},
        {"lost": False, "first_explosion": 3, "status": "finished", "came_back": True},
        {"lost": True, "first_explosion": 3, "status": "finished", "came_back": False},
        {"lost": True, "first_explosion": 9, "status": "diverged", "came_back": False},
        {"lost": False, "first_explosion": 9, "status": "diverged", "came_back": False},  # kept from an epoch before
    ]
    found = survival(rows, 0.95)
    assert {name: found[name] for name in ("survived", "exploded", "came_back", "diverged")} == {
        "survived": 2, "exploded": 4, "came_back": 1, "diverged": 2,
    }  # fmt: skip
    assert found["survival"] == 0.4


def test_an_interval_over_seeds_stays_where_a_score_can_be() -> None:
    row = summary(configuration("rnn-clipped", [0.0, 9.0]), [SCORE], RESAMPLING)
    assert row["perplexity_low"] == 1  # no less than no surprise
    hits = replace(SCORE, value=lambda total, n: total / n, ratio="", most=5.0)
    assert summary(configuration("rnn-clipped", [0.0, 0.9]), [hits], RESAMPLING)["perplexity_high"] <= 5.0


def test_a_spread_needs_two_and_a_median_needs_one() -> None:
    assert spread([1.0]) is None and spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))
    assert math.isnan(spread([1.0, math.inf]) or 0.0)
    assert middle([None, None]) is None and middle([3.0, None, 1.0, 2.0]) == 2.0 and middle([math.nan, 1.0, 2.0]) == 2.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([2.0], "2.0"),
        ([None], ""),
        ([2.0, 2.0], "2.0"),
        ([3.0, 1.0, 2.0], "2.0 (1.0 to 3.0)"),
        ([3.0, math.nan, 1.0], "1.0 (1.0 to 3.0); 1 nan"),
        ([math.nan, 1.0, math.inf, 1.0, math.inf], "1.0; 1 nan; 2 inf"),
        ([math.nan, math.nan], "nan"),
    ],
)
def test_how_values_of_several_seeds_read(values: list[float | None], said: str) -> None:
    assert over_seeds(values, "{:.1f}".format) == said


def test_what_exploded_reads_as_words_beside_the_others() -> None:
    values = [0.25, math.inf, -math.inf, -2e6, math.nan]
    assert [or_bounded("{:.1f}".format)(each) for each in values[1:]] == [
        "above 1e6", "below -1e6", "below -1e6", "undefined",
    ]  # fmt: skip
    assert over_seeds([0.25, math.inf, math.inf], or_bounded("{:.2f}".format)) == "0.25; 2 above 1e6"
