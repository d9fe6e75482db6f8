"""Lines of a model's own beside real ones: each figure against what is computed line by line."""

import math

import numpy as np
import pytest
import torch

from miniature import corpus_of, section_of, split_of
from test_own_words import V, network, text
from unrolled.ground.corpus import Corpus
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.diversity import copied, distinct, hashes, self_bleu
from unrolled.scoring.kneser_ney import KneserNey
from unrolled.tasks.language_model.evaluation import own_lines
from unrolled.tasks.language_model.evaluation.own_lines import TEMPERATURES, by_temperature, halves
from unrolled.tasks.language_model.evaluation.own_text import own_text
from unrolled.tasks.language_model.evaluation.own_words import Beginnings, drawn
from unrolled.tasks.language_model.evaluation.reset import reset_nats
from unrolled.tasks.language_model.evaluation.scores import OWN, TEXT

NET = network()
CORPUS = corpus_of(split_of(text(1, 3000)), split_of(text(2, 1000)), split_of(text(3, 1600)), V)
SETTINGS = section_of("evaluate", own_sentences=40, bootstrap_samples=20, ngram_order=3)


def test_lines_are_judged_by_text_that_no_network_trained_on() -> None:
    table = by_temperature(NET, CORPUS, SETTINGS)
    assert table is not None and table["of"].tolist() == [TEXT, *[OWN] * len(TEMPERATURES)]
    judged, counted = halves(CORPUS.test.tokens)
    assert judged[-1] == END_ID and np.array_equal(np.concatenate([judged, counted]), CORPUS.test.tokens)
    assert 0 <= len(judged) - 800 < 60
    judge = KneserNey(np.concatenate([CORPUS.valid.tokens, counted]), order=3, vocabulary=V, end=END_ID)
    start = Beginnings.of(NET, CORPUS.test.tokens, 40)
    known = hashes(CORPUS.train.tokens, 8)
    for row in table[table["of"] == OWN].itertuples():
        own = drawn(NET, start, seed=1, temperature=row.temperature, longest=own_lines.LONGEST)
        lines = [own.tokens[:length, place].tolist() for place, length in enumerate(own.lengths.tolist())]
        nats = np.concatenate([judge.nats(line) for line in lines])  # each by itself
        assert row.perplexity == pytest.approx(math.exp(nats.mean())) and row.low <= row.perplexity <= row.high
        said = [[word for word in line if word != END_ID] for line in lines]
        assert (row.lines, row.tokens) == (len(lines), len(nats)) == (40, own.lengths.sum())
        assert row.distinct_2 == distinct(said, 2) and row.copied == copied(said, known, 8)
        assert row.self_bleu == pytest.approx(self_bleu(said).mean())
    real = table.iloc[0]
    lines = np.split(judged, np.flatnonzero(judged == END_ID) + 1)[:-1]
    chosen = np.concatenate([lines[round(place)] for place in np.linspace(0, len(lines) - 1, 40)])
    assert real["perplexity"] == pytest.approx(math.exp(judge.nats(chosen).mean()))


def test_of_own_lines_there_are_as_many_as_of_real_ones() -> None:
    """What is counted of n-grams hangs on how many lines there are."""
    for asked in (10, 10**4):
        table = by_temperature(NET, CORPUS, SETTINGS | {"own_sentences": asked})
        assert table is not None and table["lines"].nunique() == 1 and table["lines"][0] >= 10


def test_a_line_without_an_end_is_judged_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_lines, "LONGEST", 2)
    table = by_temperature(NET, CORPUS, SETTINGS)
    assert table is not None and table["tokens"].max() <= max(80, table["tokens"][0])
    own = table[table["of"] == OWN]
    assert (own["unfinished"] > 0).all() and np.isfinite(own["perplexity"]).all()


def test_a_text_of_a_line_or_two_is_too_short() -> None:
    short = CORPUS._replace(test=split_of(np.array([5, 4, END_ID, 3, END_ID], dtype=np.uint16)))
    assert by_temperature(NET, short, SETTINGS) is None


def test_what_stands_among_the_measures_is_at_temperature_one() -> None:
    table = by_temperature(NET, CORPUS, SETTINGS)
    assert table is not None
    plain = table[table["temperature"] == 1].iloc[0]
    found = own_text(NET, CORPUS, np.full(1600, 0.5), SETTINGS)
    assert found.measures == {f"own_{name}": plain[name] for name in ("perplexity", "self_bleu", "copied")}
    assert found.tables["own_lines"].equals(table)
    bilstm = network(bidirectional=True)
    assert own_text(bilstm, CORPUS, np.full(1600, 0.5), SETTINGS) == ({}, {})


def test_who_grows_beyond_all_numbers_as_it_goes_on_says_nothing() -> None:
    """Its state triples at each word: the few words of a true sentence leave it finite, a hundred of its own do not."""
    grows = network(cell="relu", layers=1)
    grows.anew = True
    with torch.no_grad():
        for layer in grows.forward_stack.layers:
            layer.weight_hh.copy_(3 * torch.eye(5))
        grows.output_bias[END_ID] = -5
    assert torch.isfinite(reset_nats(grows, CORPUS.test.tokens)).all()
    assert own_text(grows, CORPUS, np.full(1600, 0.5), SETTINGS) == ({}, {})


def test_no_split_but_training_is_looked_up_for_copies() -> None:
    other: Corpus = CORPUS._replace(train=split_of(np.full(100, END_ID, dtype=np.uint16)))
    table = by_temperature(NET, other, SETTINGS)
    assert table is not None and not table["copied"].any()
