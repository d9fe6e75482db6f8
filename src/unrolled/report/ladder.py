"""The ladders, one a corpus: what every recipe reached here beside what was published, as one table and one figure.

Which score it is of the task declares, and what is said of it stands in the task's ladder.py.
"""

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

from unrolled.ground.atomic import whole_text
from unrolled.ground.registry import task_part
from unrolled.ground.score import Score
from unrolled.report.drawing import FAINT, INK, STYLE, save
from unrolled.report.markdown import number, table
from unrolled.settings.recipes import CONFIDENCE, RECIPES, Measurement, Rung, measured, names, read

HUES = ["#4269D0", "#EFB118", "#FF725C", "#6CC5B0", "#3CA951", "#A463F2"]  # Observable's ten, for as many recipes

PUBLISHED: dict[str, Any] = {"marker": "D", "linestyle": "", "color": "white", "markeredgecolor": INK, "markersize": 9}
DASHES = ("-", "--", ":")


@dataclass(frozen=True)
class Step:
    """A rung and what its arms reached, one measurement an arm that was trained here, or a baseline."""

    recipe: str
    rung: Rung
    score: str  # that its figures are of
    own: Score | None  # where they do not compare with those of most rungs
    valids: Sequence[float]  # of the task's first score; other scores have no such figure
    epochs: int | None  # that the recipe trains for
    runs: Sequence[Measurement]
    tests: Sequence[float]

    @property
    def published(self) -> float | None:
        return self.rung.published.test if self.rung.published else None

    @property
    def height(self) -> float:
        """Where it stands on the ladder: by what was reached here, by what was published where nothing was."""
        return statistics.fmean(self.tests) if self.tests else self.published or 0.0


@dataclass(frozen=True)
class Ladder:
    """All rungs of all recipes of a corpus, the worst score first."""

    score: Score
    words: Any  # of the task's LADDERS
    steps: Sequence[Step]


def climb(task: str, folder: Path = RECIPES, *, corpus: str | None = None) -> Ladder:
    """Read the recipes of a task on a corpus, or on that of its first ladder, and what was kept of them."""
    scores: Sequence[Score] = task_part(task, "scores").SCORES
    of_task = task_part(task, "ladder")
    first = next(iter(of_task.LADDERS))
    wanted, steps = corpus if corpus in of_task.LADDERS else first, []
    for name in names(folder):
        kept, recipe = measured(name, folder), read(name, folder)
        own = recipe.section("corpus").get("name")
        if (own if own in of_task.LADDERS else first) != wanted:
            continue
        for rung in recipe.rungs:
            runs, score = [kept[arm] for arm in rung.arms if arm in kept], rung.name_of_score(scores)
            valids = [float(run[of_task.VALID]) for run in runs if score == scores[0].name and run.get(of_task.VALID)]
            epochs = recipe.section("train").get("epochs")
            tests = [figure for run in runs if (figure := rung.reached(run, scores)) is not None]
            steps.append(Step(name, rung, score, rung.own_score(scores), valids, epochs, runs, tests))
    down = -1 if scores[0].lower_is_better else 1
    return Ladder(scores[0], of_task.LADDERS[wanted], sorted(steps, key=lambda step: down * step.height))


def write(ladder: Ladder, folder: Path) -> None:
    """The page, and the figure that it shows, beside each other in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    name = ladder.words.page
    with matplotlib.rc_context(STYLE):
        save(_figure(ladder), folder / name)
    whole_text(folder / f"{name}.md", _page(ladder, f"{name}.svg"))


# ---- the table ---------------------------------------------------------------------------------------------------


def _page(ladder: Ladder, figure: str) -> str:
    steps, heading = ladder.steps, ladder.score.heading
    own = {step.own.name: step.own for step in steps if step.own}  # scores that have a column of their own
    headings = ["rung", "published valid / test", "here: valid", "here: test"]
    headings += [f"{score.heading}, test" for score in own.values()]
    headings += [f"{100 * CONFIDENCE:g} % interval", "seeds", "minutes a seed", "parameters", "recipe"]
    return "\n".join(
        [
            f"# {ladder.words.title}",
            "",
            *ladder.words.introduction,
            "",
            f"![Test {heading} of each rung beside the published one, and validation {heading} by epoch]({figure})",
            "",
            *table(headings, (_row(step, ladder, list(own)) for step in steps)),
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


def _row(step: Step, ladder: Ladder, own: Sequence[str]) -> list[str]:
    published = step.rung.published
    said = ""
    if published and (published.valid or published.test):
        said = " / ".join(number(value) if value else "-" for value in (published.valid, published.test))
    if published and published.ratio:
        low, high = published.ratio
        said = f"{low} times" if low == high else f"{low} to {high} times"
    parameters = next((run["parameters"] for run in step.runs if "parameters" in run), None)
    reached = _spread(step.tests) + _ratio(step, ladder.steps)
    diverged = [run.get("diverged_at_step") for run in step.runs if run.get("status") == "diverged"]
    seeds = sum("seed" in run and step.score in run["scores"] for run in step.runs)  # a baseline has none
    return [
        step.rung.title + (f" (diverged at step {', '.join(map(number, diverged))})" if diverged else ""),
        said,
        _spread(step.valids),
        "" if step.own else reached,
        *(reached if step.score == name else "" for name in own),
        _interval(step),
        number(seeds) if seeds else "",
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
    interval = step.runs[0]["scores"].get(f"{step.score}_interval") if step.runs else None
    return f"{number(interval[0])} to {number(interval[1])}" if interval else ""


def _ratio(step: Step, steps: Sequence[Step]) -> str:
    other = next((each for each in steps if each.rung.title == step.rung.ratio_to), None)
    if other is None or not (other.tests and other.height and step.tests):
        return ""
    return f", {step.height / other.height:.2f} times"


def _circumstances(step: Step) -> list[str]:
    return [f"{step.recipe}: {run['date']}, {run['machine']}" for run in step.runs]


# ---- the figure --------------------------------------------------------------------------------------------------


def _figure(ladder: Ladder) -> Figure:
    steps = ladder.steps
    drawn = [step for step in steps if 0 < step.height < ladder.words.shown and not step.own]
    figure = Figure(figsize=(13, 0.42 * len(drawn) + 1.6), layout=ConstrainedLayoutEngine(w_pad=0.15, wspace=0.03))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    hues = dict(zip(dict.fromkeys(step.recipe for step in steps), HUES, strict=False))
    _rungs(left, ladder, drawn, hues)
    _curves(right, ladder, hues)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=9)
    return figure


def _rungs(axes: Axes, ladder: Ladder, steps: Sequence[Step], hues: dict[str, str]) -> None:
    axes.set(title=f"Test {ladder.score.heading}", xscale=_scale(ladder), yticks=range(len(steps)))
    axes.set_yticklabels([step.rung.title for step in steps])
    axes.invert_yaxis()
    _round_ticks(axes.xaxis, ladder.words.ticks)
    for place, step in enumerate(steps):
        if step.published:
            axes.plot(step.published, place, **PUBLISHED)
        axes.plot(step.tests, [place] * len(step.tests), "o", color=hues[step.recipe], markersize=6, zorder=3)
    axes.plot([], [], **PUBLISHED, label="published")
    axes.plot([], [], "o", color=FAINT, label="here, each seed")
    axes.legend(loc="lower right")


def _scale(ladder: Ladder) -> str:
    return "log" if ladder.score.ratio else "linear"


def _round_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _curves(axes: Axes, ladder: Ladder, hues: dict[str, str]) -> None:
    steps, main = ladder.steps, ladder.score
    axes.set(title=f"Validation {main.heading} by epoch", xlabel="epoch", yscale=_scale(ladder))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _round_ticks(axes.yaxis, ladder.words.ticks)
    shown: set[str] = set()
    drawn: list[str] = []
    for step in steps:
        curves: list[Any] = [run["valid_by_epoch"] for run in step.runs if run.get("valid_by_epoch")]
        if step.score != main.name or not curves:
            continue
        own = drawn.count(step.recipe)  # a recipe's rungs share a hue
        drawn.append(step.recipe)
        for curve in curves:
            finite = [(epoch, value) for epoch, value in curve if value < ladder.words.shown]
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
