"""The comparison for a reader: its tables, and what they mean."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from unrolled.ground.bootstrap import count_clusters
from unrolled.ground.score import Score
from unrolled.report.comparison import Comparison, Row
from unrolled.report.markdown import ENDLESS, number
from unrolled.report.sweeps import best

Table = tuple[list[str], list[list[str]]]  # headings and rows


class Section(NamedTuple):
    """A part of the comparison for a reader: tables, and what they mean."""

    title: str
    tables: list[Table]
    meaning: list[str]


def sections(comparison: Comparison) -> list[Section]:
    """Scores, gradients, memory and paired differences; to the report's own words on each come the task's."""
    evaluate, main, rows = comparison.evaluate, comparison.main, comparison.rows
    share = f"{evaluate['confidence']:.0%} interval"
    better = "Below" if main.lower_is_better else "Above"
    ratio = f", or a ratio {better.lower()} 1" if main.ratio else ""
    variants = [score for score in comparison.scores if score.column == "variant" and _known(rows, score.name)]
    phenomena = {name: each for name, each in PHENOMENA.items() if name == "first_explosion" or _defined_in(rows, name)}
    meaning = {
        "scores": f"{rows[0][f'{main.name}_terms']:,} test {main.unit}s, each scored once. Intervals: "
        f"{evaluate['bootstrap_samples']:,} bootstrap samples of {_resampled(comparison)}, of which a test split could "
        "have had others.",
        "gradients": "L2 norm of the whole gradient, at every step. Loss, gradient and clip_norm refer to the "
        f"{comparison.reduction}. Half-life: over how many time steps back the gradient of one loss halves, in the "
        "lowest layer of the main stack (negative: it doubles). Alignment: each time step adds a term to the gradient "
        "of that layer's weight_hh; the norm of the sum over the sum of the norms (1: all terms point the same way; "
        "1 / sqrt(steps): as if orthogonal; 0: they cancel). Both at the end of training.",
        "phenomena": f"{_glossary(phenomena.values())} All for the lowest layer of the main stack.",
        "pairs": f"{better} 0{ratio}: the first of the two is better.",
    }
    own = {name: f" {note.format(**evaluate)}" for name, note in comparison.wording.notes.items()}
    notes = {name: [each + own.get(name, "")] for name, each in meaning.items()}
    if lost := _lost(comparison):
        arms = ", ".join(f"{arm} ({outcome})" for arm, outcome in lost.items())
        notes["pairs"].append(f"Left out, as worse than a model that learns nothing: {arms}.")
    if strayed := [
        arm.name for arm in comparison.arms if (arm.probes.figures["explosion"] or {}).get("replayed") is False
    ]:
        notes["phenomena"].append(
            f"No cliff is drawn for {', '.join(strayed)}: training repeated here did not meet the gradient that was "
            "recorded, as on another machine or device than it was trained on."
        )
    if variants:
        glossary = _glossary((score.heading, score.note) for score in variants if score.note)
        notes["scores"].append(f"{own.get('variants', '')} {glossary}".strip())
    return [
        Section(
            f"Test {main.heading}",
            [*_scores(comparison, share), *_variants(comparison, variants, share)],
            notes["scores"],
        ),
        *comparison.wording.sections(comparison),
        Section("Gradient norm before clipping", [_gradients(rows)], notes["gradients"]),
        Section("Memory, growth and explosions", [_phenomena(rows, phenomena)], notes["phenomena"]),
        *_sweep(comparison),
        Section(f"Paired differences on the same test {main.unit}s", [_pairs(comparison, share)], notes["pairs"]),
    ]


def _lost(comparison: Comparison) -> dict[str, str]:
    """Of the arms that ended worse than every model that learns nothing, how; a lead over them says nothing."""
    return {row["arm"]: row["outcome"] for row in comparison.rows if row["lost"]}


def _resampled(comparison: Comparison) -> str:
    cluster, unit = comparison.wording.cluster, comparison.main.unit
    clusters = comparison.arms[0].evaluation.clusters
    if count := count_clusters(clusters):
        return f"its {count:,} {cluster}s"
    block, few = comparison.evaluate["bootstrap_block"], len(np.unique(clusters))
    return f"stretches of {block} {unit}s, as it has only {few} {cluster}{'' if few == 1 else 's'}"


def _glossary(entries: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{heading[:1].upper()}{heading[1:]}: {what}." for heading, what in entries)


def _scores(comparison: Comparison, share: str) -> Iterator[Table]:
    main, rows, wording = comparison.main, comparison.rows, comparison.wording
    shown = [score for score in comparison.scores if score.column == "main" and _known(rows, score.name)]
    beside = {name: heading for name, (heading, _) in wording.of_text.items()} | {**wording.beside}
    beside = {name: heading for name, heading in beside.items() if name in rows[0]}
    headings = ["arm", *(f"{_heading(score)}, {share}" for score in shown), *beside.values()]
    headings += [f"validation {main.heading}", "best epoch", "outcome"]

    def measures(row: Mapping[str, float | None]) -> Iterator[str]:
        for name in beside:
            value, (_, form) = row.get(name), wording.of_text.get(name, ("", ""))
            yield format(value, form) if form and value is not None else _bounded(value)

    def cells() -> Iterator[list[str]]:
        for row in rows:
            scores = [*(_with_interval(row, score.name) for score in shown), *measures(row)]
            yield [row["arm"], *scores, _bounded(row[f"{main.name}_valid"]), number(row["best_epoch"]), row["outcome"]]
        for name in comparison.missing:
            yield [name, *[""] * (len(headings) - 2), "not there yet"]
        for name, value in comparison.baselines.items():
            scores = [number(value), *[""] * (len(shown) - 1), *measures(comparison.beside[name])]
            yield [f"*{wording.baselines[name]}*", *scores, "", "", ""]

    yield headings, list(cells())


def _variants(comparison: Comparison, shown: Sequence[Score], share: str) -> Iterator[Table]:
    """No table where there are none."""
    rows, measures = comparison.rows, comparison.wording.measures
    beside = {name: heading for name, heading in measures.items() if name in rows[0]}
    if shown or beside:
        yield (
            ["arm", *(f"{score.heading}, {share}" for score in shown), *beside.values()],
            [
                [
                    row["arm"],
                    *(_with_interval(row, score.name) for score in shown),
                    *(number(row[name]) for name in beside),
                ]
                for row in rows
            ],
        )


def _known(rows: Sequence[Row], name: str) -> bool:
    return any(row[name] is not None for row in rows)


def _heading(score: Score) -> str:
    return f"{score.heading} ({score.note})" if score.note else score.heading


def _gradients(rows: Sequence[Row]) -> Table:
    headings = ["arm", "median", "p90", "p99", "max", "clip_norm", "clipped", "not finite", "half-life"]
    headings += ["alignment", "parameters"]
    quantiles = ("median", "p90", "p99", "max")
    return headings, [
        [
            row["arm"],
            *(_defined(row[f"grad_norm_{name}"]) for name in quantiles),
            "none" if row["clip_norm"] is None else number(row["clip_norm"]),
            f"{row['clipped_share']:.1%}",
            f"{row['nonfinite_share']:.1%}",
            _defined(row["profile_half_life"]),
            _defined(row["addend_alignment"]),
            f"{row['parameters']:,}",
        ]
        for row in rows
    ]


PHENOMENA = {
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
        "the first step whose gradient norm exceeds 10 times the median of the 10 steps before it",
    ),
}


def _defined_in(rows: Sequence[Row], name: str) -> bool:
    return any(row[name] is not None and not math.isnan(row[name]) for row in rows)


def _phenomena(rows: Sequence[Row], shown: Mapping[str, tuple[str, str]]) -> Table:
    def cell(name: str, value: float | None) -> str:
        if value is None:
            return "none" if name == "first_explosion" else ""
        if name in ("context_needed", "gradient_reach") and not math.isnan(value):  # whole numbers of time steps
            return "more" if math.isinf(value) else f"{value:.0f}"
        return _defined(value, signed=name == "lyapunov_exponent")

    headings = ["arm", *(heading for heading, _ in shown.values())]
    return headings, [[row["arm"], *(cell(name, row[name]) for name in shown)] for row in rows]


def _sweep(comparison: Comparison) -> list[Section]:
    frame, main, wording = comparison.tables["learning_rates"], comparison.main, comparison.wording
    if frame.empty:
        return []
    headings = ["network", "clip_norm", "best learning rate", f"its validation {main.heading}", "largest that survived"]
    rows = [
        [each.family, each.clipping, f"{each.learning_rate:g}", _bounded(each.score), number(each.largest)]
        for each in best(frame, main)
    ]
    learned = f", and is less than twice as bad as {wording.baselines[wording.chance]}" if wording.chance else ""
    return [Section("Learning rate and clipping", [(headings, rows)], [f"Survived: it did not diverge{learned}."])]


def _pairs(comparison: Comparison, share: str) -> Table:
    main, names = comparison.main, comparison.wording.baselines
    headings = ["difference", f"{main.difference}, {share}", *([f"{main.ratio}, {share}"] if main.ratio else [])]
    return headings, [
        [
            f"{pair['arm']} minus {names.get(pair['minus'], pair['minus'])}",
            _with_interval(pair, "difference", signed=True),
            *([_with_interval(pair, "ratio")] if main.ratio else []),
        ]
        for pair in comparison.pairs
        if not {pair["arm"], pair["minus"]} & _lost(comparison).keys()
    ]


def _with_interval(row: Row, name: str, *, signed: bool = False) -> str:
    value = row[name]
    if value is None or not abs(value) <= ENDLESS:
        return _bounded(value)
    low, high = (number(row[f"{name}_{end}"], signed=signed) for end in ("low", "high"))
    return f"{number(value, signed=signed)} [{low}, {high}]"


def _bounded(value: float | None) -> str:
    """In words where an arm exploded: no interval says more."""
    if value is None or abs(value) <= ENDLESS:
        return number(value)
    return "undefined" if math.isnan(value) else "above 1e6" if value > 0 else "below -1e6"


def _defined(value: float, *, signed: bool = False) -> str:
    return number(value, signed=signed) if math.isfinite(value) else "undefined"
