"""The saved view as MLflow reads it back."""

import base64
import json
import zlib
from typing import Any

import pytest

from unrolled.ground.registry import task_part
from unrolled.ground.score import Score
from unrolled.tracking import saved_view
from unrolled.tracking.saved_view import Chart

TASK, CORPUS = "language_model", "ab12cd34" * 8


@pytest.fixture
def state() -> Any:
    return unpacked(saved_view.tag_value(TASK, CORPUS))


def unpacked(tag: str) -> Any:
    value = json.loads(tag)
    kind, _, packed = value["state"].partition(";")
    assert kind == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_every_chart_lies_in_its_section(state: Any) -> None:
    sections = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    drawn = [(sections[chart["metricSectionId"]], chart["metricKey"]) for chart in state["compareRunCharts"]]
    assert drawn == [(name, chart.metric) for name, charts in saved_view.sections(TASK).items() for chart in charts]
    ids = [each["uuid"] for each in state["compareRunSections"] + state["compareRunCharts"]]
    assert len(set(ids)) == len(ids)


def test_explosions_are_drawn_on_a_log_axis_and_final_values_as_bars(state: Any) -> None:
    charts = {chart["metricKey"]: chart for chart in state["compareRunCharts"]}
    assert charts["grad_norm/window_max"]["scaleType"] == charts["forward_perplexity/valid"]["scaleType"] == "log"
    assert charts["forward_perplexity/test"]["type"] == charts["pseudo_perplexity/test"]["type"] == "BAR"


def test_runs_are_listed_in_the_order_of_the_grid(state: Any) -> None:
    assert (state["orderByKey"], state["orderByAsc"]) == ("attributes.start_time", False)


def test_it_is_of_one_corpus(state: Any) -> None:
    assert state["searchFilter"] == "tags.`unrolled.corpus_digest` LIKE 'ab12cd34%'"


def test_writing_it_again_changes_nothing() -> None:
    assert saved_view.tag_value(TASK, CORPUS) == saved_view.tag_value(TASK, CORPUS)
    assert len(saved_view.tag_value(TASK, CORPUS)) < 5000  # what MLflow's servers take


def test_runs_of_several_seeds_are_grouped_by_what_they_share() -> None:
    one, several = (unpacked(saved_view.tag_value(TASK, CORPUS, grouped=grouped)) for grouped in (False, True))
    (key,) = several["groupBy"]["groupByKeys"]
    assert one["groupBy"] is None and several["groupBy"]["aggregateFunction"] == "average"
    assert key == {"mode": "tag", "groupByData": "unrolled.configuration"}
    assert one | {"groupBy": several["groupBy"]} == several


def test_the_link_opens_it() -> None:
    link = saved_view.link("http://127.0.0.1:5000/", "7")
    assert link.startswith("http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=unrolled-overview")


def test_charts_follow_from_the_scores_that_the_task_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = (
        Score("accuracy", "accuracy", "tag", lambda right, tags: right / tags, lower_is_better=False),
        Score("cross_entropy", "cross entropy", "tag", lambda nats, tags: nats / tags, summed="nats"),
        Score("top2_accuracy", "within two", "tag", lambda right, tags: right / tags, column="variant"),
    )
    monkeypatch.setattr(task_part(TASK, "scores"), "SCORES", scores)
    heading, charts = next(iter(saved_view.sections(TASK).items()))
    assert heading == "Accuracy: higher is better"
    assert charts == (
        Chart("accuracy/test"),
        Chart("accuracy/valid", "linear"),
        Chart("accuracy/best_valid"),
        Chart("cross_entropy/test"),
    )
    assert Chart("context/accuracy", "linear") in [
        chart for drawn in saved_view.sections(TASK).values() for chart in drawn
    ]
    monkeypatch.setattr(task_part(TASK, "scores"), "SCORES", scores[1:])
    heading, charts = next(iter(saved_view.sections(TASK).items()))
    assert heading == "Cross entropy: lower is better (mean: nats per tag)"
    assert charts[0] == Chart("cross_entropy/mean") and Chart("cross_entropy/valid", "linear") in charts
