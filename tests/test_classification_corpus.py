"""Labelled texts: their readers, folds and encoding, and one line for each thing that is wrong with a user's own."""

import gzip
import io
import json
import lzma
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer

from unrolled.ground.corpus import SPLITS, Corpus, read_corpus
from unrolled.shell.errors import UserError
from unrolled.tasks.classification.corpus.corpus import CATALOGUE, encode, read
from unrolled.tasks.classification.corpus.own_texts import _checked, own_texts
from unrolled.tasks.classification.evaluation.words import spelled, words_of

CORPUS: dict[str, Any] = {
    "name": "own", "path": "mail.csv", "text_column": "text", "label_column": "label", "fold": 0, "seed": 1,
}  # fmt: skip
VOCABULARY: dict[str, Any] = {
    "unit": "word", "lowercase": True, "min_count": 1, "max_size": None, "max_tokens": None, "keep": "first",
}  # fmt: skip


def found(path: Path) -> list[tuple[str, str]]:
    return [(each.text, each.label) for each in own_texts(path, text_column="text", label_column="label")]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(count: int, label: Callable[[int], str] = lambda number: ["good", "bad"][number % 2]) -> str:
    return "text,label\n" + "".join(f"This is text {number},{label(number)}\n" for number in range(count))


def encoded(tmp_path: Path, **changes: Any) -> Corpus:
    """What training reads of the user's file mail.csv in ``tmp_path``."""
    corpus, vocabulary = ({key: changes.get(key, own[key]) for key in own} for own in (CORPUS, VOCABULARY))
    corpus["path"] = str(tmp_path / "mail.csv")
    read(corpus, tmp_path / "raw", tmp_path / "text")
    settings = {"corpus": {"name": "own"}, "vocabulary": vocabulary}
    encode(settings, tmp_path / "text", tmp_path / "encoded", tmp_path / "corpus.json")
    return read_corpus(tmp_path / "encoded")


# ---- a user's own ----------------------------------------------------------------------------------------------------


def test_a_folder_a_label_and_a_file_a_label(tmp_path: Path) -> None:
    write(tmp_path / "reviews/good/b.txt", "A  fine\nfilm .\n")
    write(tmp_path / "reviews/good/a.txt", "\ufeffFine")
    write(tmp_path / "reviews/bad/a.txt", "Dull\r\n")
    write(tmp_path / "reviews/.DS_Store", b"\xff")
    assert found(tmp_path / "reviews") == [("Dull", "bad"), ("Fine", "good"), ("A fine film .", "good")]
    write(tmp_path / "names/Greek.txt", "Leos\nNikolaos\n\n")
    write(tmp_path / "names/Czech.txt", "Novák")
    assert found(tmp_path / "names") == [("Novák", "Czech"), ("Leos", "Greek"), ("Nikolaos", "Greek")]


def test_tables_are_read_by_the_names_of_their_columns(tmp_path: Path) -> None:
    expected = [('He said "no", twice', "a b"), ("Zwei Zeilen", "b")]
    csv = 'id,label,text\n1,a b,"He said ""no"", twice"\n2,b,"Zwei\nZeilen"\n'
    assert found(write(tmp_path / "t.csv", csv)) == expected
    assert found(write(tmp_path / "t.tsv", 'text\tlabel\n"quoted\ta\n')) == [('"quoted', "a")]
    lines = [{"text": expected[0][0], "label": "a b", "n": 1}, {"text": expected[1][0], "label": "b"}]
    assert found(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")) == expected
    assert found(write(tmp_path / "n.jsonl", '{"text": "x", "label": 3}')) == [("x", "3")]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("above", ["", "sep={}\r\n"])
def test_a_csv_may_be_that_of_a_country_whose_spreadsheets_write_no_commas(
    mark: str, above: str, tmp_path: Path
) -> None:
    table = mark.join(["text", "n", "label"]) + "\r\n" + mark.join([f'"One{mark} two"', "1", "a;b" * (mark != ";")])
    expected = [(f"One{mark if mark.strip() else ''} two", "a;b")]
    if mark == ";":
        table, expected = f"{table}a", [("One; two", "a")]
    assert found(write(tmp_path / "t.csv", above.format(mark) + table + "\r\n")) == expected


TABLE = [("Ein schöner, langer\n  Film", "gut"), ("Öde", "3")]


def as_bytes(kind: str) -> bytes:
    if kind == "parquet":
        file = io.BytesIO()
        pd.DataFrame(TABLE, columns=["text", "label"]).assign(n=[1.5, None]).to_parquet(file)
        return file.getvalue()
    lines = [json.dumps({"label": label, "text": text}) for text, label in TABLE]
    return (
        "\n".join(lines).encode()
        if kind == "jsonl"
        else b"n,label,text\n" + b"".join(f'1,{label},"{text}"\n'.encode() for text, label in TABLE)
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl", "ndjson", "parquet"])
@pytest.mark.parametrize(("packed", "pack"), [("", bytes), (".gz", gzip.compress), (".XZ", lzma.compress)])
def test_a_table_may_be_packed(kind: str, packed: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    content = as_bytes("jsonl" if kind == "ndjson" else kind)
    read = found(write(tmp_path / f"t.{kind}{packed}", pack(content)))
    assert read == [("Ein schöner, langer Film", "gut"), ("Öde", "3")]


def test_files_of_a_folder_may_be_packed_or_in_what_their_mark_says(tmp_path: Path) -> None:
    write(tmp_path / "names/Greek.txt.gz", gzip.compress("Λέος\n".encode()))
    write(tmp_path / "names/Old.Norse.txt", "Ragnarr\rÞórr".encode("utf-16"))
    assert found(tmp_path / "names") == [("Λέος", "Greek"), ("Ragnarr", "Old.Norse"), ("Þórr", "Old.Norse")]
    write(tmp_path / "books/long/one.txt", "page " * 40_000)
    write(tmp_path / "books/short/a.pdf", "%PDF-1.4")
    with pytest.raises(UserError, match=r"a\.pdf is a PDF; convert it: pdftotext"):
        found(tmp_path / "books")


def test_a_text_may_be_long(tmp_path: Path) -> None:
    ((text, label),) = found(write(tmp_path / "t.csv", f"text,label\n{'word ' * 40_000},long\n"))
    assert len(text.split()) == 40_000 and label == "long"


MISTAKES = {
    "no such column": (
        "t.csv",
        "words,label\na,b\n",
        r"t\.csv, line 1: there is no field 'text' \(there are: 'words', 'label'\); set corpus\.text_column",
    ),
    "no such column between semicolons": (
        "t.csv",
        "sep=;\nwords;label\na;b\n",
        r"t\.csv, line 2: there is no field 'text' \(there are: 'words', 'label'\)",
    ),
    "two columns of a name": ("t.csv", "text,label,text\na,b,c\n", r"t\.csv, line 1: 2 fields are named 'text'"),
    "no header": ("t.csv", "", r"t\.csv, line 1: there is no field 'text' \(there are: none\)"),
    "a field too many": ("t.csv", "text,label\na,b\na,b,c\n", r"t\.csv, line 3: 3 fields where the first line names 2"),
    "an open quote": ("t.csv", 'text,label\n"a,b\n', r"t\.csv, line \d: "),
    "an empty text": ("t.csv", "text,label\na,b\n ,b\n", r"t\.csv:3: the text is empty"),
    "an empty label": ("t.tsv", "text\tlabel\na\t\n", r"t\.tsv:2: the label is empty"),
    "mixed encodings": (
        "t.csv",
        "text,label\nschön,b\n".encode() + "schön,b\n".encode("latin-1"),
        r"t\.csv: not UTF-8 at byte 23, in line 3 .*it begins in UTF-8, .* convert that part",
    ),
    "Latin-1": (
        "t.tsv",
        "text\tlabel\nschön\tb\n".encode("latin-1"),
        r"t\.tsv: not UTF-8 .* most likely it is cp1252 \(.*schön.*\): convert it: iconv -f cp1252 -t utf-8",
    ),
    "binary": ("t.csv", "text,label\na\0b,c\n", r"t\.csv: not text but binary \(NUL at byte 12, in line 2\)"),
    "a NUL of JSON": ("t.jsonl", r'{"text": "a\u0000b", "label": "c"}', r"t\.jsonl:1: not text but binary"),
    "no JSON": ("t.jsonl", '{"text": "a", "label": "b"}\n{"text"\n', r"t\.jsonl, line 2: not JSON"),
    "no object": ("t.jsonl", "7\n", r"t\.jsonl, line 1: no object; a line is one"),
    "a list": ("t.jsonl", "[1]\n", r"t\.jsonl, line 1: a list, and a line is one object; jq -c '\.\[\]'"),
    "one JSON value": (
        "t.json",
        '[{"text": "a",\n"label": "b"}]',
        r"t\.json is one JSON value, .*: jq -c '\.\[\]' t\.json",
    ),
    "rows of JSON": ("t.json", '{"text": "a", "label": "b"}\n' * 2, r"t\.json is a row .* its name end in \.jsonl"),
    "a number for a label": ("t.jsonl", '{"text": "a", "label": 0.5}\n', r"t\.jsonl, line 1: 'text' must be a text"),
    "packed and damaged": ("t.csv.gz", gzip.compress(b"text,label\na,b\n")[:-9], r"t\.csv\.gz: truncated or damaged"),
    "not packed": (
        "t.csv.gz",
        b"text,label\na,b\n",
        r"t\.csv\.gz: not packed at all, but text; take \.gz off its name",
    ),
    "no such key": ("t.jsonl", '{"text": "a"}\n', r"t\.jsonl, line 1: there is no field 'label' \(there are: 'text'\)"),
    "a list for a text": ("t.jsonl", '{"text": ["a"], "label": "b"}\n', r"t\.jsonl, line 1: 'text' must be a text"),
    "half a letter": ("t.jsonl", r'{"text": "a", "label": "\ud83d"}', r"t\.jsonl:1: '\\ud83d' is no character"),
    "a header alone": ("t.csv", "text,label\n", r"t\.csv: there are no texts in it"),
    "another kind of file": ("t.md", "", r"t\.md is no folder and no \.csv, \.tsv, \.jsonl or \.parquet file"),
    "a spreadsheet": ("t.xlsx", "", r"t\.xlsx is a spreadsheet; convert it: soffice --convert-to csv t\.xlsx"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_file_is_named_with_its_line(mistake: str, tmp_path: Path) -> None:
    name, content, said = MISTAKES[mistake]
    with pytest.raises(UserError, match=said) as error:
        found(write(tmp_path / name, content))
    assert "\n" not in str(error.value)


def test_mistakes_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        found(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        found(tmp_path / "empty")
    write(tmp_path / "a/one.txt", " \n")
    with pytest.raises(UserError, match=r"one\.txt:1: the text is empty"):
        found(tmp_path)
    write(tmp_path / "stray.txt", "x")
    with pytest.raises(UserError, match=r"stray\.txt lies beside folders"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train.csv", "test.csv"], r"test\.csv is a table, and a folder holds plain texts"),
        (["good/1.txt", "bad/all.jsonl"], r"all\.jsonl is a table"),
        (["train/good/1.txt", "test/good/1.txt"], "test and train are names of splits"),
        (["Train.txt", "dev.txt"], "Train and dev are names of splits"),
    ],
)
def test_a_folder_that_is_no_folder_of_labels_is_refused(files: list[str], said: str, tmp_path: Path) -> None:
    for file in files:
        write(tmp_path / file, "text,label\na,b\n")
    with pytest.raises(UserError, match=said):
        found(tmp_path)


def test_the_name_of_a_file_may_be_any_bytes_and_a_label_may_not() -> None:
    name = os.fsdecode(b"\xe9")
    assert _checked("a text", "good", f"{name}.txt:1").place == r"\udce9.txt:1"
    with pytest.raises(UserError, match=r"^\\udce9/one\.txt:1: '\\udce9' is no character"):
        _checked("a text", name, f"{name}/one.txt:1")


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda number: "good", "all 30 texts have the label 'good'"),
        (lambda number: "once" if number == 7 else "good", r"mail\.csv:9: the label 'once' occurs once"),
        (lambda number: "rare" if number in (7, 9) else "good", r"mail\.csv:9: the label 'rare' occurs twice"),
    ],
)
def test_labels_that_cannot_be_told_apart_or_tested(label: Any, said: str, tmp_path: Path) -> None:
    write(tmp_path / "mail.csv", rows(30, label))
    with pytest.raises(UserError, match=said):
        encoded(tmp_path)
    assert not (tmp_path / "text").exists()


# ---- folds -----------------------------------------------------------------------------------------------------------


def texts_by_split(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {s: [json.loads(line) for line in (folder / f"{s}.jsonl").read_text().splitlines()] for s in SPLITS}


def test_each_text_is_tested_in_one_fold_and_every_label_is_spread_evenly(tmp_path: Path) -> None:
    write(tmp_path / "mail.csv", rows(100, lambda number: "a" if number < 73 else "b"))
    tested: list[str] = []
    for fold in range(10):
        read(CORPUS | {"path": str(tmp_path / "mail.csv"), "fold": fold}, tmp_path, tmp_path / f"text{fold}")
        splits = texts_by_split(tmp_path / f"text{fold}")
        tested += [each["place"] for each in splits["test"]]
        counts = {split: Counter(each["label"] for each in texts) for split, texts in splits.items()}
        assert {each["fold"] for each in splits["test"]} == {fold}
        assert {each["fold"] for each in splits["valid"]} == {(fold + 1) % 10}
        assert counts["test"].total() == 10 and counts["test"]["a"] in (7, 8)
        assert sum(map(len, splits.values())) == 100
    assert len(set(tested)) == len(tested) == 100


def test_the_seed_alone_draws_the_folds(tmp_path: Path) -> None:
    write(tmp_path / "mail.csv", rows(100))
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        read(CORPUS | {"path": str(tmp_path / "mail.csv"), "seed": seed}, tmp_path, tmp_path / name)
    first, again, other = (texts_by_split(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again != other


def test_publishers_readers_and_folds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "movie_reviews.zip", "w") as archive:
        for fold in range(10):
            for polarity in ("neg", "pos"):
                archive.writestr(f"movie_reviews/{polarity}/cv{fold}01_123.txt", f"a {polarity} film\nof fold {fold}\n")
        archive.writestr("movie_reviews/README", "x")
    read(CORPUS | {"name": "movie_reviews", "fold": 9}, tmp_path, tmp_path / "text")
    splits = texts_by_split(tmp_path / "text")
    assert [(each["text"], each["label"]) for each in splits["test"]] == [
        ("a neg film of fold 9", "negative"), ("a pos film of fold 9", "positive"),
    ]  # fmt: skip
    assert {each["fold"] for each in splits["valid"]} == {0} and len(splits["train"]) == 16
    with zipfile.ZipFile(tmp_path / "sentence_polarity.zip", "w") as archive:
        for polarity in ("neg", "pos"):
            lines = "".join(f"a {polarity} sentence {number} \n" for number in range(20))
            archive.writestr(f"sentence_polarity/rt-polarity.{polarity}", lines)
    read(CORPUS | {"name": "sentence_polarity"}, tmp_path, tmp_path / "sentences")
    assert {len(each) for each in texts_by_split(tmp_path / "sentences").values()} == {4, 32}
    assert {file.sha256 for source in CATALOGUE.values() for file in source.files} == {
        "6e1ed4405b65c7eabf1d199a7f7c437091ac21da0ea7467b410a74062574566b",
        "a41211ae685019137410268134db6a1a14428c89b671eb83056151a878539008",
    }


# ---- encoding --------------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_that_of_training_alone(tmp_path: Path) -> None:
    write(tmp_path / "mail.csv", rows(100))  # a number of its own in each text
    corpus = encoded(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "encoded" / "tokenizer.json"))
    trained_on = {word for words in words_of(corpus.train) for word in words}
    assert set(tokenizer.get_vocab()) == trained_on | {"<unk>", "<eos>"}
    assert corpus.names == {"labels": ["bad", "good"], "unit": ["word"]}
    for split in corpus[:3]:
        texts = words_of(split)
        ids = np.split(split.tokens, split.documents[1:])
        assert [text.tolist() for text in ids] == [
            each.ids for each in tokenizer.encode_batch([" ".join(words) for words in texts], add_special_tokens=False)
        ]
        assert [corpus.names["labels"][label] for label in split.arrays["labels"]] == [
            ["good", "bad"][int(words[-1]) % 2] for words in texts
        ]
    assert (corpus.test.tokens == 0).sum() == len(corpus.test.documents)
    np.testing.assert_array_equal(corpus.counts, np.bincount(corpus.train.tokens, minlength=len(corpus.counts)))


@pytest.mark.parametrize(("keep", "left"), [("first", ["this", "is"]), ("last", ["text", "1"])])
def test_long_texts_are_cut_and_the_share_is_said(
    keep: str, left: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mail.csv", rows(100, lambda number: "ab"[number % 2]))
    corpus = encoded(tmp_path, max_tokens=2, keep=keep)
    every = {tuple(words) for split in corpus[:3] for words in words_of(split)}
    assert tuple(left) in every and {len(words) for words in every} == {2}
    assert "50.0% of train, 50.0% of valid, 50.0% of test" in capsys.readouterr().err
    report = json.loads((tmp_path / "corpus.json").read_text())
    assert report["test"]["cut_share"] == 0.5 and report["digest"] == corpus.digest
    tokenizer = Tokenizer.from_file(str(tmp_path / "encoded" / "tokenizer.json"))
    ids = tokenizer.encode("This is text 1", add_special_tokens=False).ids
    assert ids == [tokenizer.get_vocab().get(word, 0) for word in left]  # what is classified later is cut as well


def test_characters(tmp_path: Path) -> None:
    write(tmp_path / "mail.csv", rows(100))
    corpus = encoded(tmp_path, unit="character", lowercase=False)
    words = words_of(corpus.train)[0]
    assert words[:8] == list("This is ") and spelled(corpus, words).startswith("This is text ")
    assert len(corpus.train.tokens) == sum(map(len, words_of(corpus.train)))


@pytest.mark.parametrize(("unit", "warned"), [("word", True), ("character", False)])
def test_names_that_are_read_as_words_are_warned_of(
    unit: str, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "".join(f"n{number:b},{'ab'[number % 2]}\n" for number in range(100))
    write(tmp_path / "mail.csv", f"text,label\n{names}")
    encoded(tmp_path, unit=unit)
    assert ("words of valid are <unk>; vocabulary.unit character" in capsys.readouterr().err) == warned


def test_texts_that_training_holds_too_are_counted(tmp_path: Path) -> None:
    write(
        tmp_path / "mail.csv",
        "text,label\n" + "".join(f"text {number % 50},{'ab'[number % 2]}\n" for number in range(100)),
    )
    encoded(tmp_path)
    report = json.loads((tmp_path / "corpus.json").read_text())
    assert report["texts_that_training_holds_too"]["test"] > 0
