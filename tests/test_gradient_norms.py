import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unrolled.probing import gradient_norms
from unrolled.probing.exponents import lyapunov_exponents
from unrolled.recurrence.profile import lag_profile
from unrolled.recurrence.stack import Stack


def test_gradient_norm_report_by_hand() -> None:
    norms = [*range(1, 102), math.inf, math.nan, math.inf]
    report = gradient_norms.gradient_norm_report(norms, clip_norm=51)
    assert report == pytest.approx((51, 91, 100, 101, 50 / 104, 3 / 104))


def test_a_norm_at_the_threshold_is_not_clipped_and_null_clips_nothing() -> None:
    assert gradient_norms.gradient_norm_report([0.25, 0.26], 0.25).clipped_share == 0.5
    assert gradient_norms.gradient_norm_report([0.25, 1e30], None).clipped_share == 0


def test_a_run_of_nothing_but_explosions() -> None:
    report = gradient_norms.gradient_norm_report([math.nan, math.inf], 1.0)
    assert math.isnan(report.max) and report.nonfinite_share == 1 and report.clipped_share == 0
    with pytest.raises(ValueError, match="no steps"):
        gradient_norms.gradient_norm_report([], 1.0)


@given(st.floats(0.5, 1.5).filter(lambda a: abs(a - 1) > 1e-3), st.integers(2, 60), st.floats(1e-3, 1e3))
def test_half_life_of_a_geometric_profile(a: float, steps: int, scale: float) -> None:
    assert gradient_norms.half_life(scale * a ** np.arange(steps)) == pytest.approx(
        math.log(0.5) / math.log(a), rel=1e-6
    )


def test_a_mingru_that_keeps_nine_tenths_is_a_linear_recurrence_of_modulus_0_9() -> None:
    """By construction, z = 0.1 whatever is read: half-life ln 2 / -ln 0.9, and 0.9^43 is the last share above 1 %."""
    stack = Stack("forward", "mingru", inputs=2, hidden=5, layers=1).double()
    layer = stack.layers[0]
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.bias[:5] = math.log(0.1 / 0.9)
    inputs, state = torch.randn(100, 3, 2, dtype=torch.float64), stack.initial_state(3)
    norms = lag_profile(lambda profile: stack(inputs, state, None, profile)[0][-1].sum(), stack.parameters())[
        layer.name
    ]
    np.testing.assert_allclose(norms / norms[0], 0.9 ** np.arange(100), rtol=1e-12)
    assert gradient_norms.half_life(norms) == pytest.approx(6.5788, abs=1e-4)
    assert gradient_norms.reach(norms) == 43
    exponents = lyapunov_exponents(stack, inputs[:, :1], stack.initial_state(1), count=5, settle=10)
    np.testing.assert_allclose(exponents, math.log(0.9), rtol=1e-12)


def test_half_life_shrugs_off_a_bump_and_skips_what_has_no_logarithm() -> None:
    profile = 0.5 ** np.arange(30.0)
    profile[4] *= 1000
    profile[[7, 9, 11]] = [0, math.nan, math.inf]
    assert gradient_norms.half_life(profile) == pytest.approx(1, abs=0.02)


def test_half_life_without_a_slope() -> None:
    assert gradient_norms.half_life([3.0, 3.0, 3.0]) == math.inf
    assert math.isnan(gradient_norms.half_life([1.0, 0.0, math.nan]))


addends = hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 5)), elements=st.floats(-1e9, 1e9))


@given(addends)
def test_alignment_lies_between_0_and_1(vectors: np.ndarray) -> None:
    norms = np.linalg.norm(vectors, axis=1)
    found = gradient_norms.alignment(norms, float(np.linalg.norm(vectors.sum(0))))
    assert 0 <= found <= 1 or (math.isnan(found) and not norms.any())


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(1e-9, 1e9)), st.floats(1e-9, 1e9))
def test_alignment_does_not_depend_on_the_scale(norms: np.ndarray, scale: float) -> None:
    whole = float(np.linalg.norm(norms))
    expected = gradient_norms.alignment(norms, whole)
    assert gradient_norms.alignment(scale * norms, scale * whole) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 2], [2, 4], [3, 6]], 1),  # all the same way
        (np.eye(35).tolist(), 35**-0.5),  # orthogonal
        ([[1, 2], [-1, -2]], 0),  # cancelling
        ([[3, 0], [0, 4]], 5 / 7),
    ],
)
def test_alignment_of_what_one_can_see(vectors: list[list[float]], expected: float) -> None:
    norms, whole = np.linalg.norm(vectors, axis=1), float(np.linalg.norm(np.sum(vectors, 0)))
    assert gradient_norms.alignment(norms, whole) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("norms", [[], [0.0, 0.0], [1.0, math.inf], [1.0, math.nan], [1e308, 1e308]])
def test_alignment_of_nothing_finite_is_nan(norms: list[float]) -> None:
    assert math.isnan(gradient_norms.alignment(norms, 1.0))
    assert math.isnan(gradient_norms.alignment([1.0], math.inf))


@given(st.integers(1, 2000), st.integers(1, 320), st.integers(0, 2**32 - 1))
def test_window_maxima_keep_the_explosion(steps: int, windows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    norms = random.exponential(1, steps)
    spike = int(random.integers(steps))
    norms[spike] = 1e17
    last, maxima = gradient_norms.window_maxima(norms, windows)
    assert len(last) == len(maxima) <= windows
    assert last[-1] == steps - 1 and (np.diff(last) > 0).all()
    assert last[np.flatnonzero(maxima == 1e17)].tolist() == [last[last >= spike][0]]


def test_window_maxima_by_hand() -> None:
    last, maxima = gradient_norms.window_maxima([1, 5, math.nan, 2, math.nan, math.inf, math.nan], 4)
    assert last.tolist() == [1, 3, 5, 6]
    assert maxima[:3].tolist() == [5, 2, math.inf] and math.isnan(maxima[3])
    assert gradient_norms.window_maxima([])[1].size == 0


@given(st.floats(0.1, 0.95), st.integers(3, 300))
def test_a_geometric_profile_reaches_as_far_as_its_powers_say(a: float, steps: int) -> None:
    profile = a ** np.arange(steps)
    last = int(np.flatnonzero(profile >= 0.01).max())
    assert gradient_norms.reach(profile) == (last if last + 1 < steps else math.inf)


def test_reach_counts_from_the_loss_and_looks_behind_the_peak() -> None:
    assert gradient_norms.reach([0.001, 1.0, 0.5, 0.001, 1.0]) == 2
    assert math.isnan(gradient_norms.reach([1.0, math.inf]))
    assert math.isnan(gradient_norms.reach([0.0, 0.0]))
    assert math.isnan(gradient_norms.reach([]))


@pytest.mark.parametrize(
    ("norms", "losses", "first"),
    [
        ([1, 1, 1, 10, 10.1, 1], [4, 4, 4, 4, 4, 9], 4),
        ([1, 1, 1, 10, 10.1, 1], [4, 9, 4, 4, 4, 9], None),  # the loss was as high before
        ([1, 1, 1, 10.1, 1, 1, 1], [4, 4, 4, 4, 9, 4, 4], None),  # one batch alone is hard
        ([1, 1, 1, 10.1, 1, 10.1, 1], [4, 4, 4, 4, 3, 3, 9], 5),
        ([1, 1, 1, 10.1, 1], [4, 4, 4, 4, math.nan], 3),
        ([1, 1, 1, 10.1], [4, 4, 4, 4], None),  # of what comes of it nothing is seen
        ([1, 1, 100, 1, 1, 1], [4, 4, 4, 9, 9, 9], None),  # too early to say
        ([1, 1, 1, 1, math.nan], [4, 4, 4, 4, math.nan], 4),
        ([1, 1, 1, math.inf], [4, 4, 4, 4], 3),
        ([1.5**step for step in range(60)], list(range(60)), None),  # grows, but never by a jump
        ([], [], None),
    ],
)
def test_the_first_explosion(norms: list[float], losses: list[float], first: int | None) -> None:
    assert gradient_norms.first_explosion(norms, losses) == first
