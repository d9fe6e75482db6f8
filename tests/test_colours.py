"""Colours tell arms apart, and which are twins."""

import colorsys

import pytest

from unrolled.report.colours import HUES, run_colour


def hue_and_lightness(colour: str) -> tuple[float, float]:
    hue, lightness, _ = colorsys.rgb_to_hls(*(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)))
    return hue, lightness


@pytest.mark.parametrize("arch", range(len(HUES) - 1))  # the last is grey
def test_twins_share_a_hue_and_the_first_is_dark(arch: int) -> None:
    (dark_hue, dark), (light_hue, light) = (hue_and_lightness(run_colour(arch, row)) for row in (0, 1))
    assert dark_hue == pytest.approx(light_hue, abs=0.01)
    assert light > dark + 0.1


def test_arms_and_experiments_are_told_apart() -> None:
    colours = [run_colour(arch, row) for arch in range(len(HUES)) for row in range(4)]
    assert len(set(colours)) == len(colours)
    assert len({run_colour(0, 0), run_colour(0, 0, "exp-a"), run_colour(0, 0, "exp-b")}) == 3
    assert run_colour(0, 0, "exp-a") == run_colour(0, 0, "exp-a")
