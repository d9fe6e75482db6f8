"""The mean over folds, from what DVC shows of experiments."""

import math
from typing import Any

import pytest

from unrolled.report.experiments import settings_of
from unrolled.tasks.classification.over_folds import fold_scores, lines, over_folds

FOLDER = "pipelines/classification/"


def state(fold: int, hidden: int = 8, **scores: float) -> dict[str, Any]:
    """As `dvc exp show --json` has it."""
    params = {"corpus": {"name": "own", "fold": fold}, "network": {"hidden": hidden}, "seeds": [1]}
    metrics = {name: {"accuracy": score, "brier": 0.1} for name, score in scores.items()}
    files = {"params": {f"{FOLDER}params.yaml": {"data": params}}, "metrics": {"metrics.json": {"data": {"x": {}}}}}
    files["metrics"][f"{FOLDER}metrics.json"] = {"data": metrics}
    return files


def experiment(data: Any) -> dict[str, Any]:
    return {"name": "some-name", "revs": [{"rev": "abc", "data": data}], "executor": None}


def test_each_setting_has_its_own_mean_over_its_own_folds() -> None:
    workspace = state(5, rnn=0.0)  # edited, and not run
    commit = {"data": state(0, rnn=0.1, lstm=0.2)}  # of older settings than it states
    commit["experiments"] = [
        experiment(state(0, rnn=0.5, naive_bayes=0.7)),
        experiment(state(1, rnn=0.7, naive_bayes=0.8)),
        experiment(state(0, hidden=16, rnn=0.9)),
        experiment(state(1, hidden=16, rnn=0.8)),
        experiment(state(2, hidden=32, rnn=0.1)),  # one fold alone
        experiment(state(2)),  # queued: no metrics yet
        experiment(None),  # failed
    ]
    shown = [{"data": workspace, "experiments": None}, commit]
    groups = over_folds(list(fold_scores(shown, FOLDER)))
    first, second = groups
    assert first.scores == {"rnn": {0: 0.5, 1: 0.7}, "naive_bayes": {0: 0.7, 1: 0.8}} and first.folds == [0, 1]
    assert second.scores == {"rnn": {0: 0.9, 1: 0.8}}
    said = [list(lines(group, settings_of(workspace, FOLDER))) for group in groups]
    assert said[0][:2] == ["params.yaml: 2 of 10 folds", "not there yet: 2, 3, 4, 5, 6, 7, 8, 9"]
    assert said[0][2].split() == ["naive_bayes", "75.00%", "s.e.", "5.00%", "70.0%", "80.0%"]
    assert said[0][3].split()[:4] == ["rnn", "60.00%", "s.e.", "10.00%"]
    assert said[1][0] == "network.hidden=16: 2 of 10 folds"


def test_the_seeds_of_an_arm_stand_together_too() -> None:
    shown: list[dict[str, Any]] = [{"data": None}, {"data": None, "experiments": []}]
    for fold in (0, 1):
        found = state(fold, lstm=0.5, nb_svm=0.6)
        found["metrics"][f"{FOLDER}metrics.json"]["data"]["lstm"]["ensemble_accuracy"] = 0.7 + 0.1 * fold
        shown[1]["experiments"].append(experiment(found))
    (group,) = over_folds(list(fold_scores(shown, FOLDER)))
    assert group.scores["lstm, its seeds together"] == {0: 0.7, 1: pytest.approx(0.8)} and len(group.scores) == 3


def test_another_pipelines_experiments_are_none() -> None:
    assert (
        list(fold_scores([{"data": None}, {"data": state(1, rnn=0.5), "experiments": None}], "pipelines/tagging/"))
        == []
    )


def test_the_standard_error_is_that_of_the_folds() -> None:
    scores = [0.5, 0.6, 0.75]
    shown = [{"data": None}, {"data": None, "experiments": [experiment(state(k, rnn=s)) for k, s in enumerate(scores)]}]
    (group,) = over_folds(list(fold_scores(shown, FOLDER)))
    mean = sum(scores) / 3
    error = math.sqrt(sum((each - mean) ** 2 for each in scores) / 2 / 3)
    assert list(lines(group, group.settings))[2].split()[1:4] == [f"{mean:.2%}", "s.e.", f"{error:.2%}"]
    assert pytest.approx(error, abs=1e-4) == 0.0726
