"""Over how many words arms learn to remember, from what DVC shows of experiments."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.report.experiments import settings_of
from unrolled.tasks.language_model.distances import draw, learned, over_distances, picture, table, trials

FOLDER = "pipelines/known-entropy/"


def experiment(distance: float, seed: int, noise: float = 0.1, **recall: float) -> dict[str, Any]:
    """As `dvc exp show --json` has it."""
    params = {"corpus": {"source": {"distances": [distance], "noise": noise}}, "seeds": [seed]}
    metrics = {
        "kneser_ney": {"memory_span": 2.0, "recall": 0.6},
        **{name: {"recall": share} for name, share in recall.items()},
    }
    files: dict[str, Any] = {
        "params": {f"{FOLDER}params.yaml": {"data": params}},
        "metrics": {f"{FOLDER}metrics.json": {"data": metrics}},
    }
    return {"name": "some-name", "revs": [{"rev": "abc", "data": files}]}


def shown(*experiments: Any) -> list[Any]:
    return [{"data": None}, {"data": None, "experiments": list(experiments)}]


def test_each_arm_has_its_own_n50() -> None:
    made = [
        experiment(4, 1, **{"rnn-clipped": 0.99, "lstm-clipped": 0.99}),
        experiment(16, 1, **{"rnn-clipped": 0.1, "lstm-clipped": 0.9}),
        experiment(16, 1, **{"rnn-clipped": 0.0, "lstm-clipped": 0.9}),  # once more: it takes the place of the first
        experiment(16, 2, **{"rnn-clipped": 0.0, "lstm-clipped": 0.51}),
        experiment(16, 2, noise=0.2, **{"rnn-clipped": 0.9}),  # one distance alone with this noise
    ]
    ((settings, arms),) = over_distances(list(trials(shown(*made), FOLDER)))
    assert settings == {"corpus.source.noise": "0.1"}
    assert arms["rnn-clipped"].by_distance == {4: [True], 16: [False, False]}
    assert 4 < arms["rnn-clipped"].n50 < 16
    assert arms["lstm-clipped"].by_distance == {4: [True], 16: [True, True]} and math.isinf(arms["lstm-clipped"].n50)
    said = list(table(settings, arms, {}))
    assert said[1].split() == ["4", "16", "half", "of", "the", "seeds"]
    assert said[2].split()[:3] == ["rnn-clipped", "1/1", "0/2"]
    assert said[3].split()[1:5] == ["1/1", "2/2", "beyond", "16,"]


def test_of_a_trial_made_twice_the_newer_counts_and_no_baseline_does(tmp_path: Path) -> None:
    newer, older = (experiment(4, 1, **{"rnn-clipped": share}) for share in (0.9, 0.1))
    made = shown(newer, experiment(8, 1, **{"rnn-clipped": 0.1}), older)  # DVC shows the newest first ...
    made[1]["data"] = older["revs"][0]["data"]  # ... and all of them beside the commit that they began from
    ((_, arms),) = over_distances(list(trials(made, FOLDER)))
    assert {name: arm.by_distance for name, arm in arms.items()} == {"rnn-clipped": {4: [True], 8: [False]}}
    draw(arms, tmp_path / "distances.svg")
    assert (tmp_path / "distances.svg").is_file()


def test_what_several_distances_or_seeds_share_is_no_trial() -> None:
    both = experiment(4, 1, rnn=0.9)
    both["revs"][0]["data"]["params"][f"{FOLDER}params.yaml"]["data"]["seeds"] = [1, 2]
    assert list(trials(shown(both), FOLDER)) == list(trials(shown(experiment(4, 1)), FOLDER)) == []
    assert list(trials(shown(experiment(4, 1, rnn=0.9)), "pipelines/tagging/")) == []
    assert settings_of({}, FOLDER) == {}


@pytest.mark.parametrize(("middle", "steepness"), [(6.0, 1.0), (20.0, 4.0)])
def test_the_middle_of_a_curve_is_found_as_often_as_its_interval_says(middle: float, steepness: float) -> None:
    generator, tried, held = np.random.default_rng(1), (2, 4, 8, 16, 32, 64), 0
    for _ in range(60):
        chance = {n: 1 / (1 + 2 ** (steepness * math.log2(n / middle) / math.log(2))) for n in tried}
        found = learned({n: (generator.random(5) < share).tolist() for n, share in chance.items()})
        held += found.interval.low <= middle <= found.interval.high
    assert 0.88 <= held / 60 <= 1


def test_where_none_or_all_bridge_it_n50_is_not_known() -> None:
    none, every = learned({4: [False, False], 8: [False]}), learned({4: [True], 8: [True, True]})
    assert none.n50 == 0 and none.interval.low == 0 and none.interval.high < 8
    assert math.isinf(every.n50) and math.isinf(every.interval.high) and every.interval.low > 4
    edge = learned({8: [True] * 5, 16: [False] * 5})
    assert 8 < edge.n50 < 16 and edge.n50 == pytest.approx(math.sqrt(8 * 16), rel=0.02)
    assert 7 < edge.interval.low < edge.n50 < edge.interval.high < 18


def test_each_architecture_is_a_panel() -> None:
    some = learned({4: [True], 16: [False]})
    figure = picture({"rnn-clipped": some, "rnn-unclipped": learned({4: [True]}), "lstm-clipped": some})
    assert [panel.title for panel in figure.panels] == ["rnn", "lstm"]
