"""Finishing the sentence, drawn: verbs that agree and distance from the source, quality and variety of lines."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from unrolled.report.chart import Chart
from unrolled.report.comparison import Comparison
from unrolled.report.drawing import LEVEL, Line, draw, finish, row
from unrolled.report.panel import INK, Key, Look, Panel, Series
from unrolled.tasks.language_model.evaluation.scores import OWN, TEXT

FIGURES = {
    "own_by_place": (
        "Going on from own words",
        "Left, where the text is of agreement: how often verbs agree in sentences that an arm says itself; the line is "
        "what the text does. Right: how far its next word is from the source's, place by place. Where the solid line "
        "lies above the dotted one, own words lead it astray: exposure bias. Where both run together, there is none, "
        "however far from the source they run.",
    ),
    "own_lines": (
        "Quality and variety of own lines",
        "Each arm's lines at several temperatures, which stand at the points of one of them. Left: more like the words "
        "of held-out text; down: less like each other. Real text is the star. To the left of it lines are safer than "
        "real ones; an arm that is right of and above another says worse text at every temperature.",
    ),
}
AFTER: Mapping[str, dict[str, Any]] = {"after own words": {"dash": ()}, "after true words": {"dash": (2, 2.4)}}
STAR = "M0,-1L0.23,-0.31L0.95,-0.31L0.37,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.37,0.12L-0.95,-0.31L-0.23,-0.31Z"
REAL = Look(INK, width=0, marker=STAR, size=16)
LEAST = 50  # prefixes behind a point


def pictures(lines: Sequence[Line], comparison: Comparison) -> Mapping[str, Callable[[], Chart]]:
    found: dict[str, Callable[[], Chart]] = {}
    every = comparison.tables
    if "own_by_place" in every:
        place = every["own_by_place"]
        spoke = [line for line in lines if line.arm in set(place["arm"])]
        draws = [partial(_draw_places, spoke, place, arch) for arch in dict.fromkeys(line.arch for line in spoke)]
        looks = [Key(what, Look(INK, **look)) for what, look in AFTER.items()]
        if "own_by_distance" in every:
            draws.insert(0, partial(_draw_agreement, spoke, comparison))
        found["own_by_place"] = lambda: row(draws, spoke, looks)
    if "own_lines" in every:
        heard_of = [line for line in lines if line.arm in set(every["own_lines"]["arm"])]
        test = Key("the test text", REAL)
        found["own_lines"] = lambda: row([partial(_draw_lines, heard_of, every["own_lines"])], heard_of, [test])
    return found


def _draw_agreement(lines: Sequence[Line], comparison: Comparison, panel: Panel) -> None:
    table, figures = comparison.tables["own_by_distance"], comparison.tables["own_sentences"]
    perfect = figures[figures["figure"] == "own_agreement"]["perfect"].iloc[0]
    panel.set("Own verbs that agree", "words between subject and verb", "share", log="x")
    panel.rule(perfect, LEVEL)
    octaves = []
    for line in reversed(lines):
        mine = table[(table["arm"] == line.arm) & (table["own_sentences"] > 0)]
        middle = np.sqrt(mine["shortest"] * mine["longest"].clip(upper=2 * mine["shortest"]))
        draw(panel, line, middle, mine["own"], marker="circle")
        octaves += middle.tolist()
    panel.y.limits, panel.x.ticks = (0, 1.03), _octaves(octaves)


def _draw_places(lines: Sequence[Line], table: pd.DataFrame, arch: str, panel: Panel) -> None:
    panel.set(f"{arch}: away from the source", "place in the sentence", "nats", log="xy")
    octaves = []
    for line in (each for each in lines if each.arch == arch):
        mine = table[table["arm"] == line.arm]
        for name, (what, look) in zip(("own", "true"), AFTER.items(), strict=True):
            shown = mine[(mine[f"{name}_prefixes"] >= LEAST) & (mine[name] > 0)]
            middle = np.sqrt(shown["first"] * shown["last"])
            draw(panel, line, middle, shown[name], part=what, **look)
            octaves += middle.tolist()
    finish(panel, pd.concat([table["own"], table["true"]]), bottom=1e-12)
    panel.x.ticks = _octaves(octaves)


def _octaves(places: Sequence[float]) -> list[int]:
    return [2**power for power in range(12) if 2**power <= 1.1 * max(places, default=1)]


def _draw_lines(lines: Sequence[Line], table: pd.DataFrame, panel: Panel) -> None:
    quality, variety = "perplexity under n-grams (lower: safer)", "self-BLEU (lower: more varied)"
    panel.set("Quality and variety", quality, variety, log="x")
    own = table[table["of"] == OWN].sort_values("temperature")
    for line in reversed(lines):
        mine = own[own["arm"] == line.arm]
        draw(panel, line, mine["perplexity"], mine["self_bleu"], marker="circle")
    first = own[own["arm"] == lines[0].arm]
    heats = [f"{each:g}" for each in first["temperature"]]
    panel.words(first["perplexity"], first["self_bleu"], heats, align="right", dx=-6, dy=8)
    text = table[table["of"] == TEXT].iloc[0]
    panel.add(Series("", "the test text", REAL), [text["perplexity"]], [text["self_bleu"]])
