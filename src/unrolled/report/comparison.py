"""All arms of the grid side by side: rows, paired differences, and the long tables behind the plots; numbers only.

What is written of them, and how it reads, is in tables.py.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import gradient_norms, measures
from unrolled.errors import UserError
from unrolled.lab.runs import Evaluation, Probes, Run
from unrolled.perplexity import perplexity
from unrolled.report import phenomena, sweeps
from unrolled.report.series import last_finite_epoch, lowest_layer, recurrent, recurrent_alignment
from unrolled.settings import Settings
from unrolled.tasks.language_model import SCORES

WINDOWS = 320  # points of a gradient-norm curve: as many as MLflow's charts fetch

# The forward head's score in other ways: started anew at each sentence, mixed with the n-gram model, adapting as it
# reads.
VARIANTS = ("reset_perplexity", "interpolated_perplexity", "cache_perplexity", "dynamic_perplexity")

Row = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One cell of the grid with its directories."""

    settings: Settings
    run: Run
    evaluation: Evaluation
    probes: Probes

    @classmethod
    def read(cls, settings: Settings, workspace: Path = Path()) -> "Arm":
        """Raises UserError naming the file that is missing or damaged, and how to get it again."""
        name = str(settings.arm)
        run, evaluation = Run.read(workspace / "runs" / name), Evaluation.read(workspace / "evaluation" / name)
        return cls(settings, run, evaluation, Probes.read(workspace / "probes" / name))

    @property
    def name(self) -> str:
        return str(self.settings.arm)

    @property
    def norms(self) -> pd.Series:
        """Global gradient norm before clipping, a step each."""
        return self.run.history["norm_before"]

    @property
    def nats(self) -> NDArray[np.float32]:
        """-log p of each test token, of the head that sees the left."""
        return self.evaluation.nats["forward"]


@dataclass(frozen=True)
class Comparison:
    """`rows` one an arm, `yardsticks` perplexity by name, `pairs` one a comparison, `tables` by plot name.

    `missing`: arms of the grid that are not there yet.
    """

    arms: Sequence[Settings]
    missing: Sequence[str]
    rows: list[Row]
    yardsticks: dict[str, float]
    pairs: list[Row]
    tables: dict[str, pd.DataFrame]
    reduction: str


def read_grid(grid: Sequence[Settings]) -> tuple[list[Arm], dict[str, str]]:
    """The arms that are there, and of each that is not, the stages that would make it.

    UserError where none is there, or a file of one is missing or damaged.
    """
    made = {"train": "runs", "evaluate": "evaluation", "probe": "probes"}
    missing = {}
    for arm in (str(each.arm) for each in grid):
        stages = [f"{stage}@{arm}" for stage, folder in made.items() if not Path(folder, arm).is_dir()]
        if stages:
            missing[arm] = " ".join(stages)
    there = [each for each in grid if str(each.arm) not in missing]
    return [Arm.read(each) for each in there or grid], missing


def compare(arms: Sequence[Arm], peer: Evaluation, missing: Sequence[str] = ()) -> Comparison:
    """Compare arms that were trained and scored on the same tokens, and ``peer``, the n-gram model's evaluation.

    Those ``missing`` are named as such. UserError names an arm that was trained or scored on others.
    """
    first = arms[0]
    for arm in arms:
        if (arm.run.settings["corpus_digest"], arm.nats.size) != (first.run.settings["corpus_digest"], first.nats.size):
            raise UserError(
                f"{arm.name} and {first.name} were trained or scored on different corpora; "
                f"bring both up to date with: dvc repro evaluate@{first.name} evaluate@{arm.name}"
            )
    pairs = [(arm.settings, arm.run) for arm in arms]
    return Comparison(
        [arm.settings for arm in arms],
        missing,
        [_row(arm) for arm in arms],
        {"kneser_ney": peer.scores["forward_perplexity"]}
        | {name: float(first.evaluation.scores[f"{name}_perplexity"]) for name in ("unigram", "uniform")},
        [
            *(_pair(kind, a, b.name, b.nats) for kind, a, b in _twins(arms)),
            *(_pair("peer", arm, "kneser_ney", peer.nats["forward"]) for arm in arms),
        ],
        {
            "perplexity": _stacked(arms, _perplexity_by_epoch),
            "grad_norm": _stacked(arms, _norm_by_step),
            "clipped_share": _stacked(arms, _clipped_share_by_epoch),
            "profile": _stacked(arms, _profile_by_step),
            "lag_profile": _stacked(arms, lambda arm: _in_order(arm.run.lag_profile)),
            "addends": _stacked(arms, lambda arm: _in_order(recurrent(arm.run.addends))),
            "lag_training": _stacked(arms, lambda arm: phenomena.lag_by_training(arm.run)),
            "context": _stacked(arms, lambda arm: arm.probes.context.copy()),
            "exponents": _stacked(arms, lambda arm: arm.probes.exponents.copy()),
            "spectra": _stacked(arms, lambda arm: phenomena.largest_spectra(arm.run)),
            "saturation": _stacked(arms, lambda arm: phenomena.saturation(arm.probes)),
            "time_constants": _stacked(arms, lambda arm: phenomena.time_constants_of(arm.probes)),
            "explosion": _stacked(arms, lambda arm: phenomena.around(arm.run, _first_explosion(arm, arms))),
            "cliff": _stacked(arms, lambda arm: phenomena.cliff_of(arm.probes)),
            "learning_rates": sweeps.learning_rates(pairs, float(first.evaluation.scores["unigram_perplexity"])),
            "depths": sweeps.depths(pairs),
        },
        str(first.run.summary["reduction"]),
    )


def _row(arm: Arm) -> Row:
    scores, summary = arm.evaluation.scores, arm.run.summary
    row: Row = {"arm": arm.name, "arch": arm.settings.arch, "clipping": arm.settings.clipping}
    row |= {"status": summary["status"], "diverged_at_step": summary["diverged_at_step"]}
    for name in SCORES.values():
        row |= _with_interval(scores, name)
    row["nats"], row["tokens"] = scores["heads"]["forward"]["nats"], scores["heads"]["forward"]["tokens"]
    for name in VARIANTS:
        row |= _with_interval(scores, name)
    row["interpolation_weight"] = scores.get("interpolation_weight")
    row |= {name: scores.get(name) for name in ("bits_per_character", "top1_accuracy", "top5_accuracy")}
    row["calibration_error"] = scores.get("calibration_error")
    valid = (summary.get("valid") or {}).get("forward")
    row["valid_perplexity"] = perplexity(valid["nats"], valid["tokens"]) if valid else None
    row |= {"best_epoch": summary["best_epoch"], "epochs": summary["epochs"], "steps": summary["steps"]}
    clip_norm = arm.settings.train.clip_norm
    norms = gradient_norms.gradient_norm_report(arm.norms, clip_norm)
    row |= {f"norm_{name}": value for name, value in norms._asdict().items() if not name.endswith("share")}
    row |= {"clipped_share": norms.clipped_share, "nonfinite_share": norms.nonfinite_share}
    row |= {"clip_norm": clip_norm, "reduction": summary["reduction"]}
    row["profile_half_life"] = gradient_norms.half_life(lowest_layer(arm.run.lag_profile)["norm"])
    row["addend_alignment"] = recurrent_alignment(arm.run)
    return row | phenomena.phenomena(arm.run, arm.probes) | {"parameters": summary["parameters"]}


def _with_interval(scores: dict[str, Any], name: str) -> Row:
    low, high = scores.get(f"{name}_interval", (None, None))
    return {name: scores.get(name), f"{name}_low": low, f"{name}_high": high}


# ---- paired differences ------------------------------------------------------------------------------------------


def _twins(arms: Sequence[Arm]) -> Iterable[tuple[str, Arm, Arm]]:
    """Within each arch the first clipping row minus every other; within each clipping every arch minus the first."""
    archs = list(dict.fromkeys(arm.settings.arch for arm in arms))
    clippings = list(dict.fromkeys(arm.settings.clipping for arm in arms))
    cell = {(arm.settings.arch, arm.settings.clipping): arm for arm in arms}
    for arch in archs:
        for other in clippings[1:]:
            yield "clipping", cell[arch, clippings[0]], cell[arch, other]
    for clipping in clippings:
        for arch in archs[1:]:
            yield "arch", cell[arch, clipping], cell[archs[0], clipping]


def _pair(kind: str, a: Arm, other: str, nats: NDArray[np.float32]) -> Row:
    settings = a.settings.evaluate
    paired = measures.paired_bootstrap(
        a.nats,
        nats,
        block=settings.bootstrap_block,
        samples=settings.bootstrap_samples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return {
        "differ_by": kind,
        "arm": a.name,
        "minus": other,
        "nats_a_token": paired.difference,
        "nats_a_token_low": paired.interval.low,
        "nats_a_token_high": paired.interval.high,
        "perplexity_ratio": paired.ratio,
        "perplexity_ratio_low": paired.ratio_interval.low,
        "perplexity_ratio_high": paired.ratio_interval.high,
        "tokens": int(a.nats.size),
    }


# ---- long tables, with an `arm` column ---------------------------------------------------------------------------


def _stacked(arms: Sequence[Arm], table: Callable[[Arm], pd.DataFrame]) -> pd.DataFrame:
    frames = [table(arm) for arm in arms]
    for arm, frame in zip(arms, frames, strict=True):
        frame.insert(0, "arm", arm.name)
    # The tables of a run that diverged in its first epoch are empty, and pandas reads those as objects, not numbers.
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def _perplexity_by_epoch(arm: Arm) -> pd.DataFrame:
    table = arm.run.epochs[["epoch", "valid_forward_perplexity"]].astype({"valid_forward_perplexity": float})
    return table.rename(columns={"valid_forward_perplexity": "forward_perplexity"})


def _norm_by_step(arm: Arm) -> pd.DataFrame:
    last, maxima = gradient_norms.window_maxima(arm.norms, WINDOWS)
    return pd.DataFrame({"step": arm.run.history["step"].to_numpy()[last], "window_max": maxima})


def _clipped_share_by_epoch(arm: Arm) -> pd.DataFrame:
    clip_norm = arm.settings.train.clip_norm
    clipped = np.isfinite(arm.norms) & (arm.norms > (clip_norm or math.inf))
    return clipped.groupby(arm.run.history["epoch"]).mean().rename("clipped_share").reset_index()


def _profile_by_step(arm: Arm) -> pd.DataFrame:
    table = _in_order(arm.run.profile)
    back = table["time_step"].max() - table["time_step"]
    # Distance from the last step that a stack reads: a backward stack ends at the window's first token.
    table.insert(4, "distance", back.where(table["stack"] == "forward", table["time_step"]))
    return table


def _first_explosion(arm: Arm, arms: Sequence[Arm]) -> int | None:
    """Of the arm and its twins, those that do not clip first: all are shown around the same step."""
    twins = [other for other in arms if other.settings.arch == arm.settings.arch]
    twins.sort(key=lambda other: other.settings.train.clip_norm is not None)
    return next(filter(None, (phenomena.explosion_step(other.run) for other in twins)), None)


def _in_order(profile: pd.DataFrame) -> pd.DataFrame:
    """The last finite epoch's rows, forward stack and lower layers first."""
    last = last_finite_epoch(profile)
    return last.sort_values(["stack", "layer"], ascending=[False, True], kind="stable", ignore_index=True)
