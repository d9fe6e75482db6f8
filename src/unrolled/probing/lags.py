"""How far back one loss reaches, from several stretches of text: what another stretch would have shown."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unrolled.ground.bootstrap import Interval, bootstrap_statistic
from unrolled.ground.corpus import Split
from unrolled.ground.evaluation import Resampling
from unrolled.ground.task import Model, Task
from unrolled.probing.gradient_norms import half_life, reach
from unrolled.recurrence.profile import Profile, lag_profile
from unrolled.training.diagnostics import LAG_STEPS

Floats = NDArray[np.float64]

STRETCHES = 20
MEASURES: Mapping[str, Callable[[Floats], float]] = {"half_life": half_life, "gradient_reach": reach}


def lags_of_stretches(model: Model, task: Task, split: Split, layer: str) -> Floats:
    """||dL/dh|| of one layer by distance back from one loss, in each of up to twenty stretches of the split: [S, T]."""
    profiles = []
    for stretch in range(STRETCHES):
        loss = partial(_single_loss, model, task, split, stretch)
        try:
            profiles.append(lag_profile(loss, model.parameters())[layer].double().numpy())
        except IndexError:  # the split has no more
            break
    shortest = min(map(len, profiles))  # a task whose stretches differ in length
    return np.stack([each[:shortest] for each in profiles])


def _single_loss(model: Model, task: Task, split: Split, stretch: int, profile: Profile) -> Tensor:
    return task.single_loss(model, split, LAG_STEPS, profile, stretch=stretch)


def reaches(profiles: Floats, resampling: Resampling) -> dict[str, tuple[float, Interval]]:
    """Half-life and gradient reach of the stretches' mean profile [S, T], with intervals over stretches.

    The mean is of squared norms, as the norm of a larger batch would be. nan where a norm is not finite; one stretch
    has no interval.
    """
    return {name: _measured(np.square(profiles), measure, resampling) for name, measure in MEASURES.items()}


def _measured(squares: Floats, measure: Callable[[Floats], float], resampling: Resampling) -> tuple[float, Interval]:
    def of_mean(means: Floats) -> float:
        return measure(np.sqrt(means))

    none = Interval(math.nan, math.nan)
    if not np.isfinite(squares).all():
        return math.nan, none
    if len(squares) < 2:
        return of_mean(squares[0]), none
    return bootstrap_statistic(squares, np.arange(len(squares)), of_mean, **resampling._asdict() | {"block": 1})
