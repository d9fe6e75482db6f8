"""All arms of the grid side by side: rows, paired differences, and the long tables behind the plots; numbers only.

What is written of them, and how it reads, is in tables.py. Which numbers there are the task declares: its scores, the
first of which arms are compared by, and its wording.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from unrolled.ground.evaluation import Evaluation, Resampling
from unrolled.ground.perplexity import exp
from unrolled.ground.registry import task_part
from unrolled.ground.run import Run
from unrolled.ground.score import Score
from unrolled.probing import gradient_norms
from unrolled.report import phenomena, sweeps
from unrolled.report.arms import Arm, stacked
from unrolled.report.seeds import Configuration, Row, configurations, difference, summary
from unrolled.report.series import by_epoch, last_finite_epoch, recurrent, recurrent_alignment
from unrolled.report.wording import Wording
from unrolled.training.clipping import is_clipped

WINDOWS = 320  # points of a gradient-norm curve: as many as MLflow's charts fetch


@dataclass(frozen=True)
class Comparison:
    """`rows` one an arm, `summaries` one a configuration, `pairs` one a comparison, `tables` by plot name.

    `baselines`: the main score by name; `beside`: of each, the measures that stand beside its score.
    `grid`: the arms that there are to be, by name, arch, clipping and seed; `missing`: those that are not there yet.
    `evaluate`: that section of the settings.
    """

    scores: Sequence[Score]
    wording: Wording
    grid: Sequence[Mapping[str, Any]]
    evaluate: Mapping[str, Any]
    arms: Sequence[Arm]
    missing: Sequence[str]
    rows: list[Row]
    configurations: list[Configuration]
    summaries: list[Row]
    baselines: dict[str, float]
    beside: dict[str, dict[str, float]]
    pairs: list[Row]
    tables: dict[str, pd.DataFrame]

    @property
    def main(self) -> Score:
        """The score that arms are compared by."""
        return self.scores[0]

    @property
    def several(self) -> bool:
        """Arms were trained from more seeds than one."""
        return any(len(each.arms) > 1 for each in self.configurations)

    @property
    def reduction(self) -> str:
        """What the losses behind clip_norm were averaged over."""
        return str(self.arms[0].run.summary["reduction"])

    def of_main_stack(self, table: str) -> pd.DataFrame:
        """Of one of the tables the rows of each arm's main stack; where there are layers, of the lowest."""
        frame, stacks = self.tables[table], {arm.name: arm.run.main_stack for arm in self.arms}
        mine = frame[frame["stack"] == frame["arm"].map(stacks)]
        return mine[mine["layer"] == 0] if "layer" in mine else mine


def compare(
    grid: Mapping[str, Any], evaluate: Mapping[str, Any], corpus: str,
    arms: Sequence[Arm], baselines: Mapping[str, Evaluation], missing: Sequence[str] = (),
) -> Comparison:  # fmt: skip
    """Compare arms with each other and with ``baselines``, all of them scored on the same test split.

    ``grid`` and ``evaluate``: as resolved; ``corpus``: the digest of the encoded one; ``missing``: arms of the
    grid that are not there yet. A baseline whose score is nan is left out. UserError names what was made of another
    corpus, other settings or beside other baselines.
    """
    scores: Sequence[Score] = task_part(grid["task"], "scores").SCORES
    wording: Wording = task_part(grid["task"], "report").WORDING
    main, measures, runs = scores[0], arms[0].evaluation.measures, [arm.run for arm in arms]
    _check(evaluate, corpus, arms, baselines)
    baselines = {name: each for name, each in baselines.items() if not math.isnan(each.values[main.name])}
    reached = {name: each.values[main.name] for name, each in baselines.items()}
    reached |= {name: measures[measure] for name, measure in wording.measured.items()}
    rows, resampling = _rows(arms, scores, wording), Resampling.of(evaluate)
    found = configurations(arms, rows)
    return Comparison(
        scores,
        wording,
        grid["arms"],
        evaluate,
        arms,
        missing,
        rows,
        found,
        [summary(each, scores, resampling) for each in found],
        {name: reached[name] for name in wording.baselines if name in reached},
        wording.beside_baselines(measures, {name: each.measures for name, each in baselines.items()}),
        list(_pairs(grid["arms"], found, baselines, main, resampling)),
        {
            "score": stacked(arms, lambda arm: _score_by_epoch(arm.run, main)),
            "grad_norm": stacked(arms, _norm_by_step),
            "clipped_share": stacked(arms, _clipped_share_by_epoch),
            "profile": stacked(arms, _profile_by_step),
            "lag_profile": stacked(arms, lambda arm: _in_order(arm, arm.run.lag_profile)),
            "addends": stacked(arms, lambda arm: _in_order(arm, recurrent(arm.run.addends))),
            "lag_training": stacked(arms, lambda arm: phenomena.lag_by_training(arm.run)),
            "context": stacked(arms, lambda arm: arm.probes.context.rename(columns={"value": main.name})),
            "exponents": stacked(arms, lambda arm: arm.probes.exponents),
            "spectra": stacked(arms, lambda arm: phenomena.largest_spectra(arm.run)),
            "saturation": stacked(arms, lambda arm: phenomena.saturation(arm.probes)),
            "time_constants": stacked(arms, lambda arm: phenomena.time_constants_of(arm.probes)),
            "explosion": stacked(arms, lambda arm: phenomena.around(arm.run, _first_explosion(arm, arms))),
            "cliff": stacked(arms, lambda arm: phenomena.cliff_of(arm.probes)),
            "learning_rates": sweeps.learning_rates(runs, main, reached.get(wording.chance or "")),
            "depths": sweeps.depths(runs, main),
            **wording.tables(arms),
        },
    )


def _check(evaluate: Mapping[str, Any], corpus: str, arms: Sequence[Arm], baselines: Mapping[str, Evaluation]) -> None:
    beside = {name: baseline.digest for name, baseline in baselines.items()}
    for baseline in baselines.values():
        baseline.check({"corpus": corpus, "settings": evaluate})
    for arm in arms:
        arm.run.check(corpus)
        arm.evaluation.check({"baselines": beside})


def _rows(arms: Sequence[Arm], scores: Sequence[Score], wording: Wording) -> list[Row]:
    """All with the same keys; None where there is nothing to say."""
    measures = dict.fromkeys(name for arm in arms for name in arm.evaluation.measures)
    own = [name for name in measures if not name.startswith(tuple(f"{each}_" for each in wording.measured))]
    return [_row(arm, scores, own, wording) for arm in arms]


def _row(arm: Arm, scores: Sequence[Score], measures: Sequence[str], wording: Wording) -> Row:
    evaluation, summary, main = arm.evaluation, arm.run.summary, scores[0]
    judged = main.name if wording.judged is None else wording.judged(arm.run.settings)
    reached, trivial = evaluation.values[judged], [evaluation.measures[name] for name in wording.measured.values()]
    lost = not any(main.better(reached, each) for each in (*trivial, *([] if trivial else [main.worst])))
    row: Row = {"arm": arm.name, "arch": arm.arch, "clipping": arm.clipping, "seed": arm.seed}
    row |= {"status": summary["status"], "diverged_at_step": summary["diverged_at_step"]}
    row |= {"outcome": phenomena.outcome(arm.run, arm.probes, lost), "lost": lost}
    row["came_back"] = phenomena.came_back(arm.run, arm.probes, lost)
    for name in (score.name for score in scores):
        low, high = evaluation.intervals.get(name, (None, None))
        row |= {name: evaluation.values.get(name), f"{name}_low": low, f"{name}_high": high}
    row |= {f"{main.name}_{of}": each for of, each in evaluation.sums[main.name]._asdict().items()}
    row |= {name: evaluation.measures.get(name) for name in measures}
    valid = arm.run.valid()
    row[f"{main.name}_valid"] = main.of(valid[main.name]) if valid else None
    row |= {name: summary[name] for name in ("best_epoch", "epochs", "steps")}
    norms = gradient_norms.gradient_norm_report(arm.run.steps["grad_norm"], arm.clip_norm)._asdict()
    row |= {name if name.endswith("share") else f"grad_norm_{name}": value for name, value in norms.items()}
    row |= {"clip_norm": arm.clip_norm, "reduction": summary["reduction"]}
    row["addend_alignment"] = recurrent_alignment(arm.run)
    return row | phenomena.phenomena(arm.run, arm.probes) | {"parameters": summary["parameters"]}


# ---- paired differences ------------------------------------------------------------------------------------------


def _pairs(
    grid: Sequence[Mapping[str, Any]], found: Sequence[Configuration], baselines: Mapping[str, Evaluation],
    score: Score, resampling: Resampling,
) -> Iterable[Row]:  # fmt: skip
    """Within each arch the first clipping row minus every other.

    Then within each clipping every arch minus the first, and minus the one before it. Then every configuration minus
    every baseline. Where one is not there yet, neither are its pairs.
    """
    archs, clippings = (list(dict.fromkeys(cell[axis] for cell in grid)) for axis in ("arch", "clipping"))
    cells = {each.name: each for each in found}
    pairs = [("clipping", (arch, clippings[0]), (arch, other)) for arch in archs for other in clippings[1:]]
    steps = [(arch, other) for before, arch in pairwise(archs) for other in dict.fromkeys((archs[0], before))]
    pairs += [("arch", (arch, clipping), (other, clipping)) for clipping in clippings for arch, other in steps]
    named = [(kind, "-".join(a), "-".join(b)) for kind, a, b in pairs]
    beside: list[tuple[str, Configuration, str, Configuration | Evaluation]]
    beside = [(kind, cells[a], b, cells[b]) for kind, a, b in named if a in cells and b in cells]
    beside += [("baseline", each, name, baseline) for each in found for name, baseline in baselines.items()]
    for kind, first, name, second in beside:
        row = {"differ_by": kind, **difference(first, name, second, score, resampling)}
        if score.ratio and row["seeds"]:
            ends = {"": "difference", "_low": "difference_low", "_high": "difference_high"}
            row |= {f"ratio{end}": exp(row[of]) for end, of in ends.items()}
        yield row


# ---- long tables, with an `arm` column ---------------------------------------------------------------------------


def _score_by_epoch(run: Run, score: Score) -> pd.DataFrame:
    return pd.DataFrame({"epoch": run.epochs["epoch"], score.name: by_epoch(run, score)})


def _norm_by_step(arm: Arm) -> pd.DataFrame:
    steps = arm.run.steps
    last, maxima = gradient_norms.window_maxima(steps["grad_norm"], WINDOWS)
    return pd.DataFrame({"step": steps["step"].to_numpy()[last], "window_max": maxima})


def _clipped_share_by_epoch(arm: Arm) -> pd.DataFrame:
    clipped = pd.Series(is_clipped(arm.run.steps["grad_norm"], arm.clip_norm))
    return clipped.groupby(arm.run.steps["epoch"]).mean().rename("clipped_share").reset_index()


def _profile_by_step(arm: Arm) -> pd.DataFrame:
    table = _in_order(arm, arm.run.profile)
    back = table["time_step"].max() - table["time_step"]
    # Distance from the last step that a stack reads: one in reverse ends at the window's first token.
    table.insert(
        4, "distance", back.mask(table["stack"].map(arm.run.summary["stacks"]).astype(bool), table["time_step"])
    )
    return table


def _first_explosion(arm: Arm, arms: Sequence[Arm]) -> int | None:
    """Of the arm and its twins, those that do not clip first: all are shown around the same step."""
    twins = [other for other in arms if (other.arch, other.seed) == (arm.arch, arm.seed)]
    twins.sort(key=lambda other: other.clip_norm is not None)
    return next(filter(None, (phenomena.explosion_step(other.run) for other in twins)), None)


def _in_order(arm: Arm, profile: pd.DataFrame) -> pd.DataFrame:
    """The last finite epoch's rows, the main stack and lower layers first."""
    rank = {stack: place for place, stack in enumerate(arm.run.summary["stacks"])}
    last = last_finite_epoch(profile)
    return last.sort_values(
        ["stack", "layer"], key=lambda column: column.map(rank) if column.name == "stack" else column,
        kind="stable", ignore_index=True,
    )  # fmt: skip
