"""What taggers are scored by, held to published figures, to scikit-learn and to counting by hand."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix

from tagging_corpora import drawn, encoded, told, untrained
from unrolled.ground.corpus import Corpus
from unrolled.ground.evaluation import Evaluation, Resampling
from unrolled.scoring.evaluation import write_evaluation
from unrolled.tasks.tagging.corpus.columns import conll2000_sentences
from unrolled.tasks.tagging.evaluation import tables
from unrolled.tasks.tagging.evaluation.baselines import _warn_of_hours
from unrolled.tasks.tagging.evaluation.chunks import are_chunks, chunk_table, chunks_of, f1_interval
from unrolled.tasks.tagging.evaluation.evaluate import BASELINES, evaluate
from unrolled.tasks.tagging.evaluation.scores import SCORES
from unrolled.tasks.tagging.report import WORDING

RESAMPLING = Resampling(block=20, samples=50, confidence=0.95, seed=1)
SETTINGS: dict[str, Any] = {
    "crf_iterations": 30, "bootstrap_samples": 50, "bootstrap_block": 20, "confidence": 0.95, "seed": 1,
}  # fmt: skip
WORDS = ("da", "be", "co", "du", "ef", "gi")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """The last word is unknown to training; a tag hangs on the word, and on whether "da" stands before it."""

    def own(words: Any, place: int) -> str:
        return "AFTER" if place and words[place - 1] == "da" else f"T{WORDS.index(words[place]) % 5}"

    counts = ((200, WORDS[:5]), (20, WORDS), (60, WORDS))
    return encoded(*(drawn(count, words, own, seed=seed) for seed, (count, words) in enumerate(counts)))


def test_chunks_are_read_as_the_shared_task_read_them() -> None:
    """Its published baseline, the chunk tag that goes most often with the POS tag: P 72.58, R 82.14, F 77.07."""
    archive = Path(os.environ.get("UNROLLED_MIRROR", ""), "conll2000.zip")
    if not archive.is_file():
        pytest.skip("needs UNROLLED_MIRROR, a folder that holds conll2000.zip")
    splits = {
        (part, kind): conll2000_sentences(archive, part, kind)
        for part in ("train", "test")
        for kind in ("pos", "chunk")
    }
    together: dict[str, dict[str, int]] = {}
    for tagged, chunked in zip(splits["train", "pos"], splits["train", "chunk"], strict=True):
        for tag, chunk in zip(tagged.tags, chunked.tags, strict=True):
            counts = together.setdefault(tag, {})
            counts[chunk] = counts.get(chunk, 0) + 1
    best = {tag: max(counts, key=lambda chunk: counts[chunk]) for tag, counts in together.items()}
    gold = [sentence.tags for sentence in splits["test", "chunk"]]
    said = [[best[tag] for tag in sentence.tags] for sentence in splits["test", "pos"]]
    table = chunk_table(gold, said)
    whole = table[table["type"] == "all"].iloc[0]
    assert [round(float(whole[name]), 2) for name in ("precision", "recall", "f1")] == [72.58, 82.14, 77.07]
    assert int(whole["support"]) == 23_852
    assert len(chunks_of([sentence.tags for sentence in splits["train", "chunk"]])) == 106_978
    low, high = f1_interval(gold, said, RESAMPLING)
    assert 76 < low < 77.07 < high < 78


@pytest.mark.parametrize(
    ("tags", "chunks"),
    [
        ("B-A I-A O B-A", [(0, 1, "A"), (3, 3, "A")]),
        ("I-A I-A O I-B", [(0, 1, "A"), (3, 3, "B")]),
        ("B-A B-A I-A", [(0, 0, "A"), (1, 2, "A")]),
        ("B-A I-B I-B", [(0, 0, "A"), (1, 2, "B")]),
        ("B-A I-A E-A S-A S-A O", [(0, 2, "A"), (3, 3, "A"), (4, 4, "A")]),
        ("B-A L-A U-B I-B B-B L-B", [(0, 1, "A"), (2, 2, "B"), (3, 3, "B"), (4, 5, "B")]),
        ("E-A E-A O I-B E-B I-B", [(0, 0, "A"), (1, 1, "A"), (3, 4, "B"), (5, 5, "B")]),
        ("O O", []),
    ],
)
def test_where_a_chunk_begins_and_ends(tags: str, chunks: list[tuple[int, int, str]]) -> None:
    assert {each[1:] for each in chunks_of([tags.split()])} == set(chunks)


def test_no_chunk_goes_on_over_a_sentence_border() -> None:
    assert len(chunks_of([["B-A"], ["I-A"]])) == 2


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@given(st.lists(st.tuples(st.sampled_from(["A", "B-C", None]), st.integers(1, 4))))
def test_chunks_are_the_same_however_they_are_written(scheme: str, parts: list[tuple[str | None, int]]) -> None:
    tags: list[str] = []
    expected, before = set(), None
    first, last, single = {"BIOES": "BES", "BILOU": "BLU"}.get(scheme, "BIB")
    for kind, size in parts:
        if kind is not None:
            expected.add((len(tags), len(tags) + size - 1, kind))
            begin = "I" if scheme == "IOB1" and kind != before else single if size == 1 else first
            tags += [f"{begin}-{kind}", *[f"I-{kind}"] * (size - 2), *[f"{last}-{kind}"] * (size > 1)]
        else:
            tags += ["O"] * size
        before = kind
    assert {each[1:] for each in chunks_of([tags])} == expected
    assert are_chunks([*tags, "O"]) == bool(expected)


def test_which_tags_read_as_chunks() -> None:
    assert are_chunks(["B-NP", "I-NP", "O"]) and not are_chunks(["NOUN", "O"]) and not are_chunks(["O"])
    assert (
        are_chunks(["I-PER", "O"])
        and are_chunks(["B-NP", "I-NP"])
        and are_chunks(["S-PER", "O"])
        and not are_chunks(["B-NP", "O", "M-NP"])
    )


@given(st.lists(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1), min_size=1))
def test_right_answers_are_all_right(sentences: list[list[str]]) -> None:
    table = chunk_table(sentences, sentences)
    assert (table[table["support"] > 0]["f1"] == 100).all()


def test_parts_of_the_text_add_up(corpus: Corpus) -> None:
    right = np.random.default_rng(1).integers(0, 2, len(corpus.test.tokens))
    table = tables.parts(corpus, corpus.test, right, RESAMPLING)
    for by in ("word", "right", "position", "frequency", "length"):
        mine = table[table["by"] == by]
        assert mine["words"].sum() == len(right) and mine["right"].sum() == right.sum()
        assert ((mine["low"] <= mine["accuracy"]) & (mine["accuracy"] <= mine["high"])).all()
    lengths = np.diff(np.append(corpus.test.arrays["sentences"], len(right)))
    last = np.cumsum(lengths) - 1
    none_right = table[(table["by"] == "right") & (table["part"] == "0")].iloc[0]
    assert none_right["words"] == len(lengths) and none_right["right"] == right[last].sum()
    whole = table[table["by"] == "sentence"].iloc[0]
    sentences = np.split(right, corpus.test.arrays["sentences"][1:])
    assert whole["right"] == sum(each.all() for each in sentences) and whole["words"] == len(sentences)
    unknown = table[(table["by"] == "word") & (table["part"] == "unknown")].iloc[0]
    forms = np.array(corpus.names["forms"])[corpus.test.arrays["forms"]]
    assert unknown["words"] == (forms == "gi").sum()


def test_tables_by_tag_are_those_of_the_confusion_matrix(corpus: Corpus) -> None:
    gold = corpus.test.arrays["tags"].astype(np.int64)
    tags = len(corpus.names["tags"])
    said = np.random.default_rng(1).integers(0, tags, len(gold))
    matrix = confusion_matrix(gold, said, labels=range(tags))
    per_tag = tables.per_tag(corpus.names["tags"], gold, said).set_index("tag")
    for index, name in enumerate(corpus.names["tags"]):
        assert per_tag.loc[name, "recall"] == pytest.approx(100 * matrix[index, index] / matrix[index].sum())
        assert per_tag.loc[name, "precision"] == pytest.approx(100 * matrix[index, index] / matrix[:, index].sum())
    wrong = tables.confusion(corpus, corpus.test, said)
    assert wrong["words"].sum() == len(gold) - np.trace(matrix) and wrong["words"].is_monotonic_decreasing
    pair = wrong.iloc[0]
    row, column = (corpus.names["tags"].index(pair[name]) for name in ("gold", "predicted"))
    assert pair["words"] == matrix[row, column] and pair["example"] in WORDS


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_learn_what_the_word_and_the_one_before_say(corpus: Corpus, name: str) -> None:
    scored = BASELINES[name](corpus, SETTINGS)
    accuracy = scored.units["accuracy"].mean()
    assert len(scored.units["accuracy"]) == len(scored.clusters) == len(corpus.test.tokens)
    assert scored.measures["unknown_accuracy"] < scored.measures["known_accuracy"]
    least = BASELINES["most_frequent"](corpus, SETTINGS).units["accuracy"].mean()
    assert accuracy == least if name == "most_frequent" else accuracy > least + 5
    again = BASELINES[name](corpus, SETTINGS)
    assert np.array_equal(again.units["accuracy"], scored.units["accuracy"])


def test_the_conditional_random_field_is_given_what_the_networks_are() -> None:
    coin = np.random.default_rng(1)
    drawn_by_coin = [
        drawn(count, WORDS, lambda *_: f"T{coin.integers(2)}", seed=seed) for seed, count in enumerate((60, 10, 30))
    ]
    beside = []
    for sentences in drawn_by_coin:
        tags = iter([tag for _, own in sentences for tag in own])
        beside.append(told(sentences, lambda *_, tags=tags: next(tags)))
    without, given_them = (
        BASELINES["crf"](encoded(*each), SETTINGS).units["accuracy"].mean() for each in (drawn_by_coin, beside)
    )
    assert given_them == 100 > without + 20


def baseline(place: Path, corpus: Corpus) -> dict[str, Evaluation]:
    scored = BASELINES["most_frequent"](corpus, SETTINGS)
    write_evaluation(place / "most_frequent", "most_frequent", scored, SCORES, {"settings": SETTINGS})
    return {"most_frequent": Evaluation.read(place / "most_frequent")}


@pytest.mark.parametrize(
    ("words", "tags", "said"), [(64_684, 17, ""), (211_727, 44, ""), (200_000, 1500, "takes about 900 minutes")]
)
def test_who_has_very_many_tags_is_told_how_long_it_takes(
    words: int, tags: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _warn_of_hours(words, tags, iterations=60)
    found = capsys.readouterr().err
    assert said in found and bool(said) == bool(found)


def test_an_arm_below_the_most_frequent_tag_ends_with_a_warning(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = untrained(corpus)
    scored = evaluate(network, corpus, SETTINGS, baseline(tmp_path, corpus))
    said = capsys.readouterr().err
    gold = corpus.test.arrays["tags"]
    assert said.startswith("warning: ") and "most frequent tag" in said and said.count("\n") == 1
    assert f"{scored.units['accuracy'].mean(dtype=float):.2f} %" in said
    assert 0 <= scored.measures["calibration_error"] <= 1 and len(scored.units["cross_entropy"]) == len(gold)
    assert scored.valid_units["accuracy"].size == len(corpus.valid.tokens)
    assert accuracy_score(gold, gold) == 1.0 and "pycrfsuite" in sys.modules


def test_a_word_or_tag_that_pandas_takes_for_nothing_is_read_back(tmp_path: Path) -> None:
    def own(words: Any, place: int) -> str:
        return {"null": "NA", "nan": "None"}[words[place]]

    corpus = encoded(*(drawn(count, ("null", "nan"), own, seed=seed) for seed, count in enumerate((40, 10, 20))))
    per_tag = baseline(tmp_path, corpus)["most_frequent"].tables["per_tag"]
    assert set(per_tag["tag"]) == {"NA", "None"}


def test_a_tag_that_reads_as_a_number_is_reported_as_it_is_written(tmp_path: Path) -> None:
    def own(words: Any, place: int) -> str:
        return {"007": "1", "7": "01"}[words[place]]

    corpus = encoded(*(drawn(count, ("007", "7"), own, seed=seed) for seed, count in enumerate((40, 10, 20))))
    scored = baseline(tmp_path, corpus)["most_frequent"]
    per_tag = scored.tables["per_tag"]
    assert set(per_tag["tag"]) == {"1", "01"} and per_tag["support"].sum() == len(corpus.test.tokens)
    assert scored.tables["confusion"].empty


@pytest.mark.parametrize("rare", [False, True])
def test_one_tag_for_all_words_and_a_tag_that_occurs_once_are_no_errors(
    tmp_path: Path, rare: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = [drawn(count, WORDS, lambda words, place: "X", seed=seed) for seed, count in enumerate((30, 10, 12))]
    if rare:
        splits[0][0] = (["once"], ["ONCE"])
    corpus = encoded(*splits)
    for name in BASELINES:
        assert BASELINES[name](corpus, SETTINGS).units["accuracy"].mean() == 100.0
    scored = evaluate(untrained(corpus), corpus, SETTINGS, baseline(tmp_path, corpus))
    assert np.isfinite(scored.units["cross_entropy"]).all()
    if not rare:
        assert scored.units["accuracy"].mean() == 100.0 and capsys.readouterr().err == ""


def test_chunks_of_an_arm_are_scored(tmp_path: Path) -> None:
    def own(words: Any, place: int) -> str:
        return ("B-NP", "I-NP", "O")[WORDS.index(words[place]) % 3]

    chunked = encoded(*(drawn(count, WORDS, own, seed=seed) for seed, count in enumerate((40, 10, 20))))
    scored = BASELINES["most_frequent"](chunked, SETTINGS)
    assert (
        {name for name in scored.measures if name.startswith("chunk_") and scored.measures[name] == 100.0}
        >= {name for name in WORDING.beside if name.startswith("chunk_")}
        == {"chunk_precision", "chunk_recall", "chunk_f1"}
    )
    assert set(scored.tables["chunks"]["type"]) == {"all", "NP"}
