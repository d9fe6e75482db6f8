"""The comparison as files: one table in three formats, metrics and plots for DVC."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unrolled.corpus.folders import whole_text
from unrolled.report.comparison import Comparison, Row
from unrolled.report.markdown import number, table
from unrolled.report.sweeps import best
from unrolled.tasks.language_model import SCORES

METRICS = (
    *(*SCORES.values(), "valid_perplexity", "norm_median", "norm_max", "clipped_share", "nonfinite_share"),
    *("context_needed", "lyapunov_exponent"),
)
SEES = {
    "forward_perplexity": "perplexity [sees the left]",
    "backward_perplexity": "backward perplexity [sees the right]",
    "pseudo_perplexity": "pseudo-perplexity [sees both sides; not a language model]",
}
HOW = {
    "reset_perplexity": "started anew at each sentence",
    "interpolated_perplexity": "with n-grams",
    "cache_perplexity": "with a neural cache",
    "dynamic_perplexity": "evaluated dynamically",
}

Table = tuple[list[str], list[list[str]]]  # headings and rows


def write(comparison: Comparison, folder: Path) -> None:
    """comparison.{csv,json,md}, metrics.json and plots/*.csv in `folder`; the same bytes for the same comparison."""
    whole_text(folder / "comparison.csv", _csv(comparison))
    whole_text(folder / "comparison.json", _json(comparison))
    whole_text(folder / "comparison.md", markdown(comparison))
    whole_text(folder / "metrics.json", json.dumps(metrics(comparison), indent=2) + "\n")
    for name, frame in comparison.tables.items():
        if frame.empty and name in ("learning_rates", "depths"):
            continue  # nothing was swept
        numbers = frame.select_dtypes("number")
        # A chart has no place for inf or nan, and vega drops the whole line; the table above has them.
        finite = frame[np.isfinite(numbers).all(axis=1)]
        whole_text(folder / "plots" / f"{name}.csv", finite.to_csv(index=False, lineterminator="\n"))


def metrics(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Arm -> name -> number, for `dvc metrics`: an arm's measures, and the yardsticks' perplexity."""
    table: dict[str, dict[str, float]] = {}
    for row in comparison.rows:
        # nan is left out: it never equals itself, so `dvc metrics diff` would always show a change. inf is a result.
        known = {name: row[name] for name in METRICS if row[name] is not None and not math.isnan(row[name])}
        table[row["arm"]] = {**known, "diverged": int(row["status"] == "diverged")}
    return table | {name: {"forward_perplexity": value} for name, value in comparison.yardsticks.items()}


def _csv(comparison: Comparison) -> str:
    """One row an arm and one a yardstick; empty where there is nothing to say, inf and nan where that is the value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(comparison.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(comparison.rows)
    writer.writerows({"arm": name, "forward_perplexity": value} for name, value in comparison.yardsticks.items())
    return text.getvalue()


def _json(comparison: Comparison) -> str:
    arms = {row["arm"]: {name: value for name, value in row.items() if name != "arm"} for row in comparison.rows}
    content = {"arms": arms, "yardsticks": comparison.yardsticks, "paired": comparison.pairs}
    return json.dumps(content, indent=2) + "\n"


# ---- for the reader ----------------------------------------------------------------------------------------------


class Section(NamedTuple):
    """A part of the comparison for a reader: tables, and what they mean."""

    title: str
    tables: list[Table]
    meaning: list[str]


def markdown(comparison: Comparison) -> str:
    """The comparison for a reader: perplexities, gradients, paired differences, each with what it means."""
    lines = []
    for section in sections(comparison):
        lines += [f"## {section.title}", ""]
        lines += [line for each in section.tables for line in (*table(*each), "")]
        lines += [line for each in section.meaning for line in (each, "")]
    return "\n".join(lines)


def sections(comparison: Comparison) -> list[Section]:
    """Perplexities, gradients and paired differences."""
    evaluate, rows = comparison.arms[0].evaluate, comparison.rows
    share = f"{evaluate.confidence:.0%} interval".replace("%", " %")
    return [
        Section(
            "Test perplexity",
            [_perplexities(comparison, share), _variants(comparison, share)],
            [
                "The second table is of the forward head. Started anew: its state is zero at each sentence's start; in "
                "the first table it goes on, as in the literature. With n-grams: w times the Kneser-Ney model's "
                "probability and 1 - w times the arm's, w chosen on the validation split.",
                f"{rows[0]['tokens']:,} test tokens, each scored once. Intervals: {evaluate.bootstrap_samples:,} "
                f"bootstrap samples of blocks of {evaluate.bootstrap_block} tokens. Kneser-Ney: interpolated modified "
                f"Kneser-Ney {evaluate.ngram_order}-grams. Unigram: training counts plus one, no context. Uniform: "
                "every type alike.",
            ],
        ),
        Section(
            "Gradient norm before clipping",
            [_gradients(rows)],
            [
                "Global L2 norm over all parameters, every step. Loss, and so norm and clip_norm: "
                f"{comparison.reduction}. Half-life: over how many steps back the gradient of one loss halves, in the "
                "forward stack's lowest layer (negative: it doubles). Alignment: in that layer, each time step of a "
                "window adds to the gradient of weight_hh; the norm of the sum over the sum of the addends' norms (1: "
                "all pull the same way; 1 / sqrt(steps): as if orthogonal; 0: they cancel). Both at the end of "
                "training.",
            ],
        ),
        Section(
            "Memory, growth and explosions",
            [_phenomena(rows)],
            [
                "Gradient reach: how many steps back the norm of dL/dh of one loss stays above 1 % of its largest. "
                "Context needed: from how many tokens on the test perplexity stays within 5 % of that with all the "
                "text before. Lyapunov exponent: the largest, in nats a time step; above 0 gradients explode along a "
                "real text, below it they vanish. Spectral radius and largest singular value: of the recurrent "
                "weights at the end of training, of the gate where they are largest. Time constant: the median "
                "unit's, of the gate that carries the state. First explosion: the first step whose gradient norm is "
                "above 10 times the median of the 10 before it. All of the forward stack's lowest layer.",
            ],
        ),
        *_sweep(comparison),
        Section(
            "On the same tokens",
            [_pairs(comparison.pairs, share)],
            ["Below 0, or a ratio below 1: the first arm predicts better. Forward heads, which see the left."],
        ),
    ]


def _perplexities(comparison: Comparison, share: str) -> Table:
    shown = [name for name in SEES if any(row[name] is not None for row in comparison.rows)]
    headings = ["arm", *(f"{SEES[name]}, {share}" for name in shown), "valid perplexity", "best epoch", "status"]

    def cells() -> Iterator[list[str]]:
        for row in comparison.rows:
            status = f"diverged at step {row['diverged_at_step']}" if row["status"] == "diverged" else row["status"]
            scores = [_with_interval(row, name) for name in shown]
            yield [row["arm"], *scores, number(row["valid_perplexity"]), number(row["best_epoch"]), status]
        for name in comparison.missing:
            yield [name, *[""] * (len(headings) - 2), "not there yet"]
        for name, value in comparison.yardsticks.items():
            yield [f"*{name.replace('_', '-')}*", number(value), *[""] * (len(headings) - 2)]

    return headings, list(cells())


def _variants(comparison: Comparison, share: str) -> Table:
    shown = {name: heading for name, heading in HOW.items() if any(row[name] is not None for row in comparison.rows)}
    headings = ["arm", *(f"{heading}, {share}" for heading in shown.values()), "w"]
    return headings, [
        [row["arm"], *(_with_interval(row, name) for name in shown), number(row["interpolation_weight"])]
        for row in comparison.rows
    ]


def _gradients(rows: Sequence[Row]) -> Table:
    headings = ["arm", "median", "p90", "p99", "max", "clip_norm", "clipped", "not finite", "half-life"]
    headings += ["alignment", "parameters"]
    quantiles = ("norm_median", "norm_p90", "norm_p99", "norm_max")
    return headings, [
        [
            row["arm"],
            *(number(row[name]) for name in quantiles),
            "none" if row["clip_norm"] is None else number(row["clip_norm"]),
            f"{row['clipped_share']:.1%}",
            f"{row['nonfinite_share']:.1%}",
            number(row["profile_half_life"]),
            number(row["addend_alignment"]),
            f"{row['parameters']:,}",
        ]
        for row in rows
    ]


PHENOMENA = {
    "gradient_reach": "gradient reach",
    "context_needed": "context needed",
    "lyapunov_exponent": "Lyapunov exponent",
    "spectral_radius": "spectral radius",
    "largest_singular_value": "largest singular value",
    "time_constant": "time constant",
    "first_explosion": "first explosion at step",
}


def _phenomena(rows: Sequence[Row]) -> Table:
    def cell(name: str, value: float | None) -> str:
        if value is None:
            return "none" if name == "first_explosion" else ""
        if name in ("context_needed", "gradient_reach"):  # whole numbers of tokens
            return "more" if math.isinf(value) else f"{value:.0f}"
        return number(value, signed=name == "lyapunov_exponent")

    headings = ["arm", *PHENOMENA.values()]
    return headings, [[row["arm"], *(cell(name, row[name]) for name in PHENOMENA)] for row in rows]


def _sweep(comparison: Comparison) -> list[Section]:
    table = comparison.tables["learning_rates"]
    if table.empty:
        return []
    headings = ["network", "clip_norm", "best learning rate", "its valid perplexity", "largest that survived"]
    rows = [
        [each.family, each.clipping, f"{each.learning_rate:g}", number(each.perplexity), number(each.largest)]
        for each in best(table)
    ]
    meaning = "Survived: it did not diverge, and its perplexity is below twice that of the words' frequencies."
    return [Section("Learning rate and clipping", [(headings, rows)], [meaning])]


def _pairs(pairs: Sequence[Row], share: str) -> Table:
    headings = ["difference", f"nats a token, {share}", f"perplexity ratio, {share}"]
    return headings, [
        [
            f"{pair['arm']} minus {pair['minus']}",
            _with_interval(pair, "nats_a_token", signed=True),
            _with_interval(pair, "perplexity_ratio"),
        ]
        for pair in pairs
    ]


def _with_interval(row: Row, name: str, *, signed: bool = False) -> str:
    if row[name] is None:
        return ""
    value, low, high = (number(row[key], signed=signed) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} [{low}, {high}]"
