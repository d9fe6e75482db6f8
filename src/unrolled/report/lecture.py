"""docs/lecture.md: the lecture's statements in its own order, each with what this machine's runs say of it.

Which statements there are the tasks declare, in their lecture.py; numbers come from the comparisons of the pipelines
that have run, never from here.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from unrolled.ground.atomic import whole_folder, whole_text
from unrolled.ground.checksums import json_of, load
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.registry import has_part, task_names, task_part
from unrolled.settings.loader import sections_in, text_of
from unrolled.shell.errors import UserError

PARTS = {
    "loss": "A language model, and its loss",
    "feeding": "Teacher forcing, and letting the model finish the sentence",
    "bptt": "Back-propagation through time",
    "uses": "What else a recurrent network does: tags, labels, speech",
    "perplexity": "Perplexity, an effective branching factor",
    "vanishing": "Vanishing gradients: by distance, by eigenvalues, by depth",
    "exploding": "Exploding gradients, and clipping",
    "gates": "The LSTM's gates: addition keeps what multiplication loses",
    "bidirectional": "Both directions, and why that is no language model",
}
INTRODUCTION = (
    "Written by `unrolled lecture` from the comparisons that stand here: each statement with the command that tries",
    "it, what came out on this machine, and whether it held. Some did not, or not as the textbook has it; those teach",
    "most.",
)


class Statement(NamedTuple):
    """One thing that the lecture says, and what the runs say of it; ``part``: of PARTS.

    ``held``: whether it did, with a reason where it did not; None where there is nothing to hold.
    ``picture``: of the pipeline's report/figures.
    """

    part: str
    claim: str
    command: str
    found: str
    held: bool | None = None
    because: str = ""
    picture: str = ""


class Results(NamedTuple):
    """What a pipeline's comparison says: a row an arm by its configuration, as "lstm-clipped", of the first seed.

    Baselines stand among them by their names.
    """

    folder: Path
    task: str
    rows: Mapping[str, Mapping[str, Any]]

    def figures(self, measure: str, *names: str) -> list[float] | None:
        """A measure of each of these; None where one has no such figure, as it is not there or diverged."""
        rows = [self.rows.get(name, {}) for name in names]
        found = [float(row[measure]) for row in rows if isinstance(row.get(measure), int | float)]
        return found if len(found) == len(names) else None

    def plotted(self, name: str) -> pd.DataFrame | None:
        """The table behind a figure; None where there is none."""
        path = self.folder / "report" / "plots" / f"{name}.csv"
        return pd.read_csv(path) if path.is_file() else None

    def table(self, name: str, configuration: str) -> pd.DataFrame | None:
        """A table of the configuration's evaluation; None where there is none."""
        directory = self.folder / "evaluation" / f"{configuration}-{self.rows.get(configuration, {}).get('seed')}"
        return Evaluation.read(directory).tables.get(name) if directory.is_dir() else None


def write(root: Path, page: Path, beside: Sequence[Path] = ()) -> list[str]:
    """The page, with its pictures in a folder of its name beside it; the pipelines whose results it has.

    ``beside``: other clones, where experiments ran. A statement that only one of them has figures of is told by those.
    UserError where no pipeline has run, or a comparison is damaged.
    """
    every = [results for folder in (root, *beside) for results in _results(folder)]
    if not every:
        raise UserError("no pipeline has run here; begin with: make repro")
    told: dict[str, tuple[Results, Statement]] = {}
    for results in every:
        for statement in task_part(results.task, "lecture").statements(results):
            if statement.claim not in told or told[statement.claim][1].held is None:
                told[statement.claim] = results, statement
    with whole_folder(page.with_suffix("")) as place:
        pictures = {statement: _picture(results, statement, place) for results, statement in told.values()}
    whole_text(page, "\n".join(_page([each for _, each in told.values()], pictures, page.stem)))
    return [os.path.relpath(each.folder, root) for each in every]


def _results(root: Path) -> Iterator[Results]:
    for folder in (root, *sorted(root.glob("pipelines/*"))):
        params, report = folder / "params.yaml", folder / "report"
        if not (params.is_file() and (report / "comparison.json").is_file()):
            continue
        task = sections_in(text_of(params), str(params)).get("task")
        if task in task_names() and has_part(task, "lecture"):
            comparison = load(report, "comparison.json", json_of)
            rows: dict[str, Any] = {}
            for row in comparison["arms"].values():
                rows.setdefault(f"{row['arch']}-{row['clipping']}", row)
            yield Results(folder, task, rows | comparison["baselines"])


def _picture(results: Results, statement: Statement, place: Path) -> str:
    """The name of its copy in ``place``; "" where it has none."""
    source = results.folder / "report" / "figures" / f"{statement.picture}.png"
    if not statement.picture or not source.is_file():
        return ""
    name = f"{results.folder.name if results.folder.parent.name == 'pipelines' else 'text'}-{statement.picture}.png"
    shutil.copyfile(source, place / name)
    return name


def _page(statements: Sequence[Statement], pictures: Mapping[Statement, str], folder: str) -> Iterator[str]:
    yield from ("# The lecture, run", "", *INTRODUCTION)
    for part, title in PARTS.items():
        mine = [each for each in statements if each.part == part]
        if mine:
            yield from ("", f"## {title}")
        for statement in mine:
            yield from ("", f"**{statement.claim}**", "", f"    {statement.command}", "", _said(statement))
            if picture := pictures[statement]:
                yield from ("", f"![{statement.claim}]({folder}/{picture})")
    yield ""


def _said(statement: Statement) -> str:
    if statement.held is None:
        return statement.found
    verdict = "It held" if statement.held else "It did not hold"
    return f"{statement.found} *{verdict}{f': {statement.because}' if statement.because else ''}.*"
