"""The saved view as MLflow reads it back, and the colours of runs."""

import base64
import colorsys
import json
import zlib
from typing import Any

import pytest

from unrolled.lab import saved_view
from unrolled.lab.saved_view import SECTIONS, run_colour


@pytest.fixture
def state() -> Any:
    value = json.loads(saved_view.tag_value())
    kind, _, packed = value["state"].partition(";")
    assert kind == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def hue_and_lightness(colour: str) -> tuple[float, float]:
    hue, lightness, _ = colorsys.rgb_to_hls(*(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)))
    return hue, lightness


def test_every_chart_lies_in_its_section(state: Any) -> None:
    sections = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    drawn = [(sections[chart["metricSectionId"]], chart["metricKey"]) for chart in state["compareRunCharts"]]
    assert drawn == [(name, chart.metric) for name, charts in SECTIONS.items() for chart in charts]
    ids = [each["uuid"] for each in state["compareRunSections"] + state["compareRunCharts"]]
    assert len(set(ids)) == len(ids)


def test_explosions_are_drawn_on_a_log_axis_and_final_values_as_bars(state: Any) -> None:
    charts = {chart["metricKey"]: chart for chart in state["compareRunCharts"]}
    assert charts["grad_norm/window_max"]["scaleType"] == charts["forward_perplexity/valid"]["scaleType"] == "log"
    assert charts["forward_perplexity/test"]["type"] == charts["pseudo_perplexity/test"]["type"] == "BAR"


def test_runs_are_listed_in_the_order_of_the_grid(state: Any) -> None:
    assert (state["orderByKey"], state["orderByAsc"]) == ("attributes.start_time", False)


def test_writing_it_again_changes_nothing() -> None:
    assert saved_view.tag_value() == saved_view.tag_value()
    assert len(saved_view.tag_value()) < 5000  # what MLflow's servers take


def test_the_link_opens_it() -> None:
    link = saved_view.link("http://127.0.0.1:5000/", "7")
    assert link.startswith("http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=unrolled-overview")


@pytest.mark.parametrize("arch", range(len(saved_view.HUES) - 1))  # the last is grey
def test_twins_share_a_hue_and_the_first_is_dark(arch: int) -> None:
    (dark_hue, dark), (light_hue, light) = (hue_and_lightness(run_colour(arch, row)) for row in (0, 1))
    assert dark_hue == pytest.approx(light_hue, abs=0.01)
    assert light > dark + 0.1


def test_arms_and_experiments_are_told_apart() -> None:
    colours = [run_colour(arch, row) for arch in range(len(saved_view.HUES)) for row in range(4)]
    assert len(set(colours)) == len(colours)
    assert len({run_colour(0, 0), run_colour(0, 0, "exp-a"), run_colour(0, 0, "exp-b")}) == 3
    assert run_colour(0, 0, "exp-a") == run_colour(0, 0, "exp-a")
