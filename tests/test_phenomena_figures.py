"""Figures of explosions whose losses lie below zero, as those of reinforcement do, on logarithmic axes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unrolled.report.drawing import lines
from unrolled.report.panel import Panel
from unrolled.report.phenomena_figures import PhenomenaFigures

GRID = [{"arm": "a-u-1", "arch": "a", "clipping": "u", "clip_norm": None, "seed": 1}]


@pytest.mark.parametrize("losses", [[-2e34, -1.0, -3.0], [-5.0, 2.0, 3.0], [0.0, 0.0, 0.0], [np.nan, -1.0, np.inf]])
def test_losses_below_zero_are_left_out(losses: list[float]) -> None:
    table = pd.DataFrame({"arm": "a-u", "step": [1, 2, 3], "loss": losses, "distance": [0.1, 1.0, 10.0]})
    table = table.assign(landed=[0, 1, 0], norm=1.0)
    line = SimpleNamespace(arm="a-u", arch="a", clip_norm=None)
    line.series = lines(GRID, {"a-u-1": None})[0].series
    figures: Any = SimpleNamespace(
        tables={"explosion": table, "cliff": table}, arms=[line],
        comparison=SimpleNamespace(wording=SimpleNamespace(loss="loss")),
    )  # fmt: skip
    for draw in (PhenomenaFigures._steps(figures, "a", "loss"), PhenomenaFigures._cliff(figures, "a")):
        draw(panel := Panel())
        assert panel.y.limits and 0 < panel.y.limits[0] < panel.y.limits[1]
        panel.specification({"a-u": "red"}, "values", size=(100, 100), titled=True)
