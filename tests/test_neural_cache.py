"""The neural cache against its formula as a double loop over a whole distribution."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.tasks.language_model.evaluation.neural_cache import (
    Cache,
    Reading,
    cache_nats,
    choose_cache,
    forward_reading,
)
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions

V, H = 11, 6


def network(*, bidirectional: bool = False, dropout: float = 0.0) -> Network:
    return Network(
        V,
        cell="lstm",
        bidirectional=bidirectional,
        embedding=H,
        hidden=H,
        layers=2,
        dropout=dropout,
        tied=False,
        generator=torch.Generator().manual_seed(0),
    )


def tokens(length: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, length).astype(np.uint16)


def invented(length: int, seed: int = 0, spread: float = 1.0) -> tuple[Reading, np.ndarray]:
    """A reading of a model that was never run, and the log-probabilities [N, V] that its nats are of."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(length, V))
    model = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = random.integers(0, V, length)
    hidden = torch.from_numpy((spread * random.normal(size=(length, H))).astype(np.float32))
    nats = torch.from_numpy(-model[np.arange(length), targets])
    return Reading(hidden, torch.from_numpy(targets), nats), model


def distributions(reading: Reading, model: np.ndarray, cache: Cache) -> np.ndarray:
    """p(w) at every position for every w, [N, V], pair by pair as the formula is written."""
    hidden, targets = reading.hidden.double().numpy(), reading.targets.tolist()
    rows = []
    for t in range(len(targets)):
        scores = np.zeros(V)
        for i in range(max(t - cache.window, 0), t):
            scores[targets[i]] += math.exp(cache.theta * float(hidden[t] @ hidden[i]))
        of_model = np.exp(model[t])
        rows.append((1 - cache.weight) * of_model + cache.weight * scores / scores.sum() if t else of_model)
    return np.array(rows)


@given(
    length=st.integers(1, 40),
    window=st.integers(1, 50),
    theta=st.sampled_from([0.0, 0.1, 0.7, 2.0]),
    weight=st.sampled_from([0.0, 0.05, 0.5, 0.99]),
    chunk=st.none() | st.integers(1, 45),
    seed=st.integers(0, 9),
)
def test_the_formula_as_a_double_loop(
    length: int, window: int, theta: float, weight: float, chunk: int | None, seed: int
) -> None:
    reading, model = invented(length, seed)
    cache = Cache(window, theta, weight)
    table = distributions(reading, model, cache)
    assert table.sum(1) == pytest.approx(1)
    nats = cache_nats(reading, cache, chunk=chunk)
    assert nats.dtype == np.float64
    assert nats == pytest.approx(-np.log(table[np.arange(length), reading.targets.numpy()]), rel=1e-5, abs=1e-7)


def test_a_cache_alone_is_certain_or_impossible_where_it_must_be() -> None:
    reading, _ = invented(5)
    reading = reading._replace(targets=torch.tensor([3, 3, 4, 3, 3]))
    first, *others = cache_nats(reading, Cache(1, 1.0, 1.0)).tolist()
    assert first == reading.nats[0].item(), "nothing to look back to: the model alone"
    assert others == [0, math.inf, math.inf, 0]


def test_without_weight_it_is_the_model() -> None:
    reading, _ = invented(60)
    assert cache_nats(reading, Cache(10, 0.5, 0.0)).tolist() == reading.nats.tolist()


@pytest.mark.parametrize("theta", [0.0, 1.0])
def test_a_window_beyond_the_text_is_the_whole_history(theta: float) -> None:
    reading, _ = invented(60)
    whole = cache_nats(reading, Cache(59, theta, 0.3))
    assert cache_nats(reading, Cache(10**9, theta, 0.3)).tolist() == whole.tolist()
    assert cache_nats(reading, Cache(30, theta, 0.3)).tolist() != whole.tolist()


def test_chunks_change_nothing_where_there_are_several() -> None:
    reading, _ = invented(1500)
    expected = cache_nats(reading, Cache(200, 0.4, 0.3), chunk=1499)
    for chunk in (None, 1, 7, 600):
        assert cache_nats(reading, Cache(200, 0.4, 0.3), chunk=chunk) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("spread", [1e3, 1e-30])
def test_large_and_small_dot_products_stay_finite(spread: float) -> None:
    reading, _ = invented(40, spread=spread)
    nats = cache_nats(reading, Cache(20, 1.0, 0.5))
    assert np.isfinite(nats).all()
    assert (nats <= reading.nats.numpy() + math.log(2) + 1e-9).all(), "the model keeps half of every probability"
    if spread < 1:  # all dot products vanish: how often each token stands in the cache
        assert nats == pytest.approx(cache_nats(reading, Cache(20, 0.0, 0.5)), rel=1e-6)


def test_the_future_is_not_used() -> None:
    """Neither the target's own pair: another token there changes nothing before it, and the text after it nothing."""
    split, net, cache = tokens(), network(), Cache(25, 1.0, 0.4)
    before = cache_nats(forward_reading(net, split, window=16), cache)
    other = split.copy()
    other[50:] = (other[50:] + 1) % V
    after = cache_nats(forward_reading(net, other, window=16), cache)
    assert after[:50].tolist() == before[:50].tolist()
    assert (after[50:] != before[50:]).any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_reading_is_what_the_forward_head_predicts_from(bidirectional: bool) -> None:
    net, split = network(bidirectional=bidirectional, dropout=0.5), tokens()
    reading = forward_reading(net, split, window=32)
    assert reading.targets.tolist() == split.tolist()
    scored = list(predictions(net, split, window=32))
    assert reading.nats.tolist() == torch.cat([each.nats("forward") for each in scored]).tolist()
    table = torch.cat([each.log_probabilities["forward"] for each in scored])
    assert torch.allclose(torch.log_softmax(net.logits(reading.hidden), -1), table, atol=1e-6)


@pytest.mark.parametrize("window", [1, 7, 89, 1000])
def test_the_reading_does_not_depend_on_its_window(window: int) -> None:
    whole, other = (forward_reading(network(), tokens(), window=size) for size in (90, window))
    assert torch.allclose(other.hidden, whole.hidden, atol=1e-6)
    assert other.nats.tolist() == pytest.approx(whole.nats.tolist(), rel=1e-5)


def test_a_network_that_yields_nan_has_infinite_nats() -> None:
    net = network()
    net.output_bias.data.fill_(math.nan)
    reading = forward_reading(net, tokens(), window=32)
    assert (reading.nats == math.inf).all()
    assert cache_nats(reading, Cache(10, 1.0, 0.0)).tolist() == [math.inf] * 90
    reading = reading._replace(hidden=torch.full_like(reading.hidden, math.nan))
    assert cache_nats(reading, Cache(10, 1.0, 0.5)).tolist() == [math.inf] * 90


def test_the_best_of_the_grid_is_chosen() -> None:
    reading = forward_reading(network(), tokens(), window=32)
    windows, thetas, weights = [5, 40], [0.0, 3.0], [0.01, 0.2, 0.6]
    every = [Cache(window, theta, weight) for window in windows for theta in thetas for weight in weights]
    sums = {cache: float(cache_nats(reading, cache).sum()) for cache in every}
    chosen, nats = choose_cache(reading, windows=windows, thetas=thetas, weights=weights)
    assert sums[chosen] == min(sums.values())
    assert nats == pytest.approx(sums[chosen], rel=1e-12)
    assert choose_cache(reading, windows=iter([9]), thetas=iter([1.0]), weights=iter([0.1]))[0] == Cache(9, 1.0, 0.1)
    assert choose_cache(reading, windows=[7, 3], thetas=[1, 2], weights=[0.0])[0] == Cache(7, 1, 0.0), "first of equals"


def test_a_sharp_cache_knows_what_followed_the_same_state() -> None:
    """A text that repeats itself, read by a network whose states do: from the second time on all is in the cache."""
    reading, _ = invented(20)
    states = torch.nn.functional.normalize(reading.hidden, dim=1)  # none has a larger product than with itself
    reading = Reading(states.repeat(3, 1), reading.targets.repeat(3), reading.nats.repeat(3))
    nats = cache_nats(reading, Cache(40, 1000.0, 0.5))
    assert nats[20:] == pytest.approx(-np.log(0.5 + 0.5 * np.exp(-reading.nats[20:].numpy())), rel=1e-3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ((0, 1.0, 0.1), "window must be at least 1, not 0"),
        ((5, -0.1, 0.1), "theta must be finite and at least 0, not -0.1"),
        ((5, math.inf, 0.1), "theta must be finite"),
        ((5, math.nan, 0.1), "theta must be finite"),
        ((5, 1.0, 1.5), r"weight must lie in 0..1, not 1.5"),
        ((5, 1.0, math.nan), "weight must lie"),
    ],
)
def test_settings_out_of_range_are_refused(setting: tuple[int, float, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cache(*setting)
    reading, _ = invented(4)
    with pytest.raises(ValueError, match=said):
        choose_cache(reading, windows=[5, setting[0]], thetas=[setting[1]], weights=[setting[2]])


def test_empty_grids_and_parts_that_do_not_fit_are_refused() -> None:
    reading, _ = invented(4)
    with pytest.raises(ValueError, match="no cache to choose from"):
        choose_cache(reading, windows=[5], thetas=[], weights=[0.1])
    with pytest.raises(ValueError, match="4 states, 4 targets and 3 nats"):
        cache_nats(reading._replace(nats=reading.nats[:3]), Cache(5, 1.0, 0.1))
    for chunk in (0, -3):
        with pytest.raises(ValueError, match="chunk must have at least 1 position"):
            cache_nats(reading, Cache(5, 1.0, 0.1), chunk=chunk)
