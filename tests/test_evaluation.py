"""The evaluation directory: what is read is what was written, of any task's scores."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature import made_of, section_of
from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.evaluation import Evaluation, Resampling, sums_of
from unrolled.ground.score import Score, Sums
from unrolled.scoring.evaluation import Scored, write_evaluation
from unrolled.shell.errors import UserError

N = 300
SECTION = section_of("evaluate", bootstrap_block=20, bootstrap_samples=50, confidence=0.9, seed=3)
MADE_OF = made_of(SECTION)
DECLARED = (
    Score("loss", "loss", "token", lambda nats, of: nats / of),
    Score("tag_accuracy", "accuracy", "tag", lambda right, of: right / of, lower_is_better=False),
    Score("not_scored", "never", "token", lambda nats, of: 0.0),
)


def scored(**changes: Any) -> Scored:
    random = np.random.default_rng(0)
    parts: dict[str, Any] = {
        "units": {
            "tag_accuracy": (random.random(N) < 0.7).astype(np.float32),
            "loss": random.exponential(2, N),
        },
        "clusters": np.sort(random.integers(0, 9, N)),
        "valid_units": {"loss": random.exponential(2, 77).astype(np.float32)},
        "measures": {"weight": 0.1 + 0.2, "infinite": math.inf},
        "details": {"cache": {"window": 5, "theta": 0.3}, "list": [1, 2.5, "x", None]},
        "tables": {"bands": pd.DataFrame({"band": ["a", "b"], "value": [1 / 3, 1e-300]})},
    }
    return Scored(**(parts | changes))


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")), min_size=1),
    st.lists(st.floats(allow_nan=False), min_size=1),
)
def test_words_of_a_table_are_read_as_they_were_written_whatever_they_look_like(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], numbers: list[float]
) -> None:
    place, rows = tmp_path_factory.mktemp("table") / "arm", max(len(words), len(numbers))
    labels = ["01", "1.0", "1e5", "NA", "null", "True", "nan", "inf"]
    columns = {"word": words, "value": numbers, "label": labels, "count": [1, 2]}
    frame = pd.DataFrame({name: [each[row % len(each)] for row in range(rows)] for name, each in columns.items()})
    write_evaluation(place, "arm", scored(tables={"shown": frame}), DECLARED, MADE_OF)
    found = Evaluation.read(place).tables["shown"]
    assert found.to_dict("list") == frame.to_dict("list")
    assert found["value"].dtype == np.float64 and found["count"].dtype == np.int64


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    given = scored()
    write_evaluation(tmp_path / "arm", "arm", given, DECLARED, MADE_OF)
    found = Evaluation.read(tmp_path / "arm")
    assert found.sums.keys() == given.units.keys() == {"loss", "tag_accuracy"}
    for name, units in given.units.items():
        assert found.units[name].dtype == units.dtype and found.units[name].tolist() == units.tolist()
        assert found.sums[name] == sums_of(units) == Sums(pytest.approx(math.fsum(units.tolist()), rel=1e-12), N)
        assert found.values[name] == pytest.approx(units.mean(dtype=np.float64), rel=1e-12)
        interval = bootstrap_interval(units, given.clusters, block=20, samples=50, confidence=0.9, seed=3)
        assert found.intervals[name] == interval and interval.low < found.values[name] < interval.high
    assert found.valid == {"loss": sums_of(given.valid_units["loss"])} and found.valid["loss"].terms == 77
    assert found.valid_units["loss"].tolist() == given.valid_units["loss"].tolist()
    assert found.clusters.dtype == np.int64 and found.clusters.tolist() == given.clusters.tolist()
    assert (found.measures, found.details, found.confidence) == (given.measures, given.details, 0.9)
    assert found.tables.keys() == {"bands"}
    pd.testing.assert_frame_equal(found.tables["bands"], given.tables["bands"], check_exact=True)


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "again"):
        write_evaluation(tmp_path / name, "arm", scored(), DECLARED, MADE_OF)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_model_that_exploded_has_figures_all_the_same(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "arm", "arm", scored(units={"loss": np.full(N, np.inf)}), DECLARED, MADE_OF)
    found = Evaluation.read(tmp_path / "arm")
    assert (found.sums["loss"].sum, found.values["loss"], found.intervals["loss"]) == (
        math.inf,
        math.inf,
        (math.inf,) * 2,
    )


def test_without_a_validation_split_nothing_is_known_of_it(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "arm", "arm", scored(valid_units={}, tables={}), DECLARED, MADE_OF)
    found = Evaluation.read(tmp_path / "arm")
    assert (found.valid, found.valid_units, found.tables) == ({}, {}, {})


def test_a_score_that_no_task_declares_is_a_defect_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="undeclared"):
        write_evaluation(tmp_path / "arm", "arm", scored(units={"undeclared": np.ones(3)}), DECLARED, MADE_OF)
    assert not list(tmp_path.iterdir())


def test_a_table_that_was_altered_is_told(tmp_path: Path) -> None:
    place = tmp_path / "evaluation" / "lstm-clipped-1"
    write_evaluation(place, "lstm-clipped-1", scored(), DECLARED, MADE_OF)
    (place / "clusters.npy").write_bytes((place / "clusters.npy").read_bytes()[:-1] + b"\7")
    with pytest.raises(UserError, match=r"clusters\.npy was altered .* dvc repro -f -s evaluate@lstm-clipped-1"):
        Evaluation.read(place)


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=200))
def test_sums_are_taken_in_double_precision(units: list[float]) -> None:
    found = sums_of(np.array(units, dtype=np.float32))
    assert found == (pytest.approx(math.fsum(units), rel=1e-12), len(units))


def test_resampling_is_what_the_settings_say() -> None:
    section = section_of("evaluate", bootstrap_block=7, bootstrap_samples=8, confidence=0.5, seed=9)
    assert Resampling.of(section) == Resampling(block=7, samples=8, confidence=0.5, seed=9)


def test_the_files_say_what_they_are(tmp_path: Path) -> None:
    """Without the code that wrote it, scores.json tells a person the figures."""
    write_evaluation(tmp_path / "arm", "arm", scored(), DECLARED, MADE_OF)
    content = json.loads((tmp_path / "arm" / "scores.json").read_text())
    assert content["name"] == "arm"
    assert set(content["scores"]["loss"]) == {"sum", "terms", "value", "interval"}
    assert set(content["files"]) == {"units.safetensors", "valid_units.safetensors", "clusters.npy", "bands.csv"}
