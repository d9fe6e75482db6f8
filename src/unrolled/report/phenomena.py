"""An arm's memory, gradients and explosion as tables and figures in a row: what a run and its probes say together."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from unrolled.ground.run import Run
from unrolled.probing.gates import CARRYING, time_constants
from unrolled.probing.gradient_norms import EXPLODED, first_explosion
from unrolled.probing.probe import Probes
from unrolled.report.series import last_finite_epoch

BEFORE, AFTER = 5, 20  # steps shown around an explosion
WHEN = ("before training", "halfway", "after")
MATRIX = ("spectral_radius", "largest_singular_value")  # which a cell without a recurrent matrix has not
CARRIERS = tuple(CARRYING.values())

PHENOMENA = {  # heading and meaning of each figure that has a column
    "gradient_reach": (
        "gradient reach",
        "how many time steps back the norm of dL/dh of one loss stays above 1% of its maximum",
    ),
    "context_needed": (
        "context needed",
        "from how much context on the test score stays within 5% of what it is with all of it",
    ),
    "lyapunov_exponent": (
        "Lyapunov exponent",
        "the largest, in nats per time step; above 0 gradients explode along real data, below 0 they vanish",
    ),
    "spectral_radius": (
        "spectral radius",
        "of the recurrent weights at the end of training, for the gate where it is largest",
    ),
    "largest_singular_value": ("largest singular value", "of the same weights"),
    "time_constant": ("time constant", "of the median unit, in time steps, for the gate that carries the state"),
    "first_explosion": (
        "first explosion at step",
        f"the first at which {EXPLODED}",
    ),
}


def phenomena(run: Run, probes: Probes) -> dict[str, Any]:
    """Single figures of the main stack's lowest layer; of spectra, the largest over its gates."""
    spectra = run.spectra[(run.spectra["stack"] == run.main_stack) & (run.spectra["layer"] == 0)]
    last = spectra[spectra["epoch"] == spectra["epoch"].max()]
    held = time_constants_of(probes)
    lowest = held[(held["stack"] == run.main_stack) & (held["layer"] == 0)]["steps"]
    explosion = probes.figures["explosion"]
    return {
        **dict(_with_intervals(probes)),
        "lyapunov_exponent": probes.figures["lyapunov_exponent"],
        **{name: float(last[name].max()) if len(last) else None for name in MATRIX},
        "time_constant": float(lowest.median()) if len(lowest) else None,
        "first_explosion": explosion["step"] if explosion else None,
    }


def _with_intervals(probes: Probes) -> Iterator[tuple[str, float]]:
    for name in ("half_life", "gradient_reach", "context_needed"):
        yield name, probes.figures[name]
        yield from zip((f"{name}_low", f"{name}_high"), probes.figures["intervals"][name], strict=True)


def came_back(run: Run, probes: Probes, lost: bool) -> bool:
    """It exploded, trained on to its end, and was at its best after that, better than what learns nothing (``lost``).

    Weights that are kept from an epoch before the explosion say nothing of what came after.
    """
    explosion = probes.figures["explosion"]
    if explosion is None or lost or run.summary["diverged_at_step"] is not None:
        return False
    exploded_in = int(run.steps["epoch"].iloc[explosion["step"] - 1])
    return bool(run.summary["best_epoch"] >= exploded_in)


def outcome(run: Run, probes: Probes, lost: bool) -> str:
    """How a training ended, in words; ``lost``: what came out is no better than a model that learns nothing."""
    diverged, explosion = run.summary["diverged_at_step"], probes.figures["explosion"]
    if diverged is not None:
        return f"diverged at step {diverged:,}"
    if explosion is None:
        return "finished, but no better than a model that learns nothing" if lost else "finished"
    return (
        f"exploded at step {explosion['step']:,}, {'came back' if came_back(run, probes, lost) else 'never came back'}"
    )


def lag_by_training(run: Run) -> pd.DataFrame:
    """The lag profile of the untrained network, of the epoch halfway, and of the last one that is finite."""
    last = last_finite_epoch(run.lag_profile)["epoch"].max()
    frames = []
    for when, epoch in zip(WHEN, (0, math.ceil(last / 2) if last == last else 0, last), strict=True):
        rows = run.lag_profile[run.lag_profile["epoch"] == epoch]
        if when == WHEN[0] or epoch > 0:
            frames.append(rows.assign(when=when))
    return pd.concat(frames, ignore_index=True)


def largest_spectra(run: Run) -> pd.DataFrame:
    """By epoch, stack and layer: the largest over the gates."""
    keys = ["epoch", "stack", "layer"]
    return run.spectra.groupby(keys, as_index=False)[[*MATRIX]].max()


def saturation(probes: Probes) -> pd.DataFrame:
    """By stack, layer and gate: the mean over units of the shares of time steps at either end of the gate's range."""
    keys = ["stack", "layer", "gate"]
    return probes.gates.groupby(keys, as_index=False, sort=False)[["low_share", "high_share"]].mean()


def time_constants_of(probes: Probes) -> pd.DataFrame:
    """Of each unit of a gate that carries the state, in steps, the longest first; no rows for a cell without one."""
    carrying = probes.gates[probes.gates["gate"].isin(CARRIERS)]
    steps = time_constants(torch.tensor(carrying["mean"].to_numpy(dtype=np.float64))).numpy()
    table = carrying[["stack", "layer"]].assign(steps=steps)
    table = table.sort_values(["stack", "layer", "steps"], ascending=[False, True, False], ignore_index=True)
    return table.assign(unit=table.groupby(["stack", "layer"]).cumcount() + 1)


def around(run: Run, step: int | None) -> pd.DataFrame:
    """Loss and gradient norm before clipping of the steps around ``step``; of the first ones where it is None."""
    first = 1 if step is None else max(1, step - BEFORE)
    rows = run.steps[(run.steps["step"] >= first) & (run.steps["step"] <= first + BEFORE + AFTER)]
    return rows[["step", "loss", "grad_norm"]].reset_index(drop=True)


def cliff_of(probes: Probes) -> pd.DataFrame:
    """The loss by distance down the gradient that exploded, and that gradient's norm, the same in every row."""
    explosion = probes.figures["explosion"]
    return probes.cliff.assign(norm=explosion["norm"] if explosion else math.nan)


def explosion_step(run: Run) -> int | None:
    """Number of the first step whose gradient exploded."""
    index = first_explosion(run.steps["grad_norm"], run.steps["loss"]) if len(run.steps) else None
    return None if index is None else int(run.steps["step"].iloc[index])
