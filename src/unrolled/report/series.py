"""A run's numbers as a chart can show them: single values, and curves of few enough points.

MLflow's charts fetch 320 points of a curve; of more they leave some out, and with them an explosion. Single values at
step 0 become bars, so no curve may share their names. inf and nan it cannot show at all.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from unrolled.ground.evaluation import Evaluation
from unrolled.ground.run import Run
from unrolled.ground.score import Score, Sums
from unrolled.probing.gradient_norms import alignment, gradient_norm_report, window_maxima
from unrolled.probing.probe import Probes

Point = tuple[int, float]  # step, value
# A curve's name, its column of the run's steps, what stands for the steps of a window.
BY_STEP = {
    "grad_norm/window_max": ("grad_norm", "max"),
    "grad_norm/window_median": ("grad_norm", "median"),
    "grad_norm_after/window_max": ("grad_norm_after", "max"),
    "train/loss": ("loss", "mean"),
    "train/learning_rate": ("learning_rate", "max"),
}


def single_values(run: Run, evaluation: Evaluation, scores: Sequence[Score]) -> dict[str, float]:
    """Final values, finite or not; ``scores``: as the task declares them."""
    summary = run.summary
    values = {"diverged": float(summary["status"] == "diverged"), "network/parameters": float(summary["parameters"])}
    if len(run.steps):
        norms = gradient_norm_report(run.steps["grad_norm"], run.settings["train"]["clip_norm"])
        values |= {f"grad_norm/{name}": value for name, value in norms._asdict().items()}
        values["grad_norm/log10_max"] = math.log10(norms.max) if norms.max > 0 else math.nan
    aligned = recurrent_alignment(run)
    values |= {} if aligned is None else {"addends/alignment": aligned}
    best = run.valid()
    for score in scores:
        if score.name in best:
            values[f"{score.name}/best_valid"] = score.of(best[score.name])
        if score.name in evaluation.sums:
            values |= _of_test(score, evaluation)
    return values | {f"{name}/test": float(value) for name, value in evaluation.measures.items()}


def _of_test(score: Score, evaluation: Evaluation) -> dict[str, float]:
    """The score, its interval, and, where the score is finite and is not itself that, its sum a term.

    An arm whose perplexity overflows has no bar: it would flatten all others, and the tag `diverged` tells.
    """
    name, sums = score.name, evaluation.sums[score.name]
    low, high = evaluation.intervals[name]
    values = {f"{name}/test": evaluation.values[name], f"{name}/test_low": low, f"{name}/test_high": high}
    if score.summed and math.isfinite(evaluation.values[name]):
        values[f"{name}/mean"] = sums.sum / sums.terms
    return values


def curves(run: Run, probes: Probes, scores: Sequence[Score]) -> dict[str, list[Point]]:
    """By step, in windows; by epoch, at the epoch's last step; profiles and addends by time step, or by distance.

    The main score also by the context given, and the Lyapunov exponents by their index.
    """
    steps = run.steps
    drawn = {name: windowed(steps["step"], steps[column], how) for name, (column, how) in BY_STEP.items()}
    ends = run.epochs["epoch"].map(steps.groupby("epoch")["step"].max())
    for score in scores:
        if f"{score.name}_sum" in run.epochs:
            drawn[f"{score.name}/valid"] = _points(ends, by_epoch(run, score))
    for kind, frame, axis in (
        ("profile", run.profile, "time_step"),
        ("lag_profile", run.lag_profile, "distance"),
        ("addends", recurrent(run.addends), "time_step"),
    ):
        for (stack, layer), rows in last_finite_epoch(frame).groupby(["stack", "layer"]):
            drawn[f"{kind}/{stack}.{layer}"] = windowed(rows[axis], rows["norm"], "max")
    for (stack, layer), rows in run.spectra.groupby(["stack", "layer"]):
        largest = rows.groupby("epoch")["spectral_radius"].max()
        at = largest.index.map({0: 0, **steps.groupby("epoch")["step"].max().to_dict()})
        drawn[f"spectral_radius/{stack}.{layer}"] = _points(pd.Series(at), largest)
    given = probes.context[np.isfinite(probes.context["context"])]
    if len(given):
        drawn[f"context/{scores[0].name}"] = _points(given["context"], given["value"])
    for stack in probes.exponents["stack"].unique().tolist():
        rows = probes.exponents[probes.exponents["stack"] == stack]
        drawn[f"exponents/{stack}"] = _points(rows["index"], rows["exponent"])
    return drawn


def by_epoch(run: Run, score: Score) -> pd.Series:
    """The validation split's score, an epoch each."""
    columns = (run.epochs[f"{score.name}_{of}"] for of in Sums._fields)
    return pd.Series(
        [score.value(float(total), int(terms)) for total, terms in zip(*columns, strict=True)], dtype=float
    )


def windowed(steps: pd.Series, values: pd.Series, how: str) -> list[Point]:
    """One point for each of at most 320 windows of steps, at its last step: the max, median or mean of what is finite.

    A window without a finite value has no point.
    """
    last, _ = window_maxima(values)
    windows = np.searchsorted(last, np.arange(len(values)))
    with np.errstate(over="ignore"):
        reduced = values.where(np.isfinite(values)).groupby(windows).agg(how)
    return _points(steps.iloc[last], reduced)


def last_finite_epoch(profile: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch of training whose norms are all finite; none where there is no such epoch."""
    trained = profile[profile["epoch"] > 0]
    finite = np.isfinite(trained["norm"]).groupby(trained["epoch"]).all()
    return trained[trained["epoch"] == finite[finite].index.max()]


def lowest_layer(run: Run, profile: pd.DataFrame) -> pd.DataFrame:
    """Of the last finite epoch, the main stack's lowest layer: there a gradient has come furthest."""
    last = last_finite_epoch(profile)
    return last[(last["stack"] == run.main_stack) & (last["layer"] == 0)]


def recurrent(addends: pd.DataFrame) -> pd.DataFrame:
    """The rows of weight_hh, by which a network reads its own past."""
    return addends[addends["weight"] == "weight_hh"].drop(columns="weight")


def recurrent_alignment(run: Run) -> float | None:
    """Of the addends of dL/dW_hh in the main stack's lowest layer; nan where no epoch's are finite.

    None of a network without recurrent matrices.
    """
    addends = recurrent(run.addends)
    if addends.empty:
        return None
    rows = lowest_layer(run, addends)
    return alignment(rows["norm"], rows["sum_norm"].max())


def _points(steps: pd.Series, values: pd.Series) -> list[Point]:
    pairs = zip(steps.tolist(), values.tolist(), strict=True)
    return [(int(step), float(value)) for step, value in pairs if math.isfinite(step) and math.isfinite(value)]
