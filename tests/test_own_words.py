"""Going on from own words: what is drawn, and hangs on nothing but seed and network."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.evaluation import own_words
from unrolled.tasks.language_model.evaluation.own_words import Beginnings, Sentences, drawn, own_words_nats
from unrolled.tasks.language_model.model.network import Network

V = 9


def network(**changes: Any) -> Network:
    settings: dict[str, Any] = {"cell": "lstm", "bidirectional": False, "embedding": 5, "hidden": 5, "layers": 2}
    made = Network(V, **settings | {"tied": True} | changes, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 4  # so that words matter
    return made


def text(seed: int = 0, length: int = 900) -> Any:
    return np.random.default_rng(seed).choice(V, length, p=[0.1, 0.2] + [0.1] * 7).astype(np.uint16)


NET, TEXT = network(), text()
START = Beginnings.of(NET, TEXT, 60, warm=20)


def same(a: Sentences, b: Sentences) -> bool:
    return np.array_equal(a.lengths, b.lengths) and np.array_equal(a.tokens, b.tokens)


def test_each_begins_after_true_text_where_a_sentence_does() -> None:
    stream = TEXT.tolist()
    joined = ",".join(map(str, stream))
    for place in range(len(START)):
        before = START.before.tokens[: START.before.lengths[place], place].tolist()
        behind = START.text.tokens[: START.text.lengths[place], place].tolist()
        assert len(before) >= 20 and before[-1] == behind[-1] == END_ID and END_ID not in behind[:-1]
        assert ",".join(map(str, before + behind)) in joined
        _, state = NET.read("forward", torch.tensor([END_ID, *before[:-1]])[:, None], NET.initial_state(1).forward)
        for layer, own in zip(state, START.state, strict=True):
            for part, mine in zip(layer, own, strict=True):
                assert torch.allclose(part[0], mine[place], atol=1e-6)
    anew = network()
    anew.anew = True
    assert not any(part.any() for layer in Beginnings.of(anew, TEXT, 60, warm=20).state for part in layer)
    assert len(Beginnings.of(NET, TEXT, 10**6, warm=20)) > 100
    assert len(Beginnings.of(NET, TEXT[:15], 5, warm=20)) == 0
    endless = np.concatenate([TEXT[:300], np.full(own_words.ENDLESS + 1, 5), TEXT]).astype(np.uint16)
    assert Beginnings.of(NET, endless, 10**6, warm=20).before.lengths.max() < 100


def test_the_same_seed_draws_the_same_however_many_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn(NET, START, seed=1)
    assert same(first, drawn(NET, START, seed=1)) and not same(first, drawn(NET, START, seed=2))
    nats = own_words_nats(NET, START, seed=1)
    threads = torch.get_num_threads()
    for columns, count in ((7, 1), (64, 2)):
        monkeypatch.setattr(own_words, "COLUMNS", columns)
        torch.set_num_threads(count)
        try:
            assert same(first, drawn(NET, START, seed=1))
            assert own_words_nats(NET, START, seed=1) == pytest.approx(nats, rel=1e-6)
        finally:
            torch.set_num_threads(threads)


def test_words_are_as_likely_as_the_network_expects_them() -> None:
    """The first word, over many chances."""
    count = 20_000
    before, behind = (
        Sentences(each.tokens[:, :1].repeat(count, 1), each.lengths[:1].repeat(count))
        for each in (START.before, START.text)
    )
    state = tuple(tuple(part[:1].repeat(count, 1) for part in layer) for layer in START.state)
    once = Beginnings(before, behind, state)
    logits = once.voice(NET, np.array([0])).reads(torch.tensor([END_ID]))[0].detach().double()
    for temperature in (1.0, 0.6):
        expected = torch.softmax(logits / temperature, 0).numpy()
        found = drawn(NET, once, seed=5, temperature=temperature, longest=1)
        shares = np.bincount(found.tokens[0], minlength=V) / 20_000
        assert np.abs(shares - expected).max() < 4 * 0.5 / math.sqrt(20_000)
    assert np.array_equal(found.finished, found.tokens[0] == END_ID)


def test_a_network_that_predicts_no_numbers_says_nothing() -> None:
    spoilt = network()
    spoilt.output_bias.data.fill_(math.nan)
    with pytest.raises(ValueError, match="its predictions are not numbers"):
        drawn(spoilt, START, seed=1)


def test_own_words_are_paid_for_as_step_by_step() -> None:
    """The first of the beginnings, by hand."""
    chances = own_words._chances(len(START.text.tokens), len(START), 1)
    true, paid, words = START.text.tokens[: START.text.lengths[0], 0].tolist(), 0.0, [END_ID]
    voice = START.voice(NET, np.array([0]))
    for place, word in enumerate(true):
        with torch.no_grad():
            shares = torch.softmax(voice.reads(torch.tensor(words[-1:]))[0].double(), 0)
        if place == 0:
            words.append(word)
            continue
        paid -= math.log(shares[word])
        words.append(int((shares.cumsum(0) <= chances[place, 0]).sum()))
    assert own_words_nats(NET, START, seed=1)[0] == pytest.approx(paid, rel=1e-5)
