"""What a figure draws of values beyond its axes, and how large it is of many arms."""

import io
import json
import math
import re
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pandas as pd
import vl_convert
from PIL import Image

from unrolled.report import chart, page
from unrolled.report.chart import Chart
from unrolled.report.drawing import THRESHOLD, finish
from unrolled.report.panel import TOLD, Key, Look, Panel, Series


def panel(*values: float, top: float = math.inf, dodge: float = 0.0) -> Panel:
    made = Panel()
    made.set("loss", "step", log="y")
    made.add(Series("lstm", "lstm", Look(marker="circle")), range(len(values)), values, top, dodge)
    finish(made, pd.Series(values), top=top)
    return made


def figure(made: Panel, arms: int = 1) -> Chart:
    return Chart([made], [[Key("lstm", Look("#123456"), "lstm" if not arm else f"arm-{arm}") for arm in range(arms)]])


def height(made: Panel) -> int:
    svg = vl_convert.vegalite_to_svg(figure(made).specification(live=False))
    return int(re.findall(r'viewBox="0 0 \d+ (\d+)"', svg)[0])


def test_what_lies_beyond_an_axis_leaves_the_figure_as_high_as_it_was() -> None:
    """A threshold that no norm comes near; an arm of which no value is within the axis."""
    plain, far = panel(1e20, 1e26), panel(1e20, 1e26)
    far.rule(0.25, THRESHOLD)
    assert height(far) == height(plain)
    beyond = panel(math.inf, 1e40, math.nan, top=1e30)
    assert beyond.y.limits == (1e28, 1e30) and height(beyond) <= height(plain) + 20  # a line says how far


def test_a_triangle_that_was_moved_aside_is_told_where_it_belongs() -> None:
    moved = panel(1.0, math.inf, top=10.0, dodge=0.06)
    assert moved.rows == [{"x": 0, "y": 1, "s": 0}, {"x": 1.06, "y": 10, "s": 0, "o": "infinity", "t": 1, "a": 1}]
    assert "isValid(datum.a) ? " in json.dumps(figure(moved).specification())


def test_a_value_is_told_in_as_many_digits_as_it_needs() -> None:
    """By Vega, whose expression it is. A distance of 0 was told as 0e0."""
    told = {
        0: "0",
        1: "1",
        -0.51466: "\u22120.51466",
        12345.678: "12,346",
        1e-9: "1e-9",
        2.3e20: "2.3e20",
        "infinity": "infinity",
    }
    rows = [{"v": value, "row": row} for row, value in enumerate(told)]
    drawn = vl_convert.vegalite_to_svg(
        {
            "data": {"values": rows},
            "transform": [{"calculate": TOLD.format("datum.v"), "as": "told"}],
            "mark": "text",
            "encoding": {"y": {"field": "row", "axis": None}, "text": {"field": "told"}},
        }
    )
    assert re.findall(r"<text[^>]*>([^<]*)</text>", drawn) == list(told.values())


def test_a_panel_does_not_grow_by_the_arms_of_other_panels() -> None:
    few, many = (
        len(json.dumps(figure(panel(1.0, 2.0), arms).specification()["hconcat"][0])) for arms in (1, 60)
    )  # fmt: skip
    assert few == many


def test_a_picture_loses_letters_and_nothing_that_is_seen() -> None:
    made = panel(1.0, 3.0, math.inf, 2.0, top=10.0)
    made.rule(2.0, THRESHOLD)
    whole = vl_convert.vegalite_to_svg(figure(made).specification(live=False))
    slim = chart._slim(whole)
    assert len(slim) < 0.8 * len(whole)
    before, after = (
        np.asarray(Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=0.5))).convert("L"), dtype=int)
        for svg in (whole, slim)
    )
    assert abs(before - after).max() < 20


def test_a_page_of_sixty_arms_takes_less_than_six_megabytes(tmp_path: Path) -> None:
    """One for its scripts, and five kilobytes for each arm in each of sixteen figures: as picture and to a script."""
    made, norms, sizes = Panel(), np.random.default_rng(1).uniform(1, 2, 60), []
    made.set("loss", "step", log="y")
    for arm in ("lstm", "rnn"):
        made.add(Series(arm, arm, Look()), range(60), norms)
    for panels in (1, 4):
        figure = Chart([made] * panels, across=1)
        figure.write(tmp_path / "loss", (".svg", ".json"))
        sizes.append(len(page.still(tmp_path / "loss.svg")) + len(page.packed(tmp_path / "loss.json")))
    assert (sizes[1] - sizes[0]) / (2 * 3) < 5000


def test_a_picture_rounds_places_and_no_text(tmp_path: Path) -> None:
    made = panel(1.0, 2.0, 7.0)
    made.x.below.append("clip_norm 0.00025")
    figure(made).write(tmp_path / "loss", (".svg",))
    svg = (tmp_path / "loss.svg").read_text()
    assert "clip_norm 0.00025" in svg and not re.search(r"<[^>]*\.\d\d\d", svg)
    with urlopen(page.still(tmp_path / "loss.svg")) as still:
        shown = still.read().decode()
    assert shown.replace("'", '"') == svg
