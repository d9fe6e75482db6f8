"""The ladder: what every recipe reached here beside what was published, as one table and one figure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from unrolled.corpus.folders import whole_text
from unrolled.lab.recipes import PEER, RECIPES, Measurement, Rung, measured, names, read
from unrolled.report.drawing import FAINT, INK, STYLE, save
from unrolled.report.markdown import number, table

HUES = ["#4269D0", "#EFB118", "#FF725C", "#6CC5B0", "#3CA951", "#A463F2"]  # Observable's ten, for as many recipes

PUBLISHED: dict[str, Any] = {"marker": "D", "linestyle": "", "color": "white", "markeredgecolor": INK, "markersize": 9}
DASHES = ("-", "--", ":")
SHOWN = 300  # perplexity: above, a rung is in the table but not in the figure
TICKS = (50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 170, 200)


@dataclass(frozen=True)
class Step:
    """A rung and what its arms reached, one measurement an arm that was trained here."""

    recipe: str
    rung: Rung
    epochs: int | None  # that the recipe trains for
    runs: Sequence[Measurement]

    @property
    def tests(self) -> list[float]:
        return [float(run["scores"][self.rung.score]) for run in self.runs if self.rung.score in run["scores"]]

    @property
    def valids(self) -> list[float]:
        """Of the score that training chose the best epoch by; other scores have no such figure."""
        own = self.rung.score == "forward_perplexity"
        return [float(run["valid_perplexity"]) for run in self.runs if own and run.get("valid_perplexity")]

    @property
    def published(self) -> float | None:
        return self.rung.published.test if self.rung.published else None

    @property
    def height(self) -> float:
        """Where it stands on the ladder: by what was reached here, by what was published where nothing was."""
        return statistics.fmean(self.tests) if self.tests else self.published or 0.0


def climb(folder: Path = RECIPES) -> list[Step]:
    """All rungs of all recipes, the highest perplexity first."""
    steps = []
    for name in names(folder):
        kept, recipe = measured(name, folder), read(name, folder)
        for rung in recipe.rungs:
            runs = [kept[arm] for arm in rung.arms if arm in kept]
            steps.append(Step(name, rung, recipe.params.get("train", {}).get("epochs"), runs))
    return sorted(steps, key=lambda step: -step.height)


def write(steps: Sequence[Step], page: Path, figure: Path) -> None:
    """The page, and the figure that it shows."""
    figure.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        save(_figure(steps), figure.with_suffix(""))
    text = _page(steps, figure.with_suffix(".svg").name)
    whole_text(page, text)


# ---- the table ---------------------------------------------------------------------------------------------------


def _page(steps: Sequence[Step], figure: str) -> str:
    headings = ["rung", "published valid / test", "here: valid", "here: test", "pseudo-perplexity, test"]
    headings += ["95 % interval", "seeds", "minutes a seed", "parameters", "recipe"]
    return "\n".join(
        [
            "# The ladder: known perplexities of the Penn Treebank",
            "",
            "Mikolov's split, 10,000 types, `<eos>` scored, the state carried on from sentence to sentence, each test",
            "token once. `unrolled use RECIPE` and then `dvc repro` make a rung; `unrolled keep RECIPE` notes what it",
            "reached, and this page is written from those notes. Mean over seeds, and the largest distance from it;",
            "the interval is the first seed's, by bootstrap over blocks of tokens. What a head reaches that sees both",
            "sides of its target is no perplexity, and has a column of its own.",
            "",
            f"![Test perplexity of each rung beside the published one, and validation perplexity by epoch]({figure})",
            "",
            *table(headings, (_row(step, steps) for step in steps)),
            "",
            "An empty cell: not measured here, not published, or not what the rung is measured by.",
            "",
            "## Where the published figures stand",
            "",
            *(f"- {step.rung.title}: {step.rung.published.source}" for step in steps if step.rung.published),
            "",
            "## How it was measured",
            "",
            *(f"- {line}" for line in dict.fromkeys(line for step in steps for line in _circumstances(step))),
            "",
        ]
    )


def _row(step: Step, steps: Sequence[Step]) -> list[str]:
    published = step.rung.published
    said = ""
    if published and (published.valid or published.test):
        said = " / ".join(number(value) if value else "-" for value in (published.valid, published.test))
    if published and published.ratio:
        low, high = published.ratio
        said = f"{low} times" if low == high else f"{low} to {high} times"
    parameters = next((run["parameters"] for run in step.runs if "parameters" in run), None)
    reached = _spread(step.tests) + _ratio(step, steps)
    diverged = [run["diverged_at_step"] for run in step.runs if run.get("status") == "diverged"]
    return [
        step.rung.title + (f" (diverged at step {', '.join(map(number, diverged))})" if diverged else ""),
        said,
        _spread(step.valids),
        "" if step.rung.sees_both_sides else reached,
        reached if step.rung.sees_both_sides else "",
        _interval(step),
        number(len(step.tests)) if step.tests and PEER not in step.rung.arms else "",
        _minutes(step),
        number(parameters),
        f"`{step.recipe}`",
    ]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = statistics.fmean(values)
    distance = max(abs(value - mean) for value in values) if math.isfinite(mean) else 0.0
    return f"{number(mean)} ± {number(distance)}" if len(values) > 1 else number(mean)


def _minutes(step: Step) -> str:
    """The median of the seeds, apart for every number of threads or GPU that they had."""
    places: dict[str, list[float]] = {}
    for run in step.runs:
        if "seconds" in run:
            places.setdefault(_place(run), []).append(run["seconds"] / 60)
    return ", ".join(f"{statistics.median(took):.1f}{place}" for place, took in sorted(places.items()))


def _place(run: Measurement) -> str:
    if (device := run.get("device", "cpu")) != "cpu":
        return f" on {device}"
    return f" on {run['threads']} thread{'s' * (run['threads'] != 1)}" if "threads" in run else ""


def _interval(step: Step) -> str:
    interval = step.runs[0]["scores"].get(f"{step.rung.score}_interval") if step.runs else None
    return f"{number(interval[0])} to {number(interval[1])}" if interval else ""


def _ratio(step: Step, steps: Sequence[Step]) -> str:
    other = next((each for each in steps if each.rung.title == step.rung.ratio_to), None)
    if other is None or not other.tests or not step.tests:
        return ""
    return f", {step.height / other.height:.2f} times"


def _circumstances(step: Step) -> list[str]:
    return [f"{step.recipe}: {run['date']}, {run['machine']}" for run in step.runs]


# ---- the figure --------------------------------------------------------------------------------------------------


def _figure(steps: Sequence[Step]) -> Figure:
    drawn = [step for step in steps if 0 < step.height < SHOWN and not step.rung.sees_both_sides]
    figure = Figure(figsize=(13, 0.42 * len(drawn) + 1.6), layout=ConstrainedLayoutEngine(w_pad=0.15, wspace=0.03))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    hues = dict(zip(dict.fromkeys(step.recipe for step in steps), HUES, strict=False))
    _rungs(left, drawn, hues)
    _curves(right, steps, hues)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=9)
    return figure


def _rungs(axes: Axes, steps: Sequence[Step], hues: dict[str, str]) -> None:
    axes.set(title="Test perplexity", xscale="log", yticks=range(len(steps)))
    axes.set_yticklabels([step.rung.title for step in steps])
    axes.invert_yaxis()
    _round_ticks(axes.xaxis)
    for place, step in enumerate(steps):
        if step.published:
            axes.plot(step.published, place, **PUBLISHED)
        axes.plot(step.tests, [place] * len(step.tests), "o", color=hues[step.recipe], markersize=6, zorder=3)
    axes.plot([], [], **PUBLISHED, label="published")
    axes.plot([], [], "o", color=FAINT, label="here, each seed")
    axes.legend(loc="lower right")


def _round_ticks(axis: Axis) -> None:
    """Of perplexities, on a logarithmic axis."""
    axis.set_ticks(TICKS, labels=[f"{tick:g}" for tick in TICKS])
    axis.set_ticks([], minor=True)


def _curves(axes: Axes, steps: Sequence[Step], hues: dict[str, str]) -> None:
    axes.set(title="Validation perplexity by epoch", xlabel="epoch", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _round_ticks(axes.yaxis)
    shown: set[str] = set()
    drawn: list[str] = []
    for step in steps:
        curves: list[Any] = [run["valid_by_epoch"] for run in step.runs if run.get("valid_by_epoch")]
        if step.rung.score != "forward_perplexity" or not curves:
            continue
        own = drawn.count(step.recipe)  # a recipe's rungs share a hue
        drawn.append(step.recipe)
        for curve in curves:
            finite = [(epoch, value) for epoch, value in curve if value < SHOWN]
            label = step.rung.title if step.rung.title not in shown else None
            shown.add(step.rung.title)
            epochs, values = [epoch for epoch, _ in finite], [value for _, value in finite]
            axes.plot(epochs, values, DASHES[own % len(DASHES)], color=hues[step.recipe], linewidth=1.6, label=label)
    for step in steps:
        if step.epochs and step.rung.published and step.rung.published.valid:
            end = step.epochs, step.rung.published.valid
            axes.plot(*end, **PUBLISHED)
            said = step.rung.title.split(",")[0]
            axes.annotate(said, end, (0, -8), textcoords="offset points", ha="center", va="top", fontsize=9)
    axes.margins(y=0.1)
