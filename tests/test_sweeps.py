import math
from pathlib import Path
from types import SimpleNamespace as Made
from typing import Any

import numpy as np
import pandas as pd

from unrolled.report.sweeps import Best, SweepFigures, best, depths, learning_rates
from unrolled.settings import Settings

PARAMS = Path(__file__).parents[1] / "params.yaml"
UNIGRAM = 300.0


def arm(
    perplexity: float, *, arch: str = "rnn", clipping: str = "clipped", status: str = "finished",
    network: dict[str, Any] | None = None, name: str | None = None, **train: Any,
) -> tuple[Settings, Made]:  # fmt: skip
    """An arm's settings and what of its run a sweep reads."""
    settings = Settings.load(PARAMS, f"{arch}-{clipping}")
    settings = settings.model_copy(
        update={
            "arch": name or arch,
            "arm": f"{name or arch}-{clipping}",
            "network": settings.network.model_copy(update=network or {}),
            "train": settings.train.model_copy(update=train),
        }
    )
    layers = settings.network.layers
    profile = pd.DataFrame(
        [
            (epoch, "forward", layer, distance, (epoch + 1) * 10.0 ** (layer - layers) * 0.5**distance)
            for epoch in (0, 1)
            for layer in range(layers)
            for distance in (0, 1)
        ],
        columns=["epoch", "stack", "layer", "distance", "norm"],
    )
    sums = {"forward": {"nats": 100 * math.log(perplexity), "tokens": 100}} if math.isfinite(perplexity) else {}
    return settings, Made(summary={"status": status, "valid": sums}, lag_profile=profile)


def swept() -> list[tuple[Any, Any]]:
    return [
        arm(200.0, learning_rate=1.0, clip_norm=0.25),
        arm(150.0, learning_rate=4.0, clip_norm=0.25),
        arm(250.0, learning_rate=1.0, clip_norm=None),
        arm(math.inf, learning_rate=4.0, clip_norm=None, status="diverged"),
        arm(80.0, arch="lstm"),  # alone, so no sweep
    ]


def test_a_family_is_what_differs_by_learning_rate_and_clipping_alone() -> None:
    table = learning_rates(swept(), UNIGRAM)
    assert table["family"].tolist() == ["rnn"] * 4
    assert table["learning_rate"].tolist() == [1, 4, 1, 4]
    assert table["clipping"].tolist() == ["0.25", "0.25", "off", "off"]
    assert table["perplexity"].tolist() == ["200", "150", "250", "inf"]
    assert table["survived"].tolist() == [1, 1, 1, 0]


def test_each_threshold_is_taken_at_its_own_best() -> None:
    assert best(learning_rates(swept(), UNIGRAM)) == [
        Best("rnn", "0.25", 4.0, 150.0, 4.0),
        Best("rnn", "off", 1.0, 250.0, 1.0),
    ]


def test_who_predicts_twice_as_badly_as_the_unigram_is_lost() -> None:
    table = learning_rates([arm(601.0, learning_rate=1.0), arm(599.0, learning_rate=2.0)], UNIGRAM)
    assert table["survived"].tolist() == [0, 1]
    lost = learning_rates([arm(601.0, learning_rate=1.0), arm(700.0, learning_rate=2.0)], UNIGRAM)
    assert best(lost) == [Best("rnn", "0.25", 1.0, 601.0, None)]


def test_two_families_of_one_cell_are_told_apart() -> None:
    wide = {"hidden": 128, "embedding": 128}
    arms = [
        arm(100.0, learning_rate=rate, network=sizes, name=f"{name}_{rate:g}")
        for name, sizes in (("small", {}), ("wide", wide))
        for rate in (1.0, 2.0)
    ]
    table = learning_rates(arms, UNIGRAM)
    assert table["family"].tolist() == ["rnn, small_1", "rnn, small_1", "rnn, wide_1", "rnn, wide_1"]


def test_depth_takes_the_gradient_of_one_loss_at_its_own_step() -> None:
    table = depths([arm(100.0), arm(90.0, network={"layers": 3, "connection": "residual"})])
    deep = table[(table["layers"] == 3) & (table["when"] == "after")]
    assert deep["layer"].tolist() == [1, 2, 3] and set(deep["connection"]) == {"residual"}
    np.testing.assert_allclose(deep["norm"], [2e-3, 2e-2, 2e-1])
    np.testing.assert_allclose(deep["perplexity"], 90)


def test_where_nothing_is_swept_there_is_nothing_to_see() -> None:
    arms = [arm(100.0), arm(90.0, arch="lstm")]
    assert learning_rates(arms, UNIGRAM).empty and depths(arms).empty
    assert SweepFigures({"learning_rates": learning_rates(arms, UNIGRAM), "depths": depths(arms)}).makers() == {}


def test_what_is_swept_is_drawn(tmp_path: Path) -> None:
    deep = [
        arm(90.0 + n, network={"layers": n, "connection": kind}, name=f"{kind}_{n}")
        for n in (2, 4)
        for kind in ("plain", "dense")
    ]
    lstms = [arm(100.0, arch="lstm", learning_rate=rate) for rate in (1.0, 2.0)]
    tables = {"learning_rates": learning_rates([*swept()[:-1], *lstms], UNIGRAM), "depths": depths([arm(100.0), *deep])}
    makers = SweepFigures(tables).makers()
    assert list(makers) == ["learning_rates", "depths"]
    for name, make in makers.items():
        make().savefig(tmp_path / f"{name}.svg")
    text = (tmp_path / "learning_rates.svg").read_text()
    assert "<!-- exploded -->" in text and "<!-- 150 -->" in text
