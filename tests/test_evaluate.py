"""The evaluation directory against the same sums taken by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unrolled.lab.evaluate import evaluate
from unrolled.lab.runs import Evaluation
from unrolled.nets.network import Network
from unrolled.settings import PARAMS, Settings
from unrolled.tasks.language_model import predictions

ROOT = Path(__file__).parents[1]
V, EOS, N = 17, 1, 600


def network(*, bidirectional: bool) -> Network:
    return Network(
        V,
        cell="lstm",
        bidirectional=bidirectional,
        embedding=6,
        hidden=6,
        layers=1,
        dropout=0.0,
        tied=True,
        generator=torch.Generator().manual_seed(0),
    )


def scored(directory: Path, *, bidirectional: bool = True, spoilt: bool = False, window: int = 64) -> Evaluation:
    net = network(bidirectional=bidirectional)
    if spoilt:
        net.output_bias.data.fill_(math.nan)
    settings = Settings.load(ROOT / PARAMS).evaluate.model_copy(update={"window": window, "bootstrap_block": 20})
    evaluate(directory, "arm", net, tokens(), np.arange(V) * 10, settings, eos=EOS, characters=2000)
    return Evaluation.read(directory)


def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, N).astype(np.uint16)


def test_every_head_is_scored_under_its_own_name(tmp_path: Path) -> None:
    scores = scored(tmp_path / "both").scores
    assert set(scores["heads"]) == {"forward", "backward", "joined"}
    assert "perplexity" not in scores
    for head, name in (
        ("forward", "forward_perplexity"),
        ("backward", "backward_perplexity"),
        ("joined", "pseudo_perplexity"),
    ):
        sums = scores["heads"][head]
        assert sums["tokens"] == N
        assert scores[name] == pytest.approx(math.exp(sums["nats"] / N))
        low, high = scores[f"{name}_interval"]
        assert low < scores[name] < high
    causal = scored(tmp_path / "causal", bidirectional=False).scores
    assert not {"backward_perplexity", "pseudo_perplexity"} & set(causal)


def test_the_sums_are_those_of_the_stored_tokens(tmp_path: Path) -> None:
    evaluation = scored(tmp_path / "run")
    nats = load_file(tmp_path / "run" / "nats.safetensors")
    for head, sums in evaluation.scores["heads"].items():
        assert len(nats[head]) == N
        assert nats[head].double().sum().item() == pytest.approx(sums["nats"], rel=1e-12)
    assert evaluation.bands.tokens.sum() == N
    assert evaluation.bands.nats.sum() == pytest.approx(evaluation.scores["heads"]["forward"]["nats"], rel=1e-6)
    assert evaluation.calibration.tokens.sum() == N
    expected = evaluation.scores["heads"]["forward"]["nats"] / math.log(2) / 2000
    assert evaluation.scores["bits_per_character"] == pytest.approx(expected)


def test_accuracy_is_that_of_the_most_probable_token(tmp_path: Path) -> None:
    evaluation = scored(tmp_path / "run", bidirectional=False)
    net = network(bidirectional=False)
    scored_by_window = predictions(net, tokens(), window=64, eos=EOS)
    table = torch.cat([each.log_probabilities["forward"] for each in scored_by_window])
    best = table.topk(5).indices
    targets = torch.from_numpy(tokens().astype(np.int64))[:, None]
    assert evaluation.scores["top1_accuracy"] == pytest.approx((best[:, :1] == targets).any(1).float().mean().item())
    assert evaluation.scores["top5_accuracy"] == pytest.approx((best == targets).any(1).float().mean().item())


@pytest.mark.parametrize("window", [1, 50, 600, 5000])
def test_the_window_changes_no_figure(tmp_path: Path, window: int) -> None:
    reference, other = scored(tmp_path / "a").scores, scored(tmp_path / "b", window=window).scores
    for name in ("forward_perplexity", "backward_perplexity", "pseudo_perplexity", "unigram_perplexity"):
        assert other[name] == pytest.approx(reference[name], rel=1e-5)


def test_a_network_that_yields_nan_has_infinite_perplexity(tmp_path: Path) -> None:
    scores = scored(tmp_path / "run", spoilt=True).scores
    assert scores["forward_perplexity"] == math.inf
    assert scores["heads"]["forward"]["nats"] == math.inf
    assert scores["top1_accuracy"] == 0


def test_yardsticks(tmp_path: Path) -> None:
    scores = scored(tmp_path / "run").scores
    assert scores["uniform_perplexity"] == V
    counts = np.arange(V) * 10 + 1
    nats = -np.log(counts[tokens()] / counts.sum()).sum()
    assert scores["unigram_perplexity"] == pytest.approx(math.exp(nats / N))
