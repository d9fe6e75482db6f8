"""`unrolled folds`: what each arm and baseline reached over folds, by DVC's experiments, each of which tested one."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository
from unrolled.tasks.classification.corpus.folds import FOLDS

SCORE, FOLD = "accuracy", "corpus.fold"
PARAMS, METRICS = "params.yaml", "metrics.json"

Settings = dict[str, str]


class FoldScores(NamedTuple):
    """One fold tested: with what settings but the fold, flat, and the score of each arm and baseline."""

    settings: Settings
    fold: int
    scores: dict[str, float]


class OverFolds(NamedTuple):
    """All that was tested with the same settings; ``scores``: by arm or baseline, then by fold."""

    settings: Settings
    scores: dict[str, dict[int, float]]

    @property
    def folds(self) -> list[int]:
        return sorted({fold for of_fold in self.scores.values() for fold in of_fold})


def shown_by_dvc(workspace: Path = Path()) -> list[Any]:
    """What ``dvc exp show`` knows of this commit, its experiments and the workspace; UserError where it fails."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().rpartition("ERROR: ")[2]
        raise UserError(f"dvc exp show failed: {' '.join(said.split())}")
    shown: list[Any] = json.loads(done.stdout)
    return shown


def settings_of(state: Mapping[str, Any], folder: str) -> Settings:
    """Those of params.yaml in a state that DVC shows; ``folder``: the pipeline's, as ``folder_in_repository``."""
    return {name: json.dumps(value) for name, value in _flat(_content(state, "params", f"{folder}{PARAMS}"))}


def fold_scores(shown: Sequence[Mapping[str, Any]], folder: str) -> Iterator[FoldScores]:
    """Of the commit and each experiment that ended; ``folder`` as above.

    Not of the workspace, whose params.yaml may say what nobody has run yet.
    """
    for each in shown[1:]:
        experiments = (state for one in each.get("experiments") or () for state in one.get("revs") or ())
        for state in filter(None, (one.get("data") for one in (each, *experiments))):
            settings, metrics = settings_of(state, folder), _content(state, "metrics", f"{folder}{METRICS}")
            fold = settings.pop(FOLD, None)
            if fold is not None and metrics:
                scores = {name: row[SCORE] for name, row in metrics.items() if row.get(SCORE) is not None}
                yield FoldScores(settings, int(fold), scores)


def over_folds(every: Sequence[FoldScores]) -> list[OverFolds]:
    """Those of the same settings together, where they tested two folds at least; of a fold tested twice, the last.

    So what stands in a commit, whose figures may be older than its settings, gives way to an experiment.
    """
    last = {(json.dumps(one.settings, sort_keys=True), one.fold): one for one in every}
    groups: dict[str, OverFolds] = {}
    for (settings, fold), one in last.items():
        group = groups.setdefault(settings, OverFolds(one.settings, {}))
        for name, score in one.scores.items():
            group.scores.setdefault(name, {})[fold] = score
    return [group for group in groups.values() if len(group.folds) > 1]


def lines(group: OverFolds, beside: Settings) -> Iterator[str]:
    """A table of means, best first, with standard errors over folds; ``beside``: settings that need no mention."""
    other = [f"{name}={value}" for name, value in group.settings.items() if beside.get(name) != value]
    yield f"{', '.join(other) or PARAMS}: {len(group.folds)} of {FOLDS} folds"
    if missing := sorted({*range(FOLDS)} - {*group.folds}):
        yield f"not there yet: {', '.join(map(str, missing))}"
    rows = [(name, [of_fold[fold] for fold in sorted(of_fold)]) for name, of_fold in group.scores.items()]
    width = max(len(name) for name, _ in rows)
    for name, scores in sorted(rows, key=lambda row: -np.mean(row[1])):
        error = f"{np.std(scores, ddof=1) / math.sqrt(len(scores)):.2%}" if len(scores) > 1 else "unknown"
        by_fold = " ".join(f"{score:.1%}" for score in scores)
        yield f"  {name:{width}}  {np.mean(scores):.2%}  s.e. {error}   {by_fold}"


def folder_in_repository(workspace: Path = Path()) -> str:
    """As DVC spells paths: "pipelines/classification/"; empty in the root."""
    inside = workspace.resolve().relative_to(repository(workspace)).as_posix()
    return "" if inside == "." else f"{inside}/"


def _content(data: Mapping[str, Any], kind: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = ((data.get(kind) or {}).get(path) or {}).get("data") or {}
    return found


def _flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
