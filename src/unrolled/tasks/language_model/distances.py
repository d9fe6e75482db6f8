"""`unrolled distances`: over how many words each arm learns to remember, by DVC's experiments with one distance each.

An arm learns to bridge a distance or does not, and which of the two is chance near the edge; so what is told is the
distance that half of the seeds bridge, n50, beside how many did at each.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit
from scipy.stats import chi2

from unrolled.ground.bootstrap import Interval
from unrolled.report.chart import Chart
from unrolled.report.drawing import LEVEL, Line, lines, row
from unrolled.report.experiments import Settings, finished, unlike
from unrolled.report.panel import Panel

DISTANCES, SEEDS = "corpus.source.distances", "seeds"
LEARNED = 0.5  # of what the subject tells of its verb, at least so much is known: half-way between all and chance
CONFIDENCE = 0.95
BEYOND = 4.0  # octaves before the shortest and behind the longest distance in which n50 is looked for
FINE = 50  # places an octave
STEEPNESS = np.geomspace(0.5, 32, 25)  # of the logistic curve, an octave


class Trial(NamedTuple):
    """One experiment: its settings but for distance and seed, those, and what share each arm recalls."""

    settings: Settings
    distance: float
    seed: int
    recall: dict[str, float]


class Learned(NamedTuple):
    """Which distances one arm's seeds bridged, and n50 with its interval, inf where more than half bridge all."""

    by_distance: dict[float, list[bool]]
    n50: float
    interval: Interval
    steepness: float  # of the likeliest curve, an octave


def trials(shown: Sequence[Mapping[str, Any]], folder: str) -> Iterator[Trial]:
    """Of what DVC shows, what was trained on one mean distance from one seed; ``folder``: the pipeline's."""
    for settings, metrics in finished(shown, folder):
        distances, seeds = (json.loads(settings.pop(name, "[]")) for name in (DISTANCES, SEEDS))
        # An arm is called <arch>-<clipping>; what has no such name was counted, not trained.
        recall = {name: each["recall"] for name, each in metrics.items() if "recall" in each and "-" in name}
        if recall and len(distances) == len(seeds) == 1:
            yield Trial(settings, float(distances[0]), int(seeds[0]), recall)


def over_distances(every: Sequence[Trial]) -> list[tuple[Settings, dict[str, Learned]]]:
    """By settings, what each arm learned; where two distances at least were tried. Of a trial made twice, the last."""
    last = {(json.dumps(each.settings, sort_keys=True), each.distance, each.seed): each for each in every}
    groups: dict[str, list[Trial]] = {}
    for (settings, *_), trial in sorted(last.items()):
        groups.setdefault(settings, []).append(trial)
    several = [group for group in groups.values() if len({trial.distance for trial in group}) > 1]
    return [(group[0].settings, _by_arm(group)) for group in several]


def _by_arm(group: Sequence[Trial]) -> dict[str, Learned]:
    tried: dict[str, dict[float, list[bool]]] = {}
    for trial in group:
        for arm, recall in trial.recall.items():
            tried.setdefault(arm, {}).setdefault(trial.distance, []).append(recall > LEARNED)
    return {arm: learned(by_distance) for arm, by_distance in tried.items()}


def learned(by_distance: Mapping[float, Sequence[bool]]) -> Learned:
    """The logistic curve in the logarithm of the distance that makes what was seen likeliest, and its middle, n50.

    The interval holds each n50 that some curve through it makes hardly less likely: the ratio of likelihoods (Wilks
    1938), which stays defined where all bridge one distance and none the next. n50 is in the middle of those that are
    likeliest alike. Farther than any that was tried it is not known: inf, or 0 where none bridged the shortest.
    """
    octaves = np.log2(list(by_distance))
    bridged, tried = (np.array([of(seeds) for seeds in by_distance.values()]) for of in (sum, len))
    places = np.arange(octaves.min() - BEYOND, octaves.max() + BEYOND, 1 / FINE)
    sure = STEEPNESS[:, None] * (places[:, None, None] - octaves)  # [places, steepness, distances]
    likely: NDArray[np.float64] = log_expit(sure) @ bridged + log_expit(-sure) @ (tried - bridged)
    best = likely.max(axis=1)
    alike = np.flatnonzero(best > best.max() - 1e-3)
    inside = np.flatnonzero(best > best.max() - chi2.ppf(CONFIDENCE, 1) / 2)
    middle, ends = alike[len(alike) // 2], (0, len(places) - 1)
    beyond = [end for end in ends if end in alike]  # none bridged the shortest, or all the farthest

    def distance(place: int) -> float:
        return 0.0 if place == ends[0] else math.inf if place == ends[1] else float(2 ** places[place])

    n50, low, high = (distance(place) for place in (beyond[0] if beyond else middle, inside[0], inside[-1]))
    steepness = float(STEEPNESS[likely[middle].argmax()])
    return Learned({each: list(seeds) for each, seeds in by_distance.items()}, n50, Interval(low, high), steepness)


def table(settings: Settings, arms: Mapping[str, Learned], beside: Settings) -> Iterator[str]:
    """Of each arm how many seeds bridged each distance, and n50; ``beside``: settings that need no mention."""
    distances = sorted({distance for arm in arms.values() for distance in arm.by_distance})
    yield f"{unlike(settings, beside)}: seeds that learned to remember over so many words in the mean, of all"
    width = max(map(len, arms))
    yield f"  {'':{width}}  {' '.join(f'{each:>5g}' for each in distances)}   half of the seeds"
    for name, arm in arms.items():
        found = (arm.by_distance.get(each, []) for each in distances)
        seeds = " ".join(f"{f'{sum(each)}/{len(each)}' if each else '':>5}" for each in found)
        yield f"  {name:{width}}  {seeds}   {_told(arm)}"


def _told(arm: Learned) -> str:
    if len(arm.by_distance) == 1:
        return "one distance alone"
    if math.isinf(arm.n50):
        return f"beyond {max(arm.by_distance):g}, at least {arm.interval.low:.1f}"
    if not arm.n50:
        return f"below {min(arm.by_distance):g}, at most {arm.interval.high:.1f}"
    low, high = (f"{each:.1f}" if each and math.isfinite(each) else "?" for each in arm.interval)
    return f"{arm.n50:.1f} [{low}, {high}]"


def draw(arms: Mapping[str, Learned], place: Path) -> None:
    """The share of seeds that bridged each distance, a panel an architecture; ``place``: .svg, and .png beside it."""
    picture(arms).write(place)


def picture(arms: Mapping[str, Learned]) -> Chart:
    """As `draw`; the lines are the likeliest curves."""
    cells = [dict(zip(("arch", "clipping"), name.rsplit("-", 1), strict=True)) for name in arms]
    grid = [{**cell, "arm": name, "seed": 1} for cell, name in zip(cells, arms, strict=True)]
    drawn = lines(grid, dict.fromkeys(arms))
    every = sorted({distance for arm in arms.values() for distance in arm.by_distance})
    draws = [
        partial(_draw, [line for line in drawn if line.arch == arch], arms, every)
        for arch in dict.fromkeys(line.arch for line in drawn)
    ]
    return row(draws, drawn, share=True)


def _draw(drawn: Sequence[Line], arms: Mapping[str, Learned], every: Sequence[float], panel: Panel) -> None:
    panel.set(drawn[0].arch, "mean distance, words", "share of seeds that learned", log="x")
    panel.rule(0.5, LEVEL)
    x = np.geomspace(every[0] / 1.2, every[-1] * 1.2, 400)
    for number, line in enumerate(reversed(drawn)):
        arm = arms[line.arm]
        curve = expit(arm.steepness * np.log2(arm.n50 / x)) if 0 < arm.n50 < math.inf else np.full(len(x), arm.n50 > 0)
        panel.add(line.series("likeliest curve"), x, curve)
        tried = sorted(arm.by_distance)
        shares = [float(np.mean(arm.by_distance[each])) for each in tried]
        aside = np.array(tried) * (1 + 0.05 * number)  # so that twins do not hide each other
        panel.add(line.series("seeds", marker="circle", width=0, dash=()), aside, shares)
    panel.x.limits, panel.y.limits = (float(x[0]), float(x[-1] * 1.1)), (-0.05, 1.05)
    panel.x.ticks = every
