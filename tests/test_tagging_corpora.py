"""Tagged corpora: the published ones counted as the literature counts them, and every bad line named."""

import bz2
import gzip
import json
import lzma
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.fetch import fetch
from unrolled.ground.corpus import Corpus, read_corpus
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.brown import base_tag
from unrolled.tasks.tagging.corpus.columns import column_sentences
from unrolled.tasks.tagging.corpus.conllu_files import conllu_sentences
from unrolled.tasks.tagging.corpus.corpus import CATALOGUE, encode, read
from unrolled.tasks.tagging.corpus.sentences import Sentence, cut, read_text, write_text
from unrolled.tasks.tagging.evaluation.baselines import most_frequent
from unrolled.tasks.tagging.evaluation.tables import form_counts

SETTINGS: dict[str, Any] = {"path": "none", "given": None, "valid_share": 0.1, "test_share": 0.1}
ROW = "{}\t{}\t_\t{}\t{}\t_\t0\troot\t_\t_"


def conllu(*rows: tuple[object, str, str]) -> str:
    return "".join(ROW.format(number, word, tag, tag) + "\n" for number, word, tag in rows) + "\n"


def public(place: Path, name: str, tags: str, **changes: Any) -> Corpus:
    """A published corpus, read and encoded, from a mirror that holds it."""
    folder, files = os.environ.get("UNROLLED_MIRROR"), CATALOGUE[name].files
    if not folder or not all((Path(folder) / file.name).is_file() for file in files):
        pytest.skip(f"needs UNROLLED_MIRROR, a folder that holds {', '.join(file.name for file in files)}")
    fetch(files, place / "raw", folder)
    read({**SETTINGS, "name": name, "tags": tags, **changes}, place / "raw", place / "text")
    encode({"vocabulary": {"lowercase": False, "min_count": 1}}, place / "text", place / "encoded", place / "c.json")
    return read_corpus(place / "encoded")


def own(place: Path, content: str | bytes, name: str = "columns", file: str = "own.txt") -> dict[str, list[Sentence]]:
    """A single file of the user's through the reader."""
    (place / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    tags = "second" if name == "columns" else "upos"
    read({**SETTINGS, "name": name, "path": str(place / file), "tags": tags}, place, place / "text")
    return read_text(place / "text")[0]


def guessed_from_all_but_test(place: Path) -> list[float]:
    """What `public` read with valid as training text, in percent: what is unknown, and what the most frequent tag
    gets right of all words, of known and of unknown ones."""
    splits, facts = read_text(place / "text")
    whole = splits | {"train": splits["train"] + splits["valid"]}
    write_text(place / "whole", whole, how="so", facts={"corpus": "whole", "settings": facts["settings"]})
    settings = {"vocabulary": {"lowercase": False, "min_count": 1}}
    encode(settings, place / "whole", place / "all", place / "all.json")
    corpus = read_corpus(place / "all")
    right, seen = most_frequent(corpus, {}) == corpus.test.arrays["tags"], form_counts(corpus, corpus.test) > 0
    return [100 * float(each.mean()) for each in (~seen, right, right[seen], right[~seen])]


# The figures of guessing the most frequent tag of each word pin reader, split, vocabulary and unknown words at once.
@pytest.mark.parametrize(
    ("name", "tags", "words", "unknown", "everything", "known", "of_unknown"),
    [
        ("lines", "upos", 19_984, 9.20, 88.06, 92.36, 45.68),
        ("sequoia", "upos", 10_044, 9.17, 91.38, 97.04, 35.29),
    ],
)
def test_the_most_frequent_tag_reaches_what_is_known_of_it(
    tmp_path: Path, name: str, tags: str, words: int, unknown: float, everything: float, known: float, of_unknown: float
) -> None:
    corpus = public(tmp_path, name, tags)
    right = most_frequent(corpus, {}) == corpus.test.arrays["tags"]
    seen = form_counts(corpus, corpus.test) > 0
    assert len(right) == words and 100 * np.mean(~seen) == pytest.approx(unknown, abs=0.005)
    found = [100 * each.mean() for each in (right, right[seen], right[~seen])]
    assert found == pytest.approx([everything, known, of_unknown], abs=0.005)


def test_conll2000_holds_the_words_that_its_publisher_counts(tmp_path: Path) -> None:
    corpus = public(tmp_path, "conll2000", "pos")
    assert len(corpus.train.tokens) + len(corpus.valid.tokens) == 211_727 and len(corpus.test.tokens) == 47_377
    assert len(corpus.names["tags"]) == 44
    assert guessed_from_all_but_test(tmp_path) == pytest.approx([6.97, 91.70, 96.08, 33.28], abs=0.005)


def test_brown_is_split_by_document_and_its_map_covers_every_tag(tmp_path: Path) -> None:
    corpus = public(tmp_path, "brown", "coarse")
    assert len(corpus.test.tokens) == 115_803 and len(corpus.test.documents) == len(corpus.valid.documents) == 50
    assert len(corpus.names["tags"]) == 12
    assert guessed_from_all_but_test(tmp_path) == pytest.approx([4.01, 94.33, 95.30, 71.16], abs=0.005)


@pytest.mark.parametrize(
    ("tag", "base"),
    [
        ("nn-tl-hl", "nn"),
        ("fw-in+at-tl", "in"),
        ("bez*", "bez"),
        ("*", "*"),
        ("--", "--"),
        ("---hl", "--"),
        ("ppss+bem", "ppss"),
        ("np$-tl", "np$"),
    ],
)
def test_a_base_tag_lacks_what_is_set_onto_it(tag: str, base: str) -> None:
    assert base_tag(tag) == base


def test_ranges_and_empty_nodes_are_no_words(tmp_path: Path) -> None:
    text = conllu((1, "il", "PRON"), ("2-3", "du", "_"), (2, "de", "ADP"), (3, "le", "DET"), ("3.1", "va", "VERB"))
    (tmp_path / "a.conllu").write_text(f"# newdoc id = one\n# text = il du\n{text}{conllu((1, '3 092', 'NUM'))}")
    assert list(conllu_sentences(tmp_path / "a.conllu", "upos")) == [
        Sentence(["il", "de", "le"], ["PRON", "ADP", "DET"], "one"),
        Sentence(["3 092"], ["NUM"], "one"),  # a form may hold a space
    ]


SENTENCES = st.lists(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)] * 2), min_size=1),
    min_size=3,
)


@given(SENTENCES)
def test_whatever_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    place = tmp_path_factory.mktemp("text")
    sentences = [Sentence([w for w, _ in each], [t for _, t in each], f"d{len(each)}") for each in drawn]
    splits = {"train": sentences[:-2], "valid": sentences[-2:-1], "test": sentences[-1:]}
    write_text(place / "text", splits, how="by hand", facts={"corpus": "own"})
    assert read_text(place / "text")[0] == splits


def test_what_is_given_beside_a_word_comes_from_another_column(tmp_path: Path) -> None:
    rows = "1\tla\tle\tDET\tDF\t_\t0\troot\t_\t_\n2\tvie\tvie\tNOUN\tNC\t_\t1\tx\t_\t_\n\n"
    (tmp_path / "a.conllu").write_text(rows)
    assert list(conllu_sentences(tmp_path / "a.conllu", "xpos", "upos")) == [
        Sentence(["la", "vie"], ["DF", "NC"], "a.conllu", ["DET", "NOUN"])
    ]
    (tmp_path / "a.conllu").write_text(rows.replace("NC", "_"))
    with pytest.raises(UserError, match=r"a.conllu:2: the word 'vie' has no XPOS tag"):
        list(conllu_sentences(tmp_path / "a.conllu", "upos", "xpos"))


def test_what_is_given_survives_the_text_and_is_known_from_training_alone(tmp_path: Path) -> None:
    splits = {
        "train": [Sentence(["a", "b", "c"], ["X"] * 3, "d", ["N", "V", "N"])],
        "valid": [Sentence(["a"], ["X"], "d", ["V"])],
        "test": [Sentence(["a", "b"], ["X"] * 2, "d", ["Z", "N"])],
    }
    write_text(tmp_path / "text", splits, how="by hand", facts={"corpus": "own", "settings": {}})
    assert read_text(tmp_path / "text")[0] == splits
    encode({"vocabulary": {"lowercase": True, "min_count": 1}}, tmp_path / "text", tmp_path / "e", tmp_path / "c.json")
    corpus = read_corpus(tmp_path / "e")
    assert corpus.names["given"] == ["<unk>", "N", "V"]
    assert corpus.train.arrays["given"].tolist() == [1, 2, 1] and corpus.test.arrays["given"].tolist() == [0, 1]


def test_words_letters_and_tags_are_counted_on_training_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def sentences(*words: str) -> list[Sentence]:
        return [Sentence(list(words), [word[0].upper() for word in words], "d")]

    splits = {"train": sentences("aa", "Aa", "ab", "aa"), "valid": sentences("aa", "zz"), "test": sentences("ab", "Ab")}
    write_text(tmp_path / "text", splits, how="by hand", facts={"corpus": "own", "settings": {}})
    encode({"vocabulary": {"lowercase": True, "min_count": 1}}, tmp_path / "text", tmp_path / "e", tmp_path / "c.json")
    corpus = read_corpus(tmp_path / "e")
    assert corpus.names["words"] == ["<unk>", "aa", "ab"] and corpus.counts.tolist() == [0, 3, 1]
    assert corpus.names["letters"] == ["<unk>", "a"]  # the others stand in training once or never
    assert corpus.names["tags"] == ["A", "Z"] and corpus.arrays["tag_counts"].tolist() == [4, 0]
    assert corpus.valid.tokens.tolist() == [1, 0] and corpus.test.tokens.tolist() == [2, 2]
    assert form_counts(corpus, corpus.test).tolist() == [1, 0]  # case is kept where words are told apart as unknown
    assert json.loads((tmp_path / "c.json").read_text())["tags_unknown_to_training"] == "Z"
    assert "training lacks the tags Z;" in capsys.readouterr().err


def test_a_single_file_is_cut_in_order(tmp_path: Path) -> None:
    found = own(tmp_path, "".join(f"w{index} T\n\n" for index in range(10)))
    assert [each.words[0] for split in ("train", "valid", "test") for each in found[split]] == [
        f"w{index}" for index in range(10)
    ]
    assert len(found["valid"]) == len(found["test"]) == 1


def test_a_folder_of_three_files_is_split_by_their_names(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / f"xx-ud-{split}.conllu").write_text(conllu((1, split, "X")))
    read({**SETTINGS, "name": "conllu", "path": str(tmp_path), "tags": "upos"}, tmp_path, tmp_path / "out")
    assert read_text(tmp_path / "out")[0]["valid"][0].words == ["dev"]
    (tmp_path / "xx-ud-dev.conllu").write_text("")
    with pytest.raises(UserError, match=r"xx-ud-dev\.conllu: there is no sentence"):
        read({**SETTINGS, "name": "conllu", "path": str(tmp_path), "tags": "upos"}, tmp_path, tmp_path / "new")
    (tmp_path / "xx-ud-dev.conllu").unlink()
    with pytest.raises(UserError, match=r"one file each with train, dev \(or valid\) and test .* 0 for valid"):
        read({**SETTINGS, "name": "conllu", "path": str(tmp_path), "tags": "upos"}, tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_released_treebank_holds_its_text_beside_each_file(tmp_path: Path) -> None:
    settings = {**SETTINGS, "name": "conllu", "path": str(tmp_path), "tags": "upos"}
    for split in ("TRAIN", "dev", "test"):
        (tmp_path / f"xx-ud-{split}.conllu").write_text(conllu((1, split, "X")))
        (tmp_path / f"xx-ud-{split}.txt").write_text("bare text\n")
    read(settings, tmp_path, tmp_path / "out")
    assert read_text(tmp_path / "out")[0]["train"][0].words == ["TRAIN"]
    (tmp_path / "xx-ud-train-b.conllu").write_text(conllu((1, "b", "X")))
    two = r"there are 2 for train \(xx-ud-TRAIN\.conllu, xx-ud-train-b\.conllu\)"
    with pytest.raises(UserError, match=two):
        read(settings, tmp_path, tmp_path / "new")
    with pytest.raises(UserError, match=r"there are 3 for train"):
        read(settings | {"name": "columns", "tags": "second"}, tmp_path, tmp_path / "new")


# Without the time of day: tests that run side by side are named by what they are given.
PACKERS = (partial(gzip.compress, mtime=0), bz2.compress, lzma.compress)
GOOD = conllu((1, "a", "X"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("conllu", GOOD + "1\ta\t_\tX\n", "own.txt:3: 4 column(s), where CoNLL-U has 10"),
        ("conllu", GOOD + conllu((1, "a", "_")), "own.txt:3: the word 'a' has no UPOS tag"),
        ("conllu", GOOD + "# only a comment\n\n" + GOOD, "own.txt:3: a sentence without a word"),
        ("conllu", GOOD + conllu((1, " ", "X")), "own.txt:3: the word is empty"),
        ("conllu", GOOD + conllu(("x", "a", "X")), "own.txt:3: the sentence is not CoNLL-U"),
        ("conllu", "# c\n" + conllu((1, "a", "X"), ("x", "b", "X")), "own.txt:3: the sentence is not CoNLL-U"),
        ("conllu", GOOD.rstrip("\n") + "\n# c\n" + GOOD, "own.txt:3: the word 1 stands behind the word 1"),
        ("conllu", GOOD + conllu((2, "a", "X"), (1, "b", "X")), "own.txt:4: the word 1 stands behind the word 2"),
        ("columns", "a X\nb\n", "own.txt:2: 1 column(s), not 2; a tag stands behind each word"),
        ("columns", "a X\n\nNew York X\n", "own.txt:3: 3 column(s), not 2; a line holds no more than a word"),
        ("columns", "a\tX\nb\tX\tY\n", "own.txt:2: 3 column(s), not 2; a line holds no more"),
        ("columns", "a\tX\n\tX\n", "own.txt:2: a column is empty"),
        ("columns", b"a X\n\xff X\n", "own.txt:2: not UTF-8 at byte 0"),
        ("columns", b"a X\nb\0 X\n", "own.txt:2: not text but binary"),
        ("columns", "a X\n", "own.txt: 1 sentences are too few"),
        ("columns", "", "own.txt: there is no sentence in it"),
        *(
            (name, packed(GOOD.encode()), "own.txt: packed, as a .")
            for name in ("conllu", "columns")
            for packed in PACKERS
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        own(tmp_path, content, name)
    assert "\n" not in str(raised.value) and not (tmp_path / "text").exists()


def test_a_tab_keeps_the_spaces_of_a_word(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("New York\tPROPN\nis\tAUX\n")
    assert list(column_sentences(tmp_path / "a.tsv")) == [Sentence(["New York", "is"], ["PROPN", "AUX"], "a.tsv")]


def test_a_new_document_is_no_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a X\n\n-DOCSTART- O\n\nb X\n\n-DOCSTART- Y\n- Z\n")
    found = [(sentence.words, sentence.document) for sentence in column_sentences(tmp_path / "a.txt")]
    assert [words for words, _ in found] == [["a"], ["b"], ["-DOCSTART-", "-"]]
    assert found[0][1] != found[1][1] == found[2][1]


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(UserError, match="2 sentences are too few: none falls into valid and test"):
        cut([Sentence(["a"], ["X"], "d")] * 2, "own", valid_share=0.1, test_share=0.1)
