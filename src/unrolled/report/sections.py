"""The comparison for a reader: its tables, and what they mean."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from unrolled.ground.bootstrap import count_clusters, fewest_samples, stretch_length
from unrolled.ground.score import Score
from unrolled.probing.gradient_norms import EXPLODED
from unrolled.report.comparison import Comparison
from unrolled.report.markdown import bounded, defined, number, over_seeds, with_interval, with_spread
from unrolled.report.phenomena import PHENOMENA
from unrolled.report.seeds import Configuration, Row
from unrolled.report.sweeps import best

Table = tuple[list[str], list[list[str]]]  # headings and rows

SEEDS = "Of several seeds: the median, and the range."
INTERVALS = (
    "Of several seeds: the score of their mean, term by term, over those that survived; ± the standard deviation over "
    "seeds. Intervals are of that mean, over {cluster}s and seeds: the bootstrap's of the former and Student's of the "
    "latter, added by their squares. What has no ± is the mean of these seeds, or their median before a range."
)
TWINS = (
    "Each seed is compared with its own twin; ± the standard deviation of these differences over seeds. Intervals are "
    "of their mean, over both {cluster}s and seeds."
)
ONE_SEED = "One seed each: the intervals say what other {cluster}s would have given, not what other seeds would have."


class Section(NamedTuple):
    """A part of the comparison for a reader: tables, what they mean, and sounds: address and what is said of it."""

    title: str
    tables: list[Table]
    meaning: list[str]
    heard: Sequence[tuple[str, Mapping[str, str]]] = ()


def sections(comparison: Comparison) -> list[Section]:
    """Scores, gradients, memory and paired differences; to the report's own words on each come the task's."""
    evaluate, main, rows = comparison.evaluate, comparison.main, comparison.rows
    share = f"{100 * evaluate['confidence']:.6g}% interval"
    variants = [score for score in comparison.scores if score.column == "variant" and _known(rows, score.name)]
    phenomena = {name: each for name, each in PHENOMENA.items() if name == "first_explosion" or _defined_in(rows, name)}
    own = {name: f" {note.format(**evaluate)}" for name, note in comparison.wording.notes.items()}
    notes = {name: [each + own.get(name, "")] for name, each in _meaning(comparison, phenomena, share).items()}
    notes["pairs"] += _left_out(comparison)
    notes["phenomena"] += _not_replayed(comparison)
    if variants:
        glossary = _glossary((score.heading, score.note) for score in variants if score.note)
        notes["scores"].append(f"{own.get('variants', '')} {glossary}".strip())
    scores = [*_scores(comparison, share), *_variants(comparison, variants, share)]
    pairs = [table for table in [_pairs(comparison, share)] if table[1]]  # none where each arm is left out
    return [
        Section(f"Test {main.heading}", scores, notes["scores"]),
        *_survival(comparison, share),
        *comparison.wording.sections(comparison),
        Section("Gradient norm before clipping", [_gradients(comparison)], notes["gradients"]),
        Section("Memory, growth and explosions", [_phenomena(comparison, phenomena)], notes["phenomena"]),
        *_sweep(comparison),
        Section(f"Paired differences on the same test {main.unit}s", pairs, notes["pairs"]),
    ]


def _meaning(comparison: Comparison, phenomena: Mapping[str, tuple[str, str]], share: str) -> dict[str, str]:
    """Of each table, whatever the task."""
    evaluate, main = comparison.evaluate, comparison.main
    terms = comparison.rows[0][f"{main.name}_terms"]
    better = "Below" if main.lower_is_better else "Above"
    ratio = f", or a ratio {better.lower()} 1" if main.ratio else ""
    context = f", of the context needed {comparison.wording.cluster}s" if "context_needed" in phenomena else ""
    fewest = fewest_samples(evaluate["confidence"])
    too_few = f" They are too few for a {share}, which takes {fewest:,}: it is too narrow."
    few = too_few if evaluate["bootstrap_samples"] < fewest else ""
    seeds, intervals, pairs = (f" {SEEDS}", f" {INTERVALS}", TWINS) if comparison.several else ("", "", ONE_SEED)
    intervals, pairs = (each.format(cluster=comparison.wording.cluster) for each in (intervals, pairs))
    return {
        "scores": f"{terms:,} test {main.unit}s, each scored once. Intervals: {evaluate['bootstrap_samples']:,} "
        f"bootstrap samples of {_resampled(comparison)}, of which a test split could have had others.{few}{intervals}",
        "gradients": "L2 norm of the whole gradient, at every step. Loss, gradient and clip_norm refer to the "
        f"{comparison.reduction}. Half-life: over how many time steps back the gradient of one loss halves, in the "
        "lowest layer of the main stack (negative: it doubles). Alignment: each time step adds a term to the gradient "
        "of that layer's weight_hh; the norm of the sum over the sum of the norms (1: all terms point the same way; "
        f"1 / sqrt(steps): as if orthogonal; 0: they cancel). Both at the end of training.{seeds}",
        "phenomena": f"{_glossary(phenomena.values())} All for the lowest layer of the main stack. {share}s of "
        f"half-life and gradient reach resample stretches of the training text{context}.{seeds}",
        "pairs": f"{better} 0{ratio}: the first of the two is better. {pairs}",
    }


def _left_out(comparison: Comparison) -> list[str]:
    names = ", ".join(f"{name} ({outcome})" for name, outcome in _lost(comparison).items())
    apart = ", ".join(f"{pair['arm']} minus {pair['minus']}" for pair in _told_pairs(comparison) if not pair["seeds"])
    said = [f"Left out, as no better than a model that learns nothing: {names}."] if names else []
    return [*said, f"Left out, as no seed survived in both: {apart}."] if apart else said


def _not_replayed(comparison: Comparison) -> list[str]:
    explosions = {arm.name: arm.probes.figures["explosion"] or {} for arm in comparison.arms}
    names = ", ".join(name for name, each in explosions.items() if each.get("replayed") is False)
    if not names:
        return []
    return [
        f"No cliff is drawn for {names}: training repeated here did not meet the gradient that was recorded, as on "
        "another machine or device than it was trained on."
    ]


def _lost(comparison: Comparison) -> dict[str, str]:
    """Of the configurations all of whose seeds ended no better than a model that learns nothing, how.

    A lead over them says nothing.
    """
    return {each.name: _outcome(each) for each in comparison.configurations if not each.alive}


def _outcome(each: Configuration) -> str:
    """In words; of several seeds, how many ended so."""
    if len(each.rows) == 1:
        return str(each.rows[0]["outcome"])
    kinds = Counter(re.sub(r" at step \d+(,\d{3})*", "", row["outcome"]) for row in each.rows)
    return "; ".join(f"{count} of {len(each.rows)} {kind}" for kind, count in kinds.items())


def _survival(comparison: Comparison, share: str) -> list[Section]:
    """How many of the seeds came through, where there are several."""
    if not comparison.several:
        return []
    headings = ["arm", "seeds", "survived", f"survival, {share}", "exploded", "of these came back", "diverged"]
    rows = [
        [
            row["configuration"],
            number(row["seeds"]),
            number(row["survived"]),
            f"{row['survival']:.0%} [{row['survival_low']:.0%}, {row['survival_high']:.0%}]",
            *(number(row[name]) for name in ("exploded", "came_back", "diverged")),
        ]
        for row in comparison.summaries
    ]
    meaning = (
        "Survived: a seed that was trained to the end, better than a model that learns nothing. Exploded: one with a "
        f"step at which {EXPLODED}. Came back: one that survived that, and was at its best only then. The interval is "
        "that of the probability of surviving, exact (Clopper and Pearson 1934): of few seeds it is wide. In the "
        "tables below, a range in brackets is from the lowest of the seeds to the highest, behind their (lower) median."
    )
    return [Section("Survival over seeds", [(headings, rows)], [meaning])]


def _resampled(comparison: Comparison) -> str:
    cluster, unit = comparison.wording.cluster, comparison.main.unit
    clusters = comparison.arms[0].evaluation.clusters
    if count := count_clusters(clusters):
        return f"its {count:,} {cluster}s"
    block, few = stretch_length(len(clusters), comparison.evaluate["bootstrap_block"]), len(np.unique(clusters))
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
            yield format(value, form) if form and value is not None else bounded(value)

    def cells() -> Iterator[list[str]]:
        for each, row in zip(comparison.configurations, comparison.summaries, strict=True):
            means = {name: each.mean(name) for name in beside}
            scores = [*(with_interval(row, score.name) for score in shown), *measures(means)]
            valid = with_spread(row, f"{main.name}_valid")
            yield [each.name, *scores, valid, over_seeds(each.values("best_epoch"), number), _outcome(each)]
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
                    each.name,
                    *(with_interval(row, score.name) for score in shown),
                    *(over_seeds([own[name] for own in each.told_rows], number) for name in beside),
                ]
                for each, row in zip(comparison.configurations, comparison.summaries, strict=True)
            ],
        )


def _known(rows: Sequence[Row], name: str) -> bool:
    return any(row[name] is not None for row in rows)


def _heading(score: Score) -> str:
    return f"{score.heading} ({score.note})" if score.note else score.heading


def _gradients(comparison: Comparison) -> Table:
    headings = ["arm", "median", "p90", "p99", "max", "clip_norm", "clipped", "not finite", "half-life"]
    headings += ["alignment", "parameters"]
    quantiles = ("median", "p90", "p99", "max")
    return headings, [
        [
            each.name,
            *(over_seeds(each.values(f"grad_norm_{name}"), defined) for name in quantiles),
            "none" if each.arms[0].clip_norm is None else number(each.arms[0].clip_norm),
            over_seeds(each.values("clipped_share"), "{:.1%}".format),
            over_seeds(each.values("nonfinite_share"), "{:.1%}".format),
            _measured(each, "half_life", defined),
            over_seeds(each.values("addend_alignment"), defined),
            f"{each.rows[0]['parameters']:,}",
        ]
        for each in comparison.configurations
    ]


def _defined_in(rows: Sequence[Row], name: str) -> bool:
    return any(row[name] is not None and not math.isnan(row[name]) for row in rows)


def _phenomena(comparison: Comparison, shown: Mapping[str, tuple[str, str]]) -> Table:
    def cell(name: str, value: float) -> str:
        if name in ("context_needed", "gradient_reach") and not math.isnan(value):  # whole numbers of time steps
            return "more" if math.isinf(value) else f"{value:.0f}"
        return defined(value, signed=name == "lyapunov_exponent")

    def cells(each: Configuration) -> Iterator[str]:
        for name in shown:
            found = [value for value in each.values(name) if value is not None]
            absent = "none" if name == "first_explosion" else ""
            count = f"{len(found)} of {len(each.rows)}: " if absent and 0 < len(found) < len(each.rows) else ""
            yield count + _measured(each, name, partial(cell, name)) if found else absent

    headings = ["arm", *(heading for heading, _ in shown.values())]
    return headings, [[each.name, *cells(each)] for each in comparison.configurations]


def _measured(each: Configuration, name: str, form: Callable[[float], str]) -> str:
    """With its interval, where one seed has one; of several their range."""
    said, row = over_seeds(each.values(name), form), each.rows[0]
    low, high = row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan)
    return said if len(each.rows) > 1 or math.isnan(low) else f"{said} [{form(low)}, {form(high)}]"


def _sweep(comparison: Comparison) -> list[Section]:
    frame, main, wording = comparison.tables["learning_rates"], comparison.main, comparison.wording
    if frame.empty:
        return []
    headings = ["network", "clip_norm", "best learning rate", f"its validation {main.heading}", "largest that survived"]
    rows = [
        [each.family, each.clipping, f"{each.learning_rate:g}", bounded(each.score), number(each.largest)]
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
            with_interval(pair, "difference", signed=True),
            *([with_interval(pair, "ratio")] if main.ratio else []),
        ]
        for pair in _told_pairs(comparison)
        if pair["seeds"]
    ]


def _told_pairs(comparison: Comparison) -> list[Row]:
    """Those of configurations that did not lose all their seeds."""
    lost = _lost(comparison).keys()
    return [pair for pair in comparison.pairs if not {pair["arm"], pair["minus"]} & lost]
