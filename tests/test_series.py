"""Curves of few points that lose no explosion, and single values that no curve shares its name with."""

import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from unrolled.report.series import last_finite_epoch, windowed

numbers = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=1500)


def series(values: list[float]) -> tuple[pd.Series, pd.Series]:
    return pd.Series(range(1, len(values) + 1)), pd.Series(values, dtype=float)


@given(numbers)
def test_windows_keep_the_largest_finite_value_in_few_points(values: list[float]) -> None:
    points = windowed(*series(values), "max")
    finite = [value for value in values if math.isfinite(value)]
    steps = [step for step, _ in points]
    assert len(points) <= 320
    assert steps == sorted(set(steps)) and all(1 <= step <= len(values) for step in steps)
    assert max((value for _, value in points), default=None) == max(finite, default=None)


def test_one_spike_in_five_thousand_steps_is_seen() -> None:
    values = np.ones(5000)
    values[3210] = 1000
    points = windowed(*series(values.tolist()), "max")
    assert len(points) <= 320
    [(step, _)] = [point for point in points if point[1] == 1000]
    assert 3211 <= step < 3211 + 16  # the end of its window of 16 steps
    assert points[-1][0] == 5000


def test_short_series_stay_as_they_are() -> None:
    assert windowed(*series([3, 1, 2]), "median") == [(1, 3), (2, 1), (3, 2)]


def test_a_window_tells_the_median_and_mean_of_its_finite_steps() -> None:
    values = [1.0, 9.0, math.inf, math.nan] * 160  # 640 steps, windows of 2
    points = windowed(*series(values), "mean")
    assert points[0] == (2, 5.0) and len(points) == 160


def test_the_profile_is_of_the_last_epoch_that_is_finite_and_trained() -> None:
    frame = pd.DataFrame({"epoch": [0, 1, 1, 2, 2], "norm": [9, 1, 2, 3, math.inf]})
    assert last_finite_epoch(frame)["norm"].tolist() == [1, 2]
    assert last_finite_epoch(frame[:1]).empty
