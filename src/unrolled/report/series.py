"""A run's numbers as a chart can show them: single values, and curves of few enough points.

MLflow's charts fetch 320 points of a curve; of more they leave some out, and with them an explosion. Single values at
step 0 become bars, so no curve may share their names. inf and nan it cannot show at all.
"""

import math

import numpy as np
import pandas as pd

from unrolled.gradient_norms import alignment, gradient_norm_report, half_life, window_maxima
from unrolled.lab.runs import Evaluation, Probes, Run
from unrolled.perplexity import perplexity

Point = tuple[int, float]  # step, value
# A curve's name, its column of the history, what stands for the steps of a window.
BY_STEP = {
    "grad_norm/window_max": ("norm_before", "max"),
    "grad_norm/window_median": ("norm_before", "median"),
    "grad_norm/applied": ("norm_after", "max"),
    "train/loss": ("loss", "mean"),
    "train/learning_rate": ("learning_rate", "max"),
}


def single_values(run: Run, evaluation: Evaluation) -> dict[str, float]:
    """Final values, finite or not."""
    summary, scores = run.summary, evaluation.scores
    values = {"diverged": float(summary["status"] == "diverged"), "network/parameters": float(summary["parameters"])}
    if len(run.history):
        norms = gradient_norm_report(run.history["norm_before"], run.settings["train"]["clip_norm"])
        values |= {f"grad_norm/{name}": value for name, value in norms._asdict().items()}
        values["grad_norm/log10_max"] = math.log10(norms.max) if norms.max > 0 else math.nan
    values["lag_profile/half_life"] = half_life(lowest_layer(run.lag_profile)["norm"])
    values["addends/alignment"] = recurrent_alignment(run)
    best = run.epochs[run.epochs["epoch"] == summary["best_epoch"]]
    for column, name in _perplexities(run.epochs).items():
        values |= {f"{name}/best_valid": float(value) for value in best[column]}
    for head, sums in scores["heads"].items():
        name = "nats_per_token/test" if head == "forward" else f"nats_per_token/test_{head}"
        # Without a bar where the perplexity overflows: it would flatten all others, and the tag `diverged` tells.
        if math.isfinite(perplexity(**sums)):
            values[name] = sums["nats"] / sums["tokens"]
    for name, value in scores.items():
        if name.endswith("_interval"):
            low, high = value
            values |= {f"{name[:-9]}/test_low": float(low), f"{name[:-9]}/test_high": float(high)}
        elif isinstance(value, int | float) and name != "confidence":  # a setting, and a parameter already
            values[f"{name}/test"] = float(value)
    return values


def curves(run: Run, probes: Probes) -> dict[str, list[Point]]:
    """By step, in windows; by epoch, at the epoch's last step; profiles and addends by time step, or by distance.

    Perplexity also by the context given, and the Lyapunov exponents by their index.
    """
    history = run.history
    drawn = {name: windowed(history["step"], history[column], how) for name, (column, how) in BY_STEP.items()}
    ends = run.epochs["epoch"].map(history.groupby("epoch")["step"].max())
    for column, name in _perplexities(run.epochs).items():
        drawn[f"{name}/valid"] = _points(ends, run.epochs[column])
    for kind, frame, axis in (
        ("profile", run.profile, "time_step"),
        ("lag_profile", run.lag_profile, "distance"),
        ("addends", recurrent(run.addends), "time_step"),
    ):
        for (stack, layer), rows in last_finite_epoch(frame).groupby(["stack", "layer"]):
            drawn[f"{kind}/{stack}.{layer}"] = windowed(rows[axis], rows["norm"], "max")
    for (stack, layer), rows in run.spectra.groupby(["stack", "layer"]):
        largest = rows.groupby("epoch")["spectral_radius"].max()
        at = largest.index.map({0: 0, **history.groupby("epoch")["step"].max().to_dict()})
        drawn[f"spectral_radius/{stack}.{layer}"] = _points(pd.Series(at), largest)
    given = probes.context[np.isfinite(probes.context["context"])]
    drawn["context/perplexity"] = _points(given["context"], given["perplexity"])
    for stack in probes.exponents["stack"].unique().tolist():
        rows = probes.exponents[probes.exponents["stack"] == stack]
        drawn[f"exponents/{stack}"] = _points(rows["index"], rows["exponent"])
    return drawn


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


def lowest_layer(profile: pd.DataFrame) -> pd.DataFrame:
    """Of the last finite epoch, the forward stack's lowest layer: there a gradient has come furthest."""
    last = last_finite_epoch(profile)
    return last[(last["stack"] == "forward") & (last["layer"] == 0)]


def recurrent(addends: pd.DataFrame) -> pd.DataFrame:
    """The rows of weight_hh, by which a network reads its own past."""
    return addends[addends["weight"] == "weight_hh"].drop(columns="weight")


def recurrent_alignment(run: Run) -> float:
    """Of the addends of dL/dW_hh in the forward stack's lowest layer; nan where there are none."""
    rows = lowest_layer(recurrent(run.addends))
    return alignment(rows["norm"], rows["sum_norm"].max())


def _points(steps: pd.Series, values: pd.Series) -> list[Point]:
    pairs = zip(steps.tolist(), values.tolist(), strict=True)
    return [(int(step), float(value)) for step, value in pairs if math.isfinite(step) and math.isfinite(value)]


def _perplexities(epochs: pd.DataFrame) -> dict[str, str]:
    """Column of a head's validation perplexity -> name of that perplexity."""
    columns = [str(column) for column in epochs if str(column).endswith("_perplexity")]
    return {column: column.removeprefix("valid_") for column in columns}
