"""`unrolled folds`: what each arm and baseline reached over folds, by DVC's experiments, each of which tested one."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unrolled.report.experiments import Settings, finished, unlike
from unrolled.tasks.classification.corpus.folds import FOLDS

SCORE, FOLD = "accuracy", "corpus.fold"
ENSEMBLE = f"ensemble_{SCORE}"


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


def fold_scores(shown: Sequence[Mapping[str, Any]], folder: str) -> Iterator[FoldScores]:
    """Of what DVC shows, as `finished`."""
    for settings, metrics in finished(shown, folder):
        fold = settings.pop(FOLD, None)
        if fold is not None:
            scores = {name: row[SCORE] for name, row in metrics.items() if row.get(SCORE) is not None}
            together = {name: row[ENSEMBLE] for name, row in metrics.items() if ENSEMBLE in row}
            scores |= {f"{name}, its seeds together": score for name, score in together.items()}
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
    yield f"{unlike(group.settings, beside)}: {len(group.folds)} of {FOLDS} folds"
    if missing := sorted({*range(FOLDS)} - {*group.folds}):
        yield f"not there yet: {', '.join(map(str, missing))}"
    rows = [(name, [of_fold[fold] for fold in sorted(of_fold)]) for name, of_fold in group.scores.items()]
    width = max(len(name) for name, _ in rows)
    for name, scores in sorted(rows, key=lambda row: -np.mean(row[1])):
        error = f"{np.std(scores, ddof=1) / math.sqrt(len(scores)):.2%}" if len(scores) > 1 else "unknown"
        by_fold = " ".join(f"{score:.1%}" for score in scores)
        yield f"  {name:{width}}  {np.mean(scores):.2%}  s.e. {error}   {by_fold}"
