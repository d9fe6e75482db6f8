"""The comparison as files: one table in three formats, metrics and plots for DVC."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unrolled.ground.atomic import whole_text
from unrolled.report.comparison import Comparison
from unrolled.report.markdown import table
from unrolled.report.sections import sections
from unrolled.report.seeds import middle

OPTIONAL = ("learning_rates", "depths", "context")  # tables that not every grid, or task, has


def write(comparison: Comparison, folder: Path, warnings: Sequence[str] = ()) -> None:
    """comparison.{csv,json,md} and plots/*.csv in `folder`; the same bytes for the same comparison.

    ``warnings``: what the report of the corpus warns of.
    """
    whole_text(folder / "comparison.csv", _csv(comparison))
    whole_text(folder / "comparison.json", _json(comparison))
    whole_text(folder / "comparison.md", markdown(comparison, warnings))
    for name, frame in comparison.tables.items():
        if frame.empty and name in OPTIONAL:
            continue
        numbers = frame.select_dtypes("number")
        # A chart has no place for inf or nan, and vega drops the whole line; the table above has them.
        finite = frame[np.isfinite(numbers).all(axis=1)]
        whole_text(folder / "plots" / f"{name}.csv", finite.to_csv(index=False, lineterminator="\n"))


def write_metrics(comparison: Comparison, path: Path) -> None:
    """For `dvc metrics`; the same bytes for the same comparison."""
    whole_text(path, json.dumps(metrics(comparison), indent=2) + "\n")


def metrics(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Configuration -> name -> number, and the baselines' main score with what stands beside it.

    Of several seeds: scores of those that survived together, the spread of the main one, and the mean of what stands
    beside them, as in the report; of gradients and probes the median over all.
    """
    main = comparison.main.name
    names = [*(score.name for score in comparison.scores if score.column != "variant"), f"{main}_valid"]
    summed = set(names)
    names += ["grad_norm_median", "grad_norm_max", "clipped_share", "nonfinite_share"]
    names += ["context_needed", "lyapunov_exponent"]
    beside = (*comparison.wording.of_text, *comparison.wording.beside, *comparison.wording.metrics)
    names += (of_scores := [name for name in beside if name in comparison.rows[0]])
    table: dict[str, dict[str, float]] = {}
    for each, summary in zip(comparison.configurations, comparison.summaries, strict=True):
        found = {name: summary[name] if name in summed else middle(each.values(name)) for name in names}
        found |= {name: each.mean(name) for name in of_scores}
        # nan is left out: it never equals itself, so `dvc metrics diff` would always show a change. inf is a result.
        known = {name: value for name, value in found.items() if value is not None and not math.isnan(value)}
        table[each.name] = {**known, "diverged": summary["diverged"]}
        if comparison.several:
            spread = {
                "seeds": summary["seeds"],
                "survived": summary["survived"],
                f"{main}_seeds": summary[f"{main}_seeds"],
            }
            table[each.name] |= {name: value for name, value in spread.items() if value is not None}
            table[each.name] |= comparison.wording.ensemble(each.told) if len(each.told) > 1 else {}
    return table | {
        name: {of: value for of, value in row.items() if not math.isnan(value)}
        for name, row in _baselines(comparison).items()
    }


def _baselines(comparison: Comparison) -> dict[str, dict[str, float]]:
    main, beside = comparison.main.name, comparison.beside
    return {name: {main: value, **beside[name]} for name, value in comparison.baselines.items()}


def markdown(comparison: Comparison, warnings: Sequence[str] = ()) -> str:
    """The comparison for a reader: scores, gradients, paired differences, each with what it means."""
    lines = [line for each in warnings for line in (f"**Beware**: {each}.", "")]
    for section in sections(comparison):
        lines += [f"## {section.title}", ""]
        lines += [line for each in section.tables for line in (*table(*each), "")]
        lines += [line for each in section.meaning for line in (each, "")]
    return "\n".join(lines)


def _csv(comparison: Comparison) -> str:
    """One row an arm and one a baseline; empty where there is nothing to say, inf and nan where that is the value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(comparison.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(comparison.rows)
    writer.writerows({"arm": name, **values} for name, values in _baselines(comparison).items())
    return text.getvalue()


def _json(comparison: Comparison) -> str:
    arms = {row["arm"]: {name: value for name, value in row.items() if name != "arm"} for row in comparison.rows}
    summaries = {row["configuration"]: row for row in comparison.summaries}
    content = {
        "arms": arms,
        "configurations": summaries,
        "baselines": _baselines(comparison),
        "paired": comparison.pairs,
        "made_of": {"probes": {arm.name: arm.probes.digest for arm in comparison.arms}},
    }
    return json.dumps(content, indent=2) + "\n"
