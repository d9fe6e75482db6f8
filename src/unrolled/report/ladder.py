"""The ladders, one a corpus: what every recipe reached here beside what was published, as one table and one figure.

Which score it is of the task declares, and what is said of it stands in the task's ladder.py.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from unrolled.ground.atomic import whole_text
from unrolled.ground.registry import task_part
from unrolled.ground.score import Score
from unrolled.report.axis import Axis
from unrolled.report.chart import Chart
from unrolled.report.markdown import number, table
from unrolled.report.panel import FAINT, INK, Key, Look, Panel, Series
from unrolled.settings.recipes import CONFIDENCE, RECIPES, Measurement, Rung, measured, names, read

# Observable's ten, one a recipe; the eleventh has the first again.
HUES = ["#4269D0", "#EFB118", "#FF725C", "#6CC5B0", "#3CA951", "#A463F2", "#FF8AB7", "#97BBF5", "#9C6B4E", "#9498A0"]

PUBLISHED = Look(INK, width=0, marker="diamond", size=9, open=True)
HERE = Look(FAINT, width=0, marker="circle", size=7)
DASHES: Sequence[Sequence[float]] = ((), (6, 3), (1.5, 2))
WIDE, RUNG = 480.0, 24.0  # px of a panel, and of a rung


@dataclass(frozen=True)
class Step:
    """A rung and what its arms reached, one measurement an arm that was trained here, or a baseline."""

    recipe: str
    rung: Rung
    score: str  # that its figures are of
    own: Score | None  # where they do not compare with those of most rungs
    valids: Sequence[float]  # of the task's first score; other scores have no such figure
    epochs: int | None  # that its arms are trained for
    runs: Sequence[Measurement]
    tests: Sequence[float]
    chosen: str = ""  # what its seeds' validation splits chose to reach them, in words

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
            of_row = recipe.section("arch").get(rung.arms[0].partition("-")[0]) or {}
            epochs = of_row.get("epochs", recipe.section("train").get("epochs"))
            tests = [figure for run in runs if (figure := rung.reached(run, scores)) is not None]
            chosen = _chosen(runs, *of_task.CHOSEN[score]) if score in of_task.CHOSEN else ""
            steps.append(Step(name, rung, score, rung.own_score(scores), valids, epochs, runs, tests, chosen))
    down = -1 if scores[0].lower_is_better else 1
    return Ladder(scores[0], of_task.LADDERS[wanted], sorted(steps, key=lambda step: down * step.height))


def _chosen(runs: Sequence[Measurement], key: str, said: str) -> str:
    """One value where all seeds chose the same, else all that were chosen."""
    values = sorted({float(run["scores"][key]) for run in runs if run["scores"].get(key) is not None})
    return f"{said} {', '.join(f'{value:g}' for value in values)}" if values else ""


def write(ladder: Ladder, folder: Path) -> None:
    """The page, and the figure that it shows, beside each other in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    name = ladder.words.page
    _chart(ladder).write(folder / name)
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
    reached = _spread(step.tests) + _ratio(step, ladder.steps) + (f", {step.chosen}" if step.chosen else "")
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


def _chart(ladder: Ladder) -> Chart:
    steps = ladder.steps
    drawn = [step for step in steps if 0 < step.height < ladder.words.shown and not step.own]
    hues = dict(zip(dict.fromkeys(step.recipe for step in steps), cycle(HUES)))
    left, right = Panel(), Panel()
    _rungs(left, ladder, drawn, hues)
    curves = _curves(right, ladder, hues)
    half = -(-len(curves) // 2)
    marks = [Key("published", PUBLISHED), Key("here, each seed", HERE)]
    legend = [column for column in (marks, curves[:half], curves[half:]) if column]
    return Chart([left, right], legend, size=(WIDE, max(200.0, RUNG * len(drawn))))


def _rungs(panel: Panel, ladder: Ladder, steps: Sequence[Step], hues: dict[str, str]) -> None:
    panel.set(f"Test {ladder.score.heading}", ladder.score.heading, log="x" if ladder.score.ratio else "")
    panel.y.ticks, panel.y.labels = range(len(steps)), [step.rung.title for step in steps]
    panel.y.limits = (len(steps) - 0.4, -0.6)
    _round_ticks(panel.x, ladder.words.ticks)
    for place, step in enumerate(steps):
        if step.published:
            panel.add(Series("", "published", PUBLISHED), [step.published], [place])
        here = HERE._replace(colour=hues[step.recipe])
        panel.add(Series("", step.rung.title, here), step.tests, [place] * len(step.tests))


def _round_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    axis.ticks, axis.labels = ticks, [f"{tick:g}" for tick in ticks]


def _curves(panel: Panel, ladder: Ladder, hues: dict[str, str]) -> list[Key]:
    """The keys of what was drawn."""
    steps, main = ladder.steps, ladder.score
    panel.set(f"Validation {main.heading} by epoch", "epoch", log="xy" if main.ratio else "x")
    panel.x.whole = True
    _round_ticks(panel.y, ladder.words.ticks)
    keys: dict[str, Key] = {}
    drawn: list[str] = []
    for step in steps:
        curves: list[Any] = [run["valid_by_epoch"] for run in step.runs if run.get("valid_by_epoch")]
        if step.score != main.name or not curves:
            continue
        own = drawn.count(step.recipe)  # a recipe's rungs share a hue
        drawn.append(step.recipe)
        look = Look(hues[step.recipe], DASHES[own % len(DASHES)], 1.6)
        keys.setdefault(step.rung.title, Key(step.rung.title, look))
        for curve in curves:
            finite = [(epoch, value) for epoch, value in curve if value < ladder.words.shown]
            epochs, values = [epoch for epoch, _ in finite], [value for _, value in finite]
            panel.add(Series("", step.rung.title, look), epochs, values)
    below = True  # by turns, for neighbours to be told apart
    for step in steps:
        if step.epochs and step.rung.published and step.rung.published.valid:
            at = [step.epochs], [step.rung.published.valid]
            panel.add(Series("", "published", PUBLISHED), *at)
            panel.words(*at, [step.rung.title.split(",")[0]], dy=14 if below else -12)
            below = not below
    if heights := [row["y"] for row in panel.rows if row["y"] is not None]:
        panel.y.limits = (0.93 * min(heights), 1.03 * max(heights))
    return list(keys.values())
