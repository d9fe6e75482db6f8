"""The evaluation directory against the same sums taken by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unrolled.kneser_ney import KneserNey
from unrolled.lab.dynamic_evaluation import Dynamics, dynamic_nats, mean_squares
from unrolled.lab.evaluate import Text, evaluate, evaluate_ngrams
from unrolled.lab.neural_cache import Cache, cache_nats, forward_reading
from unrolled.lab.runs import Evaluation
from unrolled.mixture import interpolation_weight
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
    evaluate(directory, "arm", net, TEXT, settings, (np.full(N, 2.0), np.full(N, 2.5)))
    return Evaluation.read(directory)


def tokens(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, N).astype(np.uint16)


TEXT = Text(tokens(2), tokens(1), tokens(), np.arange(V) * 10, characters=2000, eos=EOS)


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
    for name in (
        "forward_perplexity",
        "backward_perplexity",
        "pseudo_perplexity",
        "unigram_perplexity",
        "reset_perplexity",
    ):
        assert other[name] == pytest.approx(reference[name], rel=1e-5)


def test_a_network_that_yields_nan_has_infinite_perplexity(tmp_path: Path) -> None:
    scores = scored(tmp_path / "run", spoilt=True).scores
    assert scores["forward_perplexity"] == math.inf
    assert scores["heads"]["forward"]["nats"] == math.inf
    assert scores["top1_accuracy"] == 0
    assert scores["reset_perplexity"] == math.inf
    assert scores["interpolation_weight"] == 1 and scores["interpolated_perplexity"] == pytest.approx(math.exp(2.5))


def test_the_weight_of_the_mixture_is_chosen_on_the_validation_split_alone(tmp_path: Path) -> None:
    evaluation = scored(tmp_path / "run", bidirectional=False)
    net = network(bidirectional=False)
    valid = torch.cat([each.nats("forward") for each in predictions(net, tokens(1), window=64, eos=EOS)]).numpy()
    assert evaluation.valid_nats == pytest.approx(valid, rel=1e-5)
    weight = interpolation_weight(valid, np.full(N, 2.0))
    assert evaluation.scores["interpolation_weight"] == pytest.approx(weight, rel=1e-6)
    mixed = -np.log((1 - weight) * np.exp(-evaluation.nats["forward"]) + weight * math.exp(-2.5))
    assert evaluation.scores["interpolated_perplexity"] == pytest.approx(math.exp(mixed.mean()), rel=1e-6)


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_cache_and_dynamic_evaluation_are_chosen_on_the_validation_split(tmp_path: Path, spoilt: bool) -> None:
    net = network(bidirectional=True)
    if spoilt:
        net.output_bias.data.fill_(math.nan)
    options = {"cache_windows": [20, 50], "cache_thetas": [0.0, 1.0], "cache_weights": [0.1, 0.3]}
    options |= {"dynamic_rates": [0.0001, 0.001], "dynamic_decays": [0.0, 0.1], "bootstrap_block": 20}
    settings = Settings.load(ROOT / PARAMS).evaluate.model_copy(update=options)
    scores = evaluate(tmp_path / "run", "arm", net, TEXT, settings, (np.full(N, 2.0), np.full(N, 2.5)))
    cache, dynamic = Cache(*list(scores["cache"].values())[:3]), Dynamics(*list(scores["dynamic"].values())[:3])
    if spoilt:
        assert scores["cache_perplexity"] == scores["dynamic_perplexity"] == math.inf
        return
    valid, test = (forward_reading(net, split, window=64, eos=EOS) for split in (tokens(1), tokens()))
    grid = [Cache(w, t, p) for w in (20, 50) for t in (0.0, 1.0) for p in (0.1, 0.3)]
    assert cache == min(grid, key=lambda each: cache_nats(valid, each).sum())
    assert scores["cache_perplexity"] == pytest.approx(math.exp(cache_nats(test, cache).mean()), rel=1e-6)
    assert scores["cache"]["valid_perplexity"] == pytest.approx(math.exp(cache_nats(valid, cache).mean()), rel=1e-6)
    squares = mean_squares(net, tokens(2), segment=20, eos=EOS)
    nats = dynamic_nats(net, tokens(), dynamic, squares=squares, eos=EOS)
    assert scores["dynamic_perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    assert dynamic.rate in (0.0001, 0.001) and scores["dynamic"]["valid_tokens"] == N


def test_nothing_adapts_unless_asked_to(tmp_path: Path) -> None:
    assert not {"cache_perplexity", "dynamic_perplexity"} & set(scored(tmp_path / "run").scores)


def test_the_ngram_model_is_scored_by_the_same_measures(tmp_path: Path) -> None:
    settings = Settings.load(ROOT / PARAMS).evaluate.model_copy(update={"bootstrap_block": 20, "ngram_order": 3})
    evaluate_ngrams(tmp_path / "kneser_ney", TEXT, settings)
    evaluation = Evaluation.read(tmp_path / "kneser_ney")
    model = KneserNey(tokens(2), order=3, vocabulary=V, eos=EOS)
    table = torch.from_numpy(model.distributions(tokens()))
    targets = torch.from_numpy(tokens().astype(np.int64))
    assert evaluation.nats["forward"] == pytest.approx(model.nats(tokens()), rel=1e-6)
    assert evaluation.valid_nats == pytest.approx(model.nats(tokens(1)), rel=1e-6)
    assert evaluation.scores["forward_perplexity"] == pytest.approx(math.exp(model.nats(tokens()).mean()), rel=1e-6)
    assert evaluation.scores["valid"]["nats"] == pytest.approx(model.nats(tokens(1)).sum(), rel=1e-6)
    accuracy = (table.argmax(1) == targets).double().mean().item()
    assert evaluation.scores["top1_accuracy"] == pytest.approx(accuracy, abs=0.02)  # ties, of contexts seen once
    assert set(evaluation.scores["discounts"]) == {"1", "2", "3"}
    assert set(evaluation.scores) - {"discounts", "valid"} < set(scored(tmp_path / "arm").scores)


def test_yardsticks(tmp_path: Path) -> None:
    scores = scored(tmp_path / "run").scores
    assert scores["uniform_perplexity"] == V
    counts = np.arange(V) * 10 + 1
    nats = -np.log(counts[tokens()] / counts.sum()).sum()
    assert scores["unigram_perplexity"] == pytest.approx(math.exp(nats / N))
