"""Networks that listen to speech whose answer is known: pure patterns of pitch, one a word, without noise."""

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from made_up_speech import FIRST, corpus_of, drawn, said, speech_of, split_of, trained
from unrolled.ground.corpus import Split
from unrolled.tasks.speech.corpus.grammar import Grammar
from unrolled.tasks.speech.evaluation import measures
from unrolled.tasks.speech.evaluation.baselines import unheard_network
from unrolled.tasks.speech.evaluation.reading import forced, found_in
from unrolled.tasks.speech.model.network import Network

WORDS = 4
ARMS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "lstm": {"cell": "lstm"},
    "bilstm": {"cell": "lstm", "bidirectional": True, "hidden": 16},
}


def all_texts(shortest: int, longest: int) -> list[list[int]]:
    every = range(FIRST, FIRST + WORDS)
    return [list(text) for size in range(shortest, longest + 1) for text in itertools.product(every, repeat=size)]


def costs_of(texts: list[list[int]]) -> list[list[float]]:
    """The exact nats of texts that are as long as any with the same chance, and hold each word with the same."""
    lengths = [len(text) for text in texts]
    grammar = Grammar.drawn([str(word) for word in range(FIRST, FIRST + WORDS)], WORDS, min(lengths), max(lengths), 1)
    return [grammar.costs([str(word) for word in text]) for text in texts]


def as_likely(texts: list[list[int]], costs: list[list[float]]) -> list[list[int]]:
    """Each text as often as it is likely: what is drawn without chance."""
    rarest = max(map(sum, costs))
    return [text for text, cost in zip(texts, costs, strict=True) for _ in range(round(math.exp(rarest - sum(cost))))]


def above_floor(network: Network, split: Split, costs: list[list[float]]) -> float:
    """The network's perplexity over the grammar's own, of all texts by how likely they are."""
    nats = np.array([part.sum() for part in np.split(forced(network, split).nats, split.documents[1:])])
    floor, tokens = np.array(list(map(sum, costs))), np.array(list(map(len, costs)))
    likely = np.exp(-floor)
    assert likely.sum() == pytest.approx(1)
    return math.exp(float(likely @ (nats - floor) / (likely @ tokens)))


# ---- what is heard ---------------------------------------------------------------------------------------------------


@cache
def listener(arm: str) -> Network:
    train = speech_of(drawn(96, (1, 3), WORDS), WORDS)
    return trained(train, types=FIRST + WORDS, network=ARMS[arm], learning_rate=0.02, epochs=15)


@pytest.mark.parametrize("arm", ARMS)
def test_pure_patterns_are_written_without_an_error(arm: str) -> None:
    network, split = listener(arm), speech_of(all_texts(1, 3), WORDS)
    for decoding in ({"beam": 1, "ctc_share": 0.0}, {"beam": 4, "ctc_share": 0.5}, {"beam": 4, "ctc_share": 1.0}):
        found = found_in(network, split, **decoding)
        read = measures.reading(split, [each.words for each in found], forced(network, split))
        assert read.errors.of_words.sum() == 0 and all(each.ended for each in found), decoding
    assert measures.figures(split, read)["perplexity"] < 1.05


@pytest.mark.parametrize("arm", ARMS)
def test_the_wrong_audio_is_worse_than_none(arm: str) -> None:
    """Who hears nothing pays the floor at least; who believes another's audio pays more."""
    texts = all_texts(1, 3)
    floor = sum(map(sum, costs_of(texts)))
    assert forced(listener(arm), speech_of(texts, WORDS), wrong_audio=True).nats.sum() > 1.5 * floor


def by_place(network: Network, split: Split, words: int) -> Any:
    """The share of words wrong at each place of texts of one length, the true ones before being read."""
    return forced(network, split).wrong.reshape(-1, words + 1)[:, :words].mean(0)


def test_one_vector_holds_what_was_read_last() -> None:
    """From left to right the last word, while the rest is guessed (3 of 4 wrong); from both sides the first one too."""
    train, test = (speech_of(drawn(count, (4, 4), WORDS, seed), WORDS) for seed, count in ((1, 160), (2, 60)))
    wrong = {}
    for both in (False, True):
        settings = {"conditioning": "initial_state", "ctc": False, "frames_per_step": 3, "bidirectional": both}
        network = trained(train, types=FIRST + WORDS, network=settings, ctc_weight=0.0, epochs=14)
        wrong[both] = by_place(network, test, 4)
    assert wrong[False][3] < 0.4 and wrong[False][:3].mean() > 0.55
    assert wrong[True][0] < 0.1 and wrong[True][3] < 0.2


# ---- what can be known without listening -----------------------------------------------------------------------------


def test_without_audio_the_language_model_ends_at_the_floor() -> None:
    """Trained on each text as often as it is likely, and asked for all of them, so that no chance is in the figure."""
    words = ["a", "b", "c"]
    grammar = Grammar.drawn(words, 2, 1, 2, 1)
    every = [text for size in (1, 2) for text in itertools.product(words, repeat=size)]
    every = [text for text in every if math.isfinite(sum(grammar.costs(text)))]
    costs, texts = (
        [grammar.costs(text) for text in every],
        [[FIRST + words.index(word) for word in text] for text in every],
    )

    def silent(some: list[list[int]]) -> Split:
        return split_of([np.zeros((4, 1))] * len(some), some)

    likely = silent(as_likely(texts, costs))
    train = silent(as_likely(texts, costs) * 240)
    network = unheard_network(corpus_of(train, likely, likely, FIRST + len(words)), seed=1, epochs=4)
    assert 1 <= above_floor(network, silent(texts), costs) < 1.01


def test_silence_tells_nothing_to_who_has_heard_silence() -> None:
    """Half of the utterances it is trained on are silent, all are equally long: so in silence no better answer is there
    than the grammar's own. (Who never heard silence might say anything.)"""
    texts, frames = all_texts(1, 2), 14
    costs = costs_of(texts)

    def heard(some: list[list[int]]) -> list[Any]:
        return [np.pad(sound, ((0, frames - len(sound)), (0, 0))) for sound, _ in (said(text, WORDS) for text in some)]

    def silence(some: list[list[int]]) -> list[Any]:
        return [np.zeros((frames, WORDS))] * len(some)

    likely = as_likely(texts, costs)
    train = split_of((heard(likely) + silence(likely)) * 4, likely * 8)
    network = trained(
        train, types=FIRST + WORDS, network={"ctc": False}, ctc_weight=0.0, learning_rate=0.02, epochs=8,
        anneal_factor=1.5, anneal_after=4,
    )  # fmt: skip
    assert 1 <= above_floor(network, split_of(silence(texts), texts), costs) < 1.03
    assert np.exp(forced(network, split_of(heard(texts), texts)).nats.mean()) < 1.02
