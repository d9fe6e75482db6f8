import math
from pathlib import Path
from types import SimpleNamespace as Made
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unrolled.ground.score import Score, Sums
from unrolled.report.sweeps import Best, SweepFigures, best, depths, learning_rates
from unrolled.settings.loader import load_params
from unrolled.tasks.language_model.evaluation.scores import SCORES

GRID = load_params(Path(__file__).parents[1] / "params.yaml").arms
UNIGRAM = 300.0
PERPLEXITY = SCORES[0]
ACCURACY = Score("accuracy", "accuracy", "sequence", lambda hits, sequences: hits / sequences, lower_is_better=False)


def run(
    perplexity: float, *, arch: str = "rnn", clipping: str = "clipped", status: str = "finished",
    network: dict[str, Any] | None = None, name: str | None = None, **train: Any,
) -> Any:  # fmt: skip
    """What of a run a sweep reads; ``perplexity``: of the validation split."""
    arm, settings = f"{name or arch}-{clipping}-1", GRID[f"{arch}-{clipping}-1"]
    settings = settings | {
        "arch": name or arch,
        "network": settings["network"] | (network or {}),
        "train": settings["train"] | train,
    }
    layers = settings["network"]["layers"]
    profile = pd.DataFrame(
        [
            (epoch, "forward", layer, distance, (epoch + 1) * 10.0 ** (layer - layers) * 0.5**distance)
            for epoch in (0, 1)
            for layer in range(layers)
            for distance in (0, 1)
        ],
        columns=["epoch", "stack", "layer", "distance", "norm"],
    )
    valid = {PERPLEXITY.name: Sums(100 * math.log(perplexity), 100)} if math.isfinite(perplexity) else {}
    summary = {"status": status}
    return Made(
        arm=arm, settings=settings, summary=summary, lag_profile=profile, main_stack="forward", valid=lambda: valid
    )


def swept() -> list[Any]:
    return [
        run(200.0, learning_rate=1.0, clip_norm=0.25),
        run(150.0, learning_rate=4.0, clip_norm=0.25),
        run(250.0, learning_rate=1.0, clip_norm=None),
        run(math.inf, learning_rate=4.0, clip_norm=None, status="diverged"),
        run(80.0, arch="lstm"),  # alone, so no sweep
    ]


def test_a_family_is_what_differs_by_learning_rate_and_clipping_alone() -> None:
    table = learning_rates(swept(), PERPLEXITY, UNIGRAM)
    assert table["family"].tolist() == ["rnn"] * 4
    assert table["learning_rate"].tolist() == [1, 4, 1, 4]
    assert table["clipping"].tolist() == ["0.25", "0.25", "off", "off"]
    assert table[PERPLEXITY.name].tolist() == ["200", "150", "250", "inf"]
    assert table["survived"].tolist() == [1, 1, 1, 0]


def test_each_threshold_is_taken_at_its_own_best() -> None:
    assert best(learning_rates(swept(), PERPLEXITY, UNIGRAM), PERPLEXITY) == [
        Best("rnn", "0.25", 4.0, 150.0, 4.0),
        Best("rnn", "off", 1.0, 250.0, 1.0),
    ]


def test_who_predicts_twice_as_badly_as_the_unigram_is_lost() -> None:
    table = learning_rates([run(601.0, learning_rate=1.0), run(599.0, learning_rate=2.0)], PERPLEXITY, UNIGRAM)
    assert table["survived"].tolist() == [0, 1]
    lost = learning_rates([run(601.0, learning_rate=1.0), run(700.0, learning_rate=2.0)], PERPLEXITY, UNIGRAM)
    assert best(lost, PERPLEXITY) == [Best("rnn", "0.25", 1.0, 601.0, None)]


def test_two_families_of_one_cell_are_told_apart() -> None:
    wide = {"hidden": 128, "embedding": 128}
    arms = [
        run(100.0, learning_rate=rate, network=sizes, name=f"{name}_{rate:g}")
        for name, sizes in (("small", {}), ("wide", wide))
        for rate in (1.0, 2.0)
    ]
    table = learning_rates(arms, PERPLEXITY, UNIGRAM)
    assert table["family"].tolist() == ["rnn, small_1", "rnn, small_1", "rnn, wide_1", "rnn, wide_1"]


def test_depth_takes_the_gradient_of_one_loss_at_its_own_step() -> None:
    table = depths([run(100.0), run(90.0, network={"layers": 3, "connection": "residual"})], PERPLEXITY)
    deep = table[(table["layers"] == 3) & (table["when"] == "after")]
    assert deep["layer"].tolist() == [1, 2, 3] and set(deep["connection"]) == {"residual"}
    np.testing.assert_allclose(deep["norm"], [2e-3, 2e-2, 2e-1])
    np.testing.assert_allclose(deep[PERPLEXITY.name], 90)


def test_where_nothing_is_swept_there_is_nothing_to_see() -> None:
    arms = [run(100.0), run(90.0, arch="lstm")]
    tables = {"learning_rates": learning_rates(arms, PERPLEXITY, UNIGRAM), "depths": depths(arms, PERPLEXITY)}
    assert all(table.empty for table in tables.values())
    assert SweepFigures(tables, PERPLEXITY).makers() == {}


def test_what_is_swept_is_drawn(tmp_path: Path) -> None:
    deep = [
        run(90.0 + n, network={"layers": n, "connection": kind}, name=f"{kind}_{n}")
        for n in (2, 4)
        for kind in ("plain", "dense")
    ]
    lstms = [run(100.0, arch="lstm", learning_rate=rate) for rate in (1.0, 2.0)]
    tables = {
        "learning_rates": learning_rates([*swept()[:-1], *lstms], PERPLEXITY, UNIGRAM),
        "depths": depths([run(100.0), *deep], PERPLEXITY),
    }
    makers = SweepFigures(tables, PERPLEXITY).makers()
    assert list(makers) == ["learning_rates", "depths"]
    for name, make in makers.items():
        make().write(tmp_path / name)
    text = (tmp_path / "learning_rates.svg").read_text()
    assert ">exploded<" in text and ">150.0<" in text


@pytest.mark.parametrize(("chance", "survived"), [(None, [1, 1, 0]), (0.5, [1, 0, 0])])
def test_where_more_is_better_the_highest_is_the_best(
    chance: float | None, survived: list[int], tmp_path: Path
) -> None:
    runs = [run(2.0, learning_rate=rate) for rate in (1.0, 2.0, 3.0)]
    for each, hits in zip(runs, (90, 20, None), strict=True):
        each.valid = lambda hits=hits: {} if hits is None else {"accuracy": Sums(hits, 100)}
    table = learning_rates(runs, ACCURACY, chance)
    assert table["accuracy"].tolist() == ["0.9", "0.2", "-inf"] and table["survived"].tolist() == survived
    assert best(table, ACCURACY) == [Best("rnn", "0.25", 1.0, 0.9, 2.0 if chance is None else 1.0)]
    SweepFigures({"learning_rates": table, "depths": depths(runs, ACCURACY)}, ACCURACY).makers()[
        "learning_rates"
    ]().write(tmp_path / "heat")
    text = (tmp_path / "heat.svg").read_text()
    assert ">rnn: validation accuracy<" in text and ">0.900<" in text and ">exploded<" in text
