"""Finishing the sentence, drawn: verbs that agree and distance from the source, quality and variety of lines."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from unrolled.report.comparison import Comparison
from unrolled.report.drawing import FAINT, INK, Line, draw, finish, key, row
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
AFTER: Mapping[str, dict[str, Any]] = {
    "after own words": {"linestyle": "-"},
    "after true words": {"linestyle": (0, (1, 1.2))},
}


def pictures(lines: Sequence[Line], comparison: Comparison) -> Mapping[str, Callable[[], Figure]]:
    found: dict[str, Callable[[], Figure]] = {}
    every = comparison.tables
    if "own_by_place" in every:
        place = every["own_by_place"]
        spoke = [line for line in lines if line.arm in set(place["arm"])]
        panels = [partial(_draw_places, spoke, place, arch) for arch in dict.fromkeys(line.arch for line in spoke)]
        looks = [key(what, {"color": INK} | look) for what, look in AFTER.items()]
        if "own_by_distance" in every:
            panels.insert(0, partial(_draw_agreement, spoke, comparison))
        found["own_by_place"] = lambda: row(panels, spoke, looks)
    if "own_lines" in every:
        heard_of = [line for line in lines if line.arm in set(every["own_lines"]["arm"])]
        test = key("the test text", REAL)
        found["own_lines"] = lambda: row([partial(_draw_lines, heard_of, every["own_lines"])], heard_of, [test])
    return found


REAL: dict[str, Any] = {"color": INK, "marker": "*", "markersize": 13, "linestyle": "none"}


def _draw_agreement(lines: Sequence[Line], comparison: Comparison, axes: Axes) -> None:
    table, figures = comparison.tables["own_by_distance"], comparison.tables["own_sentences"]
    perfect = figures[figures["figure"] == "own_agreement"]["perfect"].iloc[0]
    axes.set(title="Own verbs that agree", xlabel="words between subject and verb", ylabel="share", xscale="log")
    axes.axhline(perfect, color=FAINT, linewidth=1)
    for line in reversed(lines):
        mine = table[(table["arm"] == line.arm) & (table["own_sentences"] > 0)]
        middle = pd.Series(np.sqrt(mine["shortest"] * mine["longest"].clip(upper=2 * mine["shortest"])))
        draw(axes, line, middle, mine["own"], marker="o")
    axes.set_ylim(0, 1.03)
    _octaves(axes)


def _draw_places(lines: Sequence[Line], table: pd.DataFrame, arch: str, axes: Axes) -> None:
    axes.set(title=f"{arch}: away from the source", xlabel="place in the sentence", ylabel="nats", xscale="log",
             yscale="log")  # fmt: skip
    for line in (each for each in lines if each.arch == arch):
        mine = table[table["arm"] == line.arm]
        for name, look in zip(("own", "true"), AFTER.values(), strict=True):
            shown = mine[(mine[f"{name}_prefixes"] >= LEAST) & (mine[name] > 0)]
            middle = np.sqrt(shown["first"] * shown["last"])
            axes.plot(middle, shown[name], color=line.colour, linewidth=line.width, **look)
    finish(axes, pd.concat([table["own"], table["true"]]), bottom=1e-12)
    _octaves(axes)


LEAST = 50  # prefixes behind a point


def _octaves(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(base=2, subs=(1,), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")


def _draw_lines(lines: Sequence[Line], table: pd.DataFrame, axes: Axes) -> None:
    axes.set(title="Quality and variety", xlabel="perplexity under n-grams (lower: safer)",
             ylabel="self-BLEU (lower: more varied)", xscale="log")  # fmt: skip
    own = table[table["of"] == OWN].sort_values("temperature")
    for line in reversed(lines):
        mine = own[own["arm"] == line.arm]
        draw(axes, line, mine["perplexity"], mine["self_bleu"], marker="o")
    for _, each in own[own["arm"] == lines[0].arm].iterrows():
        axes.annotate(
            f"{each['temperature']:g}", (each["perplexity"], each["self_bleu"]), (-4, -4), ha="right", va="top",
            textcoords="offset points", fontsize=10,
        )  # fmt: skip
    text = table[table["of"] == TEXT].iloc[0]
    axes.plot([text["perplexity"]], [text["self_bleu"]], **REAL)
    axes.margins(x=0.08, y=0.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
