"""Scoring a language model, against the same sums taken by hand."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from miniature import corpus_of, made_of, section_of, split_of
from unrolled.ground.corpus import Text, Tokens
from unrolled.ground.evaluation import Evaluation, sums_of
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.evaluation import Scored, write_evaluation
from unrolled.scoring.interpolation import interpolation_weight
from unrolled.scoring.kneser_ney import KneserNey
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.dynamic_evaluation import Dynamics, dynamic_nats, mean_squares
from unrolled.tasks.language_model.evaluation.evaluate import evaluate, kneser_ney
from unrolled.tasks.language_model.evaluation.neural_cache import Cache, cache_nats, forward_reading
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions

V, N = 17, 600
MAIN = "forward_perplexity"


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


def tokens(seed: int = 0) -> Tokens:
    return np.random.default_rng(seed).integers(0, V, N).astype(np.uint16)


CORPUS = corpus_of(split_of(tokens(2)), split_of(tokens(1)), split_of(tokens(), 0, 7, 400), V)._replace(
    counts=np.arange(V) * 10, texts={"test": Text(2000, 2500, 30, 1000.0)}
)


# What is read of the n-gram model's evaluation.
PEER: Any = SimpleNamespace(valid_units={MAIN: np.full(N, 2.0)}, units={MAIN: np.full(N, 2.5)})


def scored(*, bidirectional: bool = True, spoilt: bool = False, **evaluate_section: Any) -> Scored:
    net = network(bidirectional=bidirectional)
    if spoilt:
        net.output_bias.data.fill_(math.nan)
    return evaluate(net, CORPUS, section_of("evaluate", **({"window": 64} | evaluate_section)), {"kneser_ney": PEER})


def values(found: Scored) -> dict[str, float]:
    """Each score by its declaration, and the measures."""
    declared = {score.name: score for score in SCORES}
    return {name: declared[name].of(sums_of(units)) for name, units in found.units.items()} | dict(found.measures)


def read_back(directory: Path, found: Scored) -> Evaluation:
    write_evaluation(
        directory, "arm", found, SCORES, made_of(section_of("evaluate", bootstrap_block=20, bootstrap_samples=100))
    )
    return Evaluation.read(directory)


def test_every_head_is_scored_under_its_own_name() -> None:
    found = scored()
    heads = {"forward_perplexity", "backward_perplexity", "pseudo_perplexity"}
    assert set(found.units) == heads | {"reset_perplexity", "interpolated_perplexity"}
    assert all(len(units) == N for units in found.units.values())
    assert set(scored(bidirectional=False).units) == set(found.units) - {"backward_perplexity", "pseudo_perplexity"}
    net = network(bidirectional=True)
    for score, head in (("forward_perplexity", "forward"), ("pseudo_perplexity", "joined")):
        nats = torch.cat([each.nats(head) for each in predictions(net, tokens(), window=100)])
        assert found.units[score] == pytest.approx(nats.numpy(), rel=1e-5)
    assert found.clusters.tolist() == [0] * 7 + [1] * 393 + [2] * 200


def test_every_score_is_declared_and_the_first_is_the_forward_heads() -> None:
    assert SCORES[0].name == MAIN
    everything = scored(temperatures=[1.0], cache_windows=[20], dynamic_rates=[0.001])
    assert list(everything.units) == [score.name for score in SCORES if score.column != "floor"]


def test_the_tables_are_of_the_stored_units(tmp_path: Path) -> None:
    evaluation = read_back(tmp_path / "run", scored())
    sums, bands, calibration = evaluation.sums[MAIN], evaluation.tables["bands"], evaluation.tables["calibration"]
    assert bands.tokens.sum() == calibration.tokens.sum() == sums.terms == N
    assert bands.nats.sum() == pytest.approx(sums.sum, rel=1e-6)
    assert evaluation.measures["spelled_nats_per_character"] == pytest.approx((sums.sum + 1000) / 2000)
    assert evaluation.measures["spelled_bits_per_byte"] == pytest.approx((sums.sum + 1000) / math.log(2) / 2500)
    assert (evaluation.measures["vocabulary_size"], evaluation.measures["unknown_share"]) == (V, 30 / N)


def test_accuracy_is_that_of_the_most_probable_token() -> None:
    measures = scored(bidirectional=False).measures
    net = network(bidirectional=False)
    table = torch.cat([each.log_probabilities["forward"] for each in predictions(net, tokens(), window=64)])
    best = table.topk(5).indices
    targets = torch.from_numpy(tokens().astype(np.int64))[:, None]
    assert measures["top1_accuracy"] == pytest.approx((best[:, :1] == targets).any(1).float().mean().item())
    assert measures["top5_accuracy"] == pytest.approx((best == targets).any(1).float().mean().item())


@pytest.mark.parametrize("window", [1, 50, 600, 5000])
def test_the_window_changes_no_figure(window: int) -> None:
    reference, other = values(scored()), values(scored(window=window))
    assert set(scored().units) <= set(reference) and "unigram_perplexity" in reference
    for name, value in reference.items():
        assert other[name] == pytest.approx(value, rel=1e-5), name


def test_a_network_that_yields_nan_has_infinite_perplexity() -> None:
    found = values(scored(spoilt=True))
    assert found[MAIN] == found["reset_perplexity"] == math.inf
    assert found["top1_accuracy"] == 0
    assert found["interpolation_weight"] == 1 and found["interpolated_perplexity"] == pytest.approx(math.exp(2.5))


def test_the_weight_of_the_mixture_is_chosen_on_the_validation_split_alone() -> None:
    found = scored(bidirectional=False)
    net = network(bidirectional=False)
    valid = torch.cat([each.nats("forward") for each in predictions(net, tokens(1), window=64)]).numpy()
    assert found.valid_units.keys() == {MAIN} and found.valid_units[MAIN] == pytest.approx(valid, rel=1e-5)
    weight = interpolation_weight(valid, np.full(N, 2.0))
    assert found.measures["interpolation_weight"] == pytest.approx(weight, rel=1e-6)
    mixed = -np.log((1 - weight) * np.exp(-found.units[MAIN]) + weight * math.exp(-2.5))
    assert found.units["interpolated_perplexity"] == pytest.approx(mixed, rel=1e-6)


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_cache_and_dynamic_evaluation_are_chosen_on_the_validation_split(spoilt: bool) -> None:
    found = scored(
        spoilt=spoilt, cache_windows=[20, 50], cache_thetas=[0.0, 1.0], cache_weights=[0.1, 0.3],
        dynamic_rates=[0.0001, 0.001], dynamic_decays=[0.0, 0.1],
    )  # fmt: skip
    reached, details = values(found), found.details
    if spoilt:
        assert reached["cache_perplexity"] == reached["dynamic_perplexity"] == math.inf
        return
    net = network(bidirectional=True)
    cache = Cache(*list(details["cache"].values())[:3])
    dynamic = Dynamics(*list(details["dynamic"].values())[:3])
    valid, test = (forward_reading(net, split, window=64) for split in (tokens(1), tokens()))
    grid = [Cache(w, t, p) for w in (20, 50) for t in (0.0, 1.0) for p in (0.1, 0.3)]
    assert cache == min(grid, key=lambda each: cache_nats(valid, each).sum())
    assert found.units["cache_perplexity"] == pytest.approx(cache_nats(test, cache), rel=1e-6)
    assert details["cache"]["valid_perplexity"] == pytest.approx(math.exp(cache_nats(valid, cache).mean()), rel=1e-6)
    squares = mean_squares(net, tokens(2), segment=20)
    nats = dynamic_nats(net, tokens(), dynamic, squares=squares)
    assert found.units["dynamic_perplexity"] == pytest.approx(nats, rel=1e-5)
    chosen = dynamic_nats(net, tokens(1), dynamic, squares=squares)
    assert dynamic.rate in (0.0001, 0.001)
    assert details["dynamic"]["valid_perplexity"] == pytest.approx(math.exp(chosen.mean()), rel=1e-6)


def test_a_temperature_is_chosen_on_the_validation_split() -> None:
    """p in proportion to its power 1 / temperature, summed over all types; at 1 it is what it was, bit by bit."""
    found, alone = scored(temperatures=[1.0, 3.0, 0.3]), scored(temperatures=[1.0])
    assert alone.units["temperature_perplexity"].tobytes() == alone.units[MAIN].tobytes() == found.units[MAIN].tobytes()

    def at(temperature: float, split: Tokens) -> torch.Tensor:
        read = list(predictions(network(bidirectional=True), split, window=64, heads="forward"))
        powers = torch.cat([each.log_probabilities["forward"].double().exp() for each in read]) ** (1 / temperature)
        targets = torch.cat([each.targets for each in read])[:, None]
        return -(powers.gather(1, targets)[:, 0] / powers.sum(1)).log()

    best = min((1.0, 3.0, 0.3), key=lambda each: at(each, tokens(1)).sum())
    assert best != 1.0 and found.measures["softmax_temperature"] == best and "softmax_temperature" in alone.measures
    assert found.units["temperature_perplexity"] == pytest.approx(at(best, tokens()).numpy(), rel=1e-5)


def test_nothing_adapts_unless_asked_to() -> None:
    found = scored()
    adapted = {"temperature_perplexity", "cache_perplexity", "dynamic_perplexity"}
    assert not adapted & set(found.units) and not found.details and "softmax_temperature" not in found.measures


def test_the_ngram_model_is_scored_by_the_same_measures(tmp_path: Path) -> None:
    found = kneser_ney(CORPUS, section_of("evaluate", ngram_order=3))
    evaluation = read_back(tmp_path / "kneser_ney", found)
    model = KneserNey(tokens(2), order=3, vocabulary=V, end=END_ID)
    table = torch.from_numpy(model.distributions(tokens()))
    targets = torch.from_numpy(tokens().astype(np.int64))
    assert list(evaluation.units) == list(evaluation.valid_units) == [MAIN]
    assert evaluation.units[MAIN] == pytest.approx(model.nats(tokens()), rel=1e-6)
    assert evaluation.valid_units[MAIN] == pytest.approx(model.nats(tokens(1)), rel=1e-6)
    assert evaluation.values[MAIN] == pytest.approx(math.exp(model.nats(tokens()).mean()), rel=1e-6)
    assert evaluation.valid[MAIN].sum == pytest.approx(model.nats(tokens(1)).sum(), rel=1e-6)
    best = table == table.amax(1, keepdim=True)  # several, in contexts seen once
    accuracy = (best / best.sum(1, keepdim=True))[torch.arange(N), targets].mean().item()
    assert best.sum() > N and evaluation.measures["top1_accuracy"] == pytest.approx(accuracy)
    assert {order: tuple(values) for order, values in evaluation.details["discounts"].items()} == {
        str(order): values for order, values in model.discounts.items()
    }
    assert set(evaluation.measures) == set(scored().measures) - {"interpolation_weight"}
    assert evaluation.clusters.tolist() == scored().clusters.tolist()


def test_yardsticks() -> None:
    found = scored().measures
    assert found["uniform_perplexity"] == V
    counts = np.arange(V) * 10 + 1
    nats = -np.log(counts[tokens()] / counts.sum()).sum()
    assert found["unigram_perplexity"] == pytest.approx(math.exp(nats / N))
    # Beside them what compares across vocabularies: 1,000 nats spell out the 30 unknown tokens of 2,000 characters.
    assert found["unigram_spelled_nats_per_character"] == pytest.approx((nats + 1000) / 2000)
    assert found["uniform_spelled_bits_per_byte"] == pytest.approx((N * math.log(V) + 1000) / math.log(2) / 2500)


def test_a_network_that_sees_its_targets_is_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Network.read
    monkeypatch.setattr(Network, "read", lambda self, name, tokens, *rest: read(self, name, tokens.roll(-1, 0), *rest))
    with pytest.raises(UserError, match="no head sees its target"):
        scored(bidirectional=False)
