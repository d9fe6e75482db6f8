"""Sentences of a model's own against the source: models of which it is known what every figure must be."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from miniature import corpus_of, section_of, split_of
from speakers import Oracle, OwnWordsTrained, Unigram, check_perfect
from unrolled.corpus.made_up import tables_of
from unrolled.corpus.sources.agreement import Agreement
from unrolled.corpus.vocabulary import END
from unrolled.ground.corpus import Corpus
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.source import Listener, Source
from unrolled.tasks.language_model.evaluation import own_sentences
from unrolled.tasks.language_model.evaluation.own_sentences import (
    against_the_source,
    forgets,
    held_against,
    states_after,
)
from unrolled.tasks.language_model.evaluation.own_text import own_text
from unrolled.tasks.language_model.evaluation.own_words import Beginnings, Sentences, own_words_nats

TRUE = Agreement(classes=3, noise=0.1, distances=(1, 2, 6), fillers=2)
K, COUNT = TRUE.classes, 800


def known(source: Agreement) -> dict[str, Any]:
    """A source's arrays as the encoded corpus holds them; its words are the ids from 2 on, <eos> is 1."""
    arrays = {f"source.{name}": array for name, array in tables_of(source).items()}
    words = arrays.pop("source.words").tolist()
    return arrays | {"source.ids": np.array([END_ID if word == END else 2 + at for at, word in enumerate(words)])}


def of(source: Agreement) -> Source:
    found = Source.of(known(source), len(source.words) + 1)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    text = TRUE.draw(1000, np.random.default_rng(4))
    arrays, costs = known(TRUE), TRUE.costs(text)
    arrays |= {"causal": costs.causal, "reset": costs.causal}
    split = split_of(arrays["source.ids"][text].astype(np.uint16))._replace(arrays=arrays)
    return corpus_of(split, split, split, len(TRUE.words) + 1)._replace(arrays=arrays)


def figures(corpus: Corpus, speaker: Any, count: int = COUNT) -> dict[str, pd.DataFrame]:
    settings = section_of("evaluate", own_sentences=count, bootstrap_samples=100)
    found = against_the_source(speaker, corpus, of(TRUE), np.asarray(corpus.test.arrays["causal"]), settings)
    return found | {"own_sentences": found["own_sentences"].set_index("figure")}


def near(share: float, target: float, count: float) -> bool:
    return abs(share - target) < 4 * math.sqrt(target * (1 - target) / count)


def test_the_source_itself_is_perfect(corpus: Corpus) -> None:
    found = figures(corpus, Oracle(of(TRUE)))
    check_perfect(found)
    values = found["own_sentences"]["value"]
    assert values["own_words_nats"] >= found["own_sentences"]["perfect"]["own_words_nats"]  # own words mislead it


def test_the_source_agrees_as_often_as_its_noise_has_it(corpus: Corpus) -> None:
    found = figures(corpus, Oracle(of(TRUE)))
    values, perfect = found["own_sentences"]["value"], found["own_sentences"]["perfect"]
    assert perfect["own_agreement"] == perfect["finish_accuracy"] == 0.9
    assert near(values["own_agreement"], 0.9, COUNT)
    assert values["finish_accuracy"] == pytest.approx(0.9) and values["greedy_accuracy"] == 1
    assert values["own_distance"] == pytest.approx(np.mean(TRUE.distances), abs=0.8)
    bins = found["own_by_distance"]
    assert bins["own_sentences"].sum() == bins["finish_sentences"].sum() == COUNT
    assert bins["finish"].dropna().to_numpy() == pytest.approx(0.9)
    assert all(near(row.own, 0.9, row.own_sentences) for row in bins.itertuples() if row.own_sentences > 50)
    assert perfect["grammatical_nats"] == pytest.approx(TRUE.causal_rate * TRUE.tokens_a_sentence)
    assert perfect["own_words_nats"] == pytest.approx(TRUE.own_words_nats)
    assert perfect["forced_nats"] == pytest.approx(TRUE.causal_rate * TRUE.tokens_a_sentence - math.log(K))


def test_who_forgets_the_subject_agrees_by_chance(corpus: Corpus) -> None:
    """All verbs alike: what is paid beyond the source, forward and back, is in closed form."""
    found = figures(corpus, Oracle(of(replace(TRUE, noise=1 - 1 / K))))
    values = found["own_sentences"]["value"]
    assert near(values["own_agreement"], 1 / K, COUNT) and values["finish_accuracy"] == pytest.approx(1 / K)
    assert values["grammatical"] == 1
    reverse = -math.log(K) - math.log(0.9) / K - (K - 1) / K * math.log(0.1 / (K - 1))
    assert values["reverse_kl"] == pytest.approx(reverse, abs=0.15)
    assert abs(values["prefix_price"]) < 15  # the verb alone is another, wherever it stands


def test_who_was_trained_on_own_words_alone_keeps_the_class_and_loses_the_grammar(
    corpus: Corpus,
) -> None:
    """The improper optimum: it pays least for true words behind its own, and nobody understands it."""
    source = of(TRUE)
    speaker: Any = OwnWordsTrained(source)
    true = Beginnings.of(speaker, corpus.test.tokens, 10**6)
    fresh = replace(true, state=speaker.initial_state(len(true)).forward)
    nats = own_words_nats(speaker, fresh, seed=1)
    floor, error = float(corpus.arrays["source.own_words_nats"][0]), nats.std() / math.sqrt(len(nats))
    assert abs(nats.mean() - floor) < 4 * error < 1
    own = own_sentences.drawn(speaker, fresh, seed=1)
    asked = np.zeros(len(fresh), dtype=np.int64)
    found = held_against(speaker, source, fresh, states_after(source, fresh.before), own, asked)
    assert np.isfinite(found.source.sum(axis=0)).mean() < 0.3
    verbs = own_sentences.own_agreement.Verbs(corpus.test.arrays, fresh.text, found.verbs, found.first)
    agree = dict((name, units) for name, units, _ in verbs.figures(own))["own_agreement"]
    assert len(agree) > 200 and near(float(agree.mean()), 0.9, len(agree))


def test_who_knows_no_grammar_writes_a_sentence_as_often_as_chance_has_it(corpus: Corpus) -> None:
    roles = np.zeros(len(corpus.counts), dtype=np.int64) - 1
    roles[corpus.arrays["source.ids"]] = corpus.arrays["source.roles"]
    of_role = np.array([0.3, 0.2, 0.2, 0.2, 0.1])  # subjects, fillers, the cue, verbs, the end
    shares = np.array([of_role[role] / (roles == role).sum() if role >= 0 else 0.0 for role in roles])
    found = figures(corpus, Unigram(of(TRUE), torch.from_numpy(shares)), count=10**5)
    rate = of_role[1] / len(TRUE.distances)  # of the fillers of one mean distance; one or more must follow each other
    means = [1 / mean for mean in TRUE.distances]
    fillers = sum(rate if stop == 1 else rate / (1 - rate) for stop in means)
    share = of_role[[0, 2, 3, 4]].prod() * fillers
    row = found["own_sentences"].loc["grammatical"]
    assert near(row["value"], share, row["sentences"])


def test_what_is_mixed_into_the_source_sums_to_one() -> None:
    """Over all sentences of 4 types, and what has not ended after 6 words: u alone."""
    words = [
        np.array(np.meshgrid(*[[0, 2, 3]] * size)).reshape(size, -1).T if size else np.zeros((1, 0))
        for size in range(7)
    ]
    total = 0.0
    for size, rows in enumerate(words):
        ended = np.concatenate([rows, np.full((len(rows), 1), END_ID)], axis=1) if size < 6 else rows
        text = Sentences(ended.T.astype(np.int64), np.full(len(rows), ended.shape[1]))
        assert (text.finished == (size < 6)).all()
        none = np.full(len(rows), -math.inf)
        total += float(np.exp(own_sentences._mixed(none, text, 4, 3.5)).sum())
    assert total == pytest.approx(own_sentences.NOISE)


def test_reverse_kl_is_the_sum_over_all_sentences() -> None:
    """Of a source of 16 sentences, which another of more noise speaks for: by enumeration, to sampling error."""
    true, other = (of(Agreement(2, noise, (1,), 2)) for noise in (0.1, 0.4))
    every = Sentences(np.array([[s, f, 6, v, END_ID] for s in (2, 3) for f in (4, 5) for v in (7, 8)]).T, np.full(8, 5))
    logs = []
    for source in (true, other):
        listener = Listener.anew(source, 8)
        logs.append(sum(np.log(listener.reads(row)) for row in every.tokens))
    p, q = logs
    assert np.exp(p).sum() == pytest.approx(1)
    exact = float((np.exp(q) * (q - own_sentences._mixed(p, every, 9, 5.0))).sum())
    speaker: Any = Oracle(other)
    state = speaker.initial_state(4000).forward
    beginnings = Beginnings(Sentences(np.full((1, 4000), END_ID), np.ones(4000, dtype=np.int64)), every, state)
    own = own_sentences.drawn(speaker, beginnings, seed=2)
    fresh = true.start[np.zeros(4000, dtype=np.int64)]
    found = held_against(speaker, true, beginnings, fresh, own, np.zeros(4000, dtype=np.int64))
    units = found.model.sum(axis=0) - own_sentences._mixed(found.source.sum(axis=0), own, 9, 5.0)
    assert abs(units.mean() - exact) < 4 * units.std() / math.sqrt(4000)
    assert exact > 0.2


def test_nothing_is_asked_of_who_cannot_speak_or_where_no_sentence_is_wanted(
    corpus: Corpus,
) -> None:
    floor = np.asarray(corpus.test.arrays["causal"])
    settings = section_of("evaluate", own_sentences=30, bootstrap_samples=20)
    speaker: Any = Oracle(of(TRUE))
    found = own_text(speaker, corpus, floor, settings)
    assert {"forward_kl", "grammatical", "own_agreement"} <= set(found.measures)
    assert all(map(math.isfinite, found.measures.values()))
    assert own_text(speaker, corpus, floor, settings | {"own_sentences": 0}) == ({}, {})
    assert own_text(speaker, corpus, floor + 9, settings) == ({}, {})  # worse than a unigram model
    speaker.bidirectional = True
    assert own_text(speaker, corpus, floor, settings) == ({}, {})


def test_a_test_split_of_a_few_sentences_is_no_error(corpus: Corpus) -> None:
    speaker: Any = Oracle(of(TRUE))
    settings = section_of("evaluate", own_sentences=30, bootstrap_samples=20)
    ends = np.flatnonzero(corpus.test.tokens == END_ID) + 1
    for sentences, spoke in ((3, False), (25, True)):
        cut = int(ends[sentences])
        floors = {name: corpus.test.arrays[name][:cut] for name in ("causal", "reset")}
        test = corpus.test._replace(tokens=corpus.test.tokens[:cut], arrays=corpus.arrays | floors)  # type: ignore[operator]
        found = own_text(speaker, corpus._replace(test=test), floors["causal"], settings)
        assert bool(found.tables) == bool(found.measures) == spoke


def test_how_the_text_starts_is_no_memory_of_what_stands_before_a_sentence() -> None:
    reset, ends = np.ones(9), np.array([2, 5, 8])
    assert forgets({"reset": reset, "causal": np.where(np.arange(9) < 3, 0.5, reset)}, ends)
    assert not forgets({"reset": reset, "causal": np.where(np.arange(9) < 4, 0.5, reset)}, ends)
