"""Scores of a text classifier held to scikit-learn, its baselines, what neutral words undo, and its probes."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score

from labelled_texts import SMALL, accuracy, corpus_of, drawn, split_of, trained
from unrolled.ground.corpus import Corpus
from unrolled.ground.evaluation import Resampling
from unrolled.probing.context import by_context
from unrolled.tasks.classification.evaluation import measures
from unrolled.tasks.classification.evaluation.baselines import BASELINES
from unrolled.tasks.classification.evaluation.ensemble import by_text, right_together
from unrolled.tasks.classification.evaluation.evaluate import evaluate
from unrolled.tasks.classification.evaluation.neutral_words import neutral_words, with_neutral_words
from unrolled.tasks.classification.evaluation.scores import SCORES
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.model.task import Task, label_probabilities
from unrolled.tasks.classification.probes.probes import context, stacks
from unrolled.tasks.classification.report import _stuck

EVALUATE: dict[str, Any] = {"neutral_words": [0, 5], "shown_texts": 3, "seed": 1}
NAMES = ["no", "perhaps", "yes"]


def made_up(count: int = 200, labels: int = 3, seed: int = 1) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(count, labels))
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True), random.integers(0, labels, count)


@pytest.mark.parametrize("labels", [2, 3])
def test_scores_are_those_of_scikit_learn(labels: int) -> None:
    found, truth = made_up(labels=labels)
    units = measures.units_of(found, truth)
    assert set(units) == {score.name for score in SCORES}
    assert units["cross_entropy"].mean() == pytest.approx(log_loss(truth, found))
    assert units["accuracy"].mean() == pytest.approx((found.argmax(1) == truth).mean())
    assert units["brier"].mean() == pytest.approx(
        brier_score_loss(truth, found, labels=range(labels), scale_by_half=False)
    )
    summary = measures.summary(found, truth)
    area = roc_auc_score(truth, found, multi_class="ovr") if labels > 2 else roc_auc_score(truth, found[:, 1])
    assert summary["roc_auc"] == pytest.approx(area)
    assert summary["macro_f1"] == pytest.approx(f1_score(truth, found.argmax(1), average="macro"))


def test_a_network_that_diverged_predicts_nothing() -> None:
    found, truth = made_up(20)
    found[3] = np.nan
    units = measures.units_of(found, truth)
    assert [units[name][3] for name in ("accuracy", "cross_entropy", "brier")] == [0, math.inf, 1]
    assert np.isfinite(np.delete(units["cross_entropy"], 3)).all()
    assert math.isfinite(measures.summary(found, truth)["roc_auc"])
    everything = np.full_like(found, np.nan)
    assert measures.summary(everything, truth)["roc_auc"] == 0.5
    assert math.isnan(measures.summary(everything, truth)["calibration_error"])


def test_an_ensemble_answers_by_the_mean_of_the_probabilities() -> None:
    names, labels = ["p(x)", "label"], np.array([0, 1, 1, 0])
    first = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [np.nan, np.nan]])
    second = np.array([[0.4, 0.6], [0.1, 0.9], [0.8, 0.2], [1.0, 0.0]])
    tables = [by_text(each, labels, names) for each in (first, second)]
    assert list(tables[0]) == ["label", "p(p(x))", "p(label)"]
    assert tables[0]["label"].tolist() == ["p(x)", "label", "label", "p(x)"]
    assert right_together(tables).tolist() == [1, 1, 0, 0]
    for found, table in zip((first, second), tables, strict=True):
        assert right_together([table]).tolist() == measures.units_of(found, labels)["accuracy"].tolist()


def test_networks_that_err_apart_are_right_together() -> None:
    """Five that are each right in 70 % of texts, on their own: most of them are in 83.7 % (Condorcet)."""
    random, labels = np.random.default_rng(1), np.random.default_rng(2).integers(0, 2, 20_000)
    right = random.random((5, len(labels))) < 0.7
    tables = [by_text(np.eye(2)[np.where(each, labels, 1 - labels)], labels, ["a", "b"]) for each in right]
    majority = sum(math.comb(5, k) * 0.7**k * 0.3 ** (5 - k) for k in (3, 4, 5))
    assert right_together(tables).mean() == pytest.approx(majority, abs=0.01)


def test_a_label_that_the_test_split_lacks_is_left_out() -> None:
    found, truth = made_up(100)
    truth[truth == 2] = 0
    summary = measures.summary(found, truth)
    assert summary["roc_auc"] == pytest.approx(
        np.mean([roc_auc_score(truth == label, found[:, label]) for label in (0, 1)])
    )
    table = measures.by_label(found, truth, NAMES)
    assert table["label"].tolist() == NAMES and table["texts"].tolist() == [*np.bincount(truth).tolist(), 0]


def test_tables_add_up() -> None:
    found, truth = made_up(200)
    right = measures.units_of(found, truth)["accuracy"]
    confusion = measures.confusion(found, truth, NAMES)
    assert confusion["texts"].sum() == 200
    assert confusion[confusion["label"] == confusion["predicted"]]["texts"].sum() == right.sum()
    lengths = np.random.default_rng(1).integers(1, 9, 200)
    table = measures.by_length(lengths, right)
    assert table["texts"].sum() == 200 and (table["texts"] * table["accuracy"]).sum() == pytest.approx(right.sum())
    assert (table["shortest"].to_numpy()[1:] > table["longest"].to_numpy()[:-1]).all()
    assert len(measures.by_length(np.full(200, 4), right)) == 1
    bins = measures.reliability(found, truth)
    assert bins["texts"].sum() == 200


def test_the_most_wrong_and_the_least_sure_texts() -> None:
    found = np.array([[0.9, 0.1], [0.2, 0.8], [0.51, 0.49], [0.3, 0.7]])
    tables = measures.quoted(found, np.array([1, 1, 1, 0]), ["a", "b"], ["w", "x", "y", "z"], 2)
    assert tables["most_wrong"]["text"].tolist() == ["w", "z"]
    assert tables["most_wrong"]["predicted"].tolist() == ["a", "b"]
    assert tables["least_sure"]["text"].tolist() == ["y", "z"]


# ---- baselines -------------------------------------------------------------------------------------------------------


def told_by_a_word(count: int, seed: int, labels: int = 2) -> Any:
    """Random words, and one that gives the label away."""
    random = np.random.default_rng(seed)
    own = random.integers(0, labels, count)
    return split_of([[*random.integers(10, 40, 6).tolist(), 2 + label] for label in own], own.tolist())


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("labels", [2, 3])
def test_baselines_learn_which_words_tell(baseline: str, labels: int) -> None:
    train, valid, test = (told_by_a_word(count, seed, labels) for count, seed in ((300, 1), (50, 2), (100, 3)))
    scored = BASELINES[baseline](corpus_of(train, valid, test, NAMES[:labels]), {})
    assert scored.units["accuracy"].mean() > 0.97
    assert len(scored.clusters) == 100


@pytest.mark.parametrize("baseline", BASELINES)
def test_baselines_fall_to_chance_on_shuffled_labels(baseline: str) -> None:
    random = np.random.default_rng(1)
    train, valid, test = (
        split_of([random.integers(2, 40, 6).tolist() for _ in range(count)], random.integers(0, 2, count).tolist())
        for count in (400, 50, 1000)
    )
    scored = BASELINES[baseline](corpus_of(train, valid, test, ["a", "b"]), {})
    assert scored.units["accuracy"].mean() == pytest.approx(0.5, abs=0.06)


def test_baselines_read_words_that_the_vocabulary_lacks() -> None:
    """The splits' ids are all unknown; what is written is not."""
    train, valid, test = (told_by_a_word(count, seed) for count, seed in ((300, 1), (50, 2), (100, 3)))
    blind = [split._replace(tokens=np.zeros_like(split.tokens)) for split in (train, valid, test)]
    scored = BASELINES["naive_bayes"](corpus_of(*blind, ["a", "b"]), {})
    assert scored.units["accuracy"].mean() > 0.97


# ---- a network scored ------------------------------------------------------------------------------------------------


def first_word(count: int, seed: int) -> Any:
    return drawn(lambda text: text[0] % 2, count=count, lengths=(3, 5), seed=seed)


@pytest.fixture(scope="module")
def remembering() -> Network:
    """Knows the first word of short texts from its last state."""
    return trained(first_word(600, 1), network={"cell": "rnn", "read_out": "last"})


def corpus_of_first_words(test: Any) -> Corpus:
    return corpus_of(first_word(600, 1), first_word(50, 3), test, ["even", "odd"])


def test_evaluation_scores_every_text_once(remembering: Network, capsys: pytest.CaptureFixture[str]) -> None:
    test = first_word(100, 2)
    scored = evaluate(remembering, corpus_of_first_words(test), EVALUATE, {})
    assert {name: len(each) for name, each in scored.units.items()} == dict.fromkeys(scored.units, 100)
    assert scored.units["accuracy"].mean() == accuracy(remembering, test)
    assert len(set(scored.clusters.tolist())) == 100 and len(scored.valid_units["accuracy"]) == 50
    assert scored.tables["neutral_words"]["accuracy"].iloc[0] == scored.units["accuracy"].mean()
    assert scored.tables["least_sure"]["text"].str.startswith("w").all()
    assert "warning" not in capsys.readouterr().err


def test_a_network_no_better_than_the_most_frequent_label_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    network = Network(8, 2, **SMALL, read_out="max", generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network.head.weight.zero_()  # it always answers with the first label, which is rare
    splits = [drawn(lambda text: text[0] > 2, count=60, lengths=(3, 5), seed=seed) for seed in (1, 2, 3)]
    scored = evaluate(network, corpus_of(*splits, ["two", "more"]), EVALUATE, {})
    said = capsys.readouterr().err
    assert said.startswith("warning: accuracy ") and "most frequent label" in said
    assert scored.measures["most_frequent_accuracy"] > scored.units["accuracy"].mean()


def test_neutral_words_undo_what_hangs_on_the_last_word_and_cut_off_its_gradient() -> None:
    train, test = (drawn(lambda text: text[-1] % 2, count=400, lengths=(3, 5), seed=seed) for seed in (1, 2))
    network = trained(train, network={"cell": "rnn", "read_out": "last"})
    table = with_neutral_words(network, corpus_of(train, train, test, ["even", "odd"]), [60, 0], seed=1)
    assert table["neutral_words"].tolist() == [0, 60]
    none, many = table.iloc[0], table.iloc[1]
    assert none["accuracy"] == accuracy(network, test) == 1 and none["last"] == none["largest"]
    assert many["accuracy"] == pytest.approx(0.5, abs=0.08) and many["last"] < 1e-6 * many["largest"]


def test_a_stack_that_reads_from_the_right_is_reached_at_the_first_word() -> None:
    test = drawn(lambda text: text[0] > 2, count=40, lengths=(9, 9), seed=1)
    network = Network(
        8, 2, **SMALL | {"bidirectional": True}, read_out="last", generator=torch.Generator().manual_seed(1)
    )
    row = with_neutral_words(network, corpus_of(test, test, test, ["a", "b"]), [60], seed=1).iloc[0]
    assert row["first"] > 0.1 * row["largest"] and row["last"] < 0.01 * row["largest"]


def test_the_gradient_of_few_texts_is_not_that_of_the_shortest() -> None:
    test = drawn(lambda text: text[0] > 2, count=9, lengths=(1, 9), seed=1)
    network = Network(8, 2, **SMALL, read_out="max", generator=torch.Generator().manual_seed(1))
    median = np.median(np.diff([*test.documents, len(test.tokens)]))
    assert set(with_neutral_words(network, corpus_of(test, test, test, ["a", "b"]), [0], seed=1)["words"]) == {median}


@pytest.mark.parametrize(("last", "said"), [(1e-9, "training cannot tell"), (0.3, "the gradient reaches these words")])
def test_a_gradient_that_arrives_is_not_called_vanished(last: float, said: str) -> None:
    row = {"neutral_words": 0, "words": 1, "first": 0.5, "last": last, "largest": 1.0}
    evaluation = SimpleNamespace(
        values={"accuracy": 0.9}, measures={"most_frequent_accuracy": 0.9},
        intervals={"accuracy": SimpleNamespace(low=0.8)}, tables={"neutral_words": pd.DataFrame([row])},
    )  # fmt: skip
    run = SimpleNamespace(settings={"network": {"neutral_words": 0}})
    (line,) = _stuck([SimpleNamespace(name="rnn", evaluation=evaluation, run=run)])  # type: ignore[list-item]
    assert said in line and "at the end of 1 step," in line


def test_neutral_words_are_frequent_and_say_nothing_of_the_label() -> None:
    """Of two labels, each with a word of its own, and words that both have."""
    texts = [[2 + label, *range(4, 4 + 1 + index % 30), 0] for index in range(400) for label in (0, 1)]
    found = set(neutral_words(split_of(texts, [index % 2 for index in range(800)])).tolist())
    assert len(found) == 20 and not found & {0, 1, 2, 3}


def test_what_of_a_text_is_read_counts_from_its_end(remembering: Network) -> None:
    test = first_word(200, 2)
    right = (label_probabilities(remembering, test).argmax(1) == test.arrays["labels"]).astype(np.float32)
    given = context(remembering, test, {"accuracy": right}, {"contexts": [4, 2, 50]})
    table = by_context(given, SCORES[0], Resampling(block=10, samples=50, confidence=0.9, seed=1))
    assert table["context"].tolist() == [2, 4, math.inf]
    assert table["value"].iloc[-1] == 1 and table["ratio"].iloc[-1] == 1
    cut = [text[-2:].tolist() for text in np.split(test.tokens, test.documents[1:])]
    assert table["value"].iloc[0] == accuracy(remembering, split_of(cut, test.arrays["labels"].tolist()))
    assert (table["ratio_low"] <= table["ratio"]).all() and (table["ratio"] <= table["ratio_high"]).all()


def test_the_probed_stacks_are_the_networks_own(remembering: Network) -> None:
    ((name, (stack, text)),) = stacks(remembering, first_word(20, 2), 10).items()
    assert name == "left_to_right" and stack is remembering.left_to_right and text.shape == (10, 1, 8)


def test_sizes_come_from_the_corpus() -> None:
    splits = [first_word(20, seed) for seed in (1, 2, 3)]
    sizes = Task({"texts": 4, "seed": 1}).sizes(corpus_of(*splits, ["even", "odd"]))
    assert sizes == {"vocabulary": 8, "labels": 2}
