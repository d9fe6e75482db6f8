import math
from types import SimpleNamespace as Made

import numpy as np
import pandas as pd
import pytest

from unrolled.report import phenomena


def run(*, epochs: int = 4, diverged: bool = False) -> Made:
    """A run whose lag profile falls by 2 ** -epoch a step, and whose gradient explodes at step 9."""
    lags = pd.DataFrame(
        [
            {"epoch": epoch, "stack": "forward", "layer": 0, "distance": distance, "norm": 2.0 ** (-epoch * distance)}
            for epoch in range(epochs + 1)
            for distance in range(12)
        ]
    )
    if diverged:
        lags.loc[lags["epoch"] > 0, "norm"] = math.inf
    spectra = pd.DataFrame(
        [
            (e, "forward", 0, gate, e + size, e + 2 * size)
            for e in range(epochs + 1)
            for gate, size in (("a", 1.0), ("b", 2.0))
        ],
        columns=["epoch", "stack", "layer", "gate", "spectral_radius", "largest_singular_value"],
    )
    norms = [1.0] * 8 + [100.0] + [1.0] * 40
    steps = pd.DataFrame({"step": range(1, 50), "loss": [4.0] * 9 + [9.0] * 40, "grad_norm": norms})
    return Made(lag_profile=lags, spectra=spectra, steps=steps, main_stack="forward")


def probes(*gates: str) -> Made:
    rows = [("forward", 0, gate, unit, 0.5 + 0.1 * unit, 0.1 * unit, 0.2) for gate in gates for unit in range(3)]
    columns = ["stack", "layer", "gate", "unit", "mean", "low_share", "high_share"]
    figures = {
        "half_life": 2.0,
        "gradient_reach": 3.0,
        "context_needed": 10.0,
        "intervals": {name: [1.0, 20.0] for name in ("half_life", "gradient_reach", "context_needed")},
        "lyapunov_exponent": -0.5,
        "explosion": {"step": 9, "norm": 100.0},
    }
    return Made(gates=pd.DataFrame(rows, columns=columns), figures=figures)


def test_the_row_is_of_the_last_epoch() -> None:
    row = phenomena.phenomena(run(), probes("input", "forget"))
    assert (row["gradient_reach"], row["gradient_reach_low"], row["gradient_reach_high"]) == (3, 1, 20)
    assert (row["spectral_radius"], row["largest_singular_value"]) == (6, 8)
    assert row["time_constant"] == pytest.approx(-1 / math.log(0.6))
    assert (row["context_needed"], row["lyapunov_exponent"], row["first_explosion"]) == (10, -0.5, 9)


def test_a_cell_without_a_carrying_gate_has_no_time_constant() -> None:
    assert phenomena.phenomena(run(), probes("hidden"))["time_constant"] is None
    assert phenomena.time_constants_of(probes("hidden")).empty


def test_a_cell_without_a_recurrent_matrix_has_no_spectral_radius() -> None:
    without = run()
    without.spectra = without.spectra[:0]
    row = phenomena.phenomena(without, probes("forget"))
    assert row["spectral_radius"] is row["largest_singular_value"] is None
    assert row["time_constant"] == pytest.approx(-1 / math.log(0.6))


@pytest.mark.parametrize(("epochs", "shown"), [(4, [0, 2, 4]), (3, [0, 2, 3]), (1, [0, 1, 1])])
def test_before_halfway_and_after(epochs: int, shown: list[int]) -> None:
    table = phenomena.lag_by_training(run(epochs=epochs))
    assert table.groupby("when")["epoch"].first()[list(phenomena.WHEN)].tolist() == shown
    assert table.groupby("when").size().tolist() == [12] * 3


def test_of_an_arm_that_diverged_only_the_untrained_network_is_shown() -> None:
    assert phenomena.lag_by_training(run(diverged=True))["when"].unique().tolist() == ["before training"]


def test_time_constants_come_longest_first() -> None:
    table = phenomena.time_constants_of(probes("forget"))
    assert table["unit"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table["steps"], [-1 / math.log(0.7), -1 / math.log(0.6), -1 / math.log(0.5)])


def test_saturation_is_the_mean_over_units() -> None:
    table = phenomena.saturation(probes("input", "forget"))
    assert table["gate"].tolist() == ["input", "forget"]
    assert table["low_share"].tolist() == pytest.approx([0.1, 0.1])


def test_around_an_explosion_stand_the_steps_before_and_after_it() -> None:
    assert phenomena.explosion_step(run()) == 9
    table = phenomena.around(run(), 9)
    assert (table["step"].min(), table["step"].max()) == (4, 29)
    assert table["grad_norm"].max() == 100
    assert phenomena.around(run(), None)["step"].min() == 1
