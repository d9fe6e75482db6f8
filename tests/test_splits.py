"""How documents become splits."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.files.text_files import Document
from unrolled.corpus.splits import split_of, write_splits
from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError


def document(name: str, *lines: str, split: str | None = None) -> Document:
    return Document(name, lambda: iter(lines), split)


def write(
    folder: Path, documents: list[Document], seed: int = 1, valid: float = 0.2, test: float = 0.3
) -> dict[str, list[str]]:
    write_splits(documents, folder, valid_share=valid, test_share=test, seed=seed, facts={"corpus": "text"})
    return {split: (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines() for split in SPLITS}


def by_document(folder: Path, split: str) -> list[list[str]]:
    """The text of a split, cut where its documents end."""
    lines = (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines()
    counts = np.load(folder / f"{split}.lines.npy")
    assert counts.dtype == np.int64 and counts.sum() == len(lines)
    ends = counts.cumsum().tolist()
    return [lines[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(st.lists(st.integers(1, 4), min_size=30, max_size=40))
def test_each_document_has_its_lines(lengths: list[int]) -> None:
    documents = [[f"{number} <eos> {line}" for line in range(length)] for number, length in enumerate(lengths)]
    found: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for number, lines in enumerate(documents):
        found[split_of(f"d{number}", valid_share=0.2, test_share=0.3, seed=1)].append(lines)
    with TemporaryDirectory() as name:
        write(Path(name) / "text", [document(f"d{number}", *lines) for number, lines in enumerate(documents)])
        assert {split: by_document(Path(name) / "text", split) for split in SPLITS} == found


def test_thousands_of_documents_of_one_line_have_a_border_each(tmp_path: Path) -> None:
    found = write(tmp_path / "text", [document(f"d{number}", f"line {number}") for number in range(5000)])
    for split, lines in found.items():
        assert by_document(tmp_path / "text", split) == [[line] for line in lines]


def test_shares_are_kept_on_average_and_seeds_differ() -> None:
    names = [f"{i}.txt" for i in range(20_000)]
    counts = Counter(split_of(name, valid_share=0.05, test_share=0.1, seed=1) for name in names)
    # three standard deviations of a binomial
    assert abs(counts["test"] - 2000) < 3 * (20_000 * 0.1 * 0.9) ** 0.5
    assert abs(counts["valid"] - 1000) < 3 * (20_000 * 0.05 * 0.95) ** 0.5
    other = Counter(
        split_of(name, valid_share=0.05, test_share=0.1, seed=1)
        == split_of(name, valid_share=0.05, test_share=0.1, seed=2)
        for name in names
    )
    assert other[False] > 2000


@given(st.sets(st.text(min_size=1, max_size=5), min_size=30, max_size=60), st.integers(0, 29))
def test_a_document_keeps_its_split_whatever_others_there_are(names: set[str], removed: int) -> None:
    rule = {"valid_share": 0.2, "test_share": 0.3}
    before = {name: split_of(name, seed=1, **rule) for name in sorted(names)[removed:]}
    after = {name: split_of(name, seed=1, **rule) for name in sorted(names)}
    assert before.items() <= after.items()


def test_documents_stay_whole_and_appending_moves_none(tmp_path: Path) -> None:
    documents = [document(f"d{i}", f"d{i} first", f"d{i} second") for i in range(40)]
    few, many = write(tmp_path / "few", documents[:30]), write(tmp_path / "many", documents)
    for split in SPLITS:
        assert many[split][: len(few[split])] == few[split]
        assert all(many[split][i].split()[0] == many[split][i + 1].split()[0] for i in range(0, len(many[split]), 2))
    assert sorted(line for split in many.values() for line in split) == sorted(
        line for one in documents for line in one.lines()
    )
    report = json.loads((tmp_path / "many" / "documents.json").read_text(encoding="utf-8"))
    assert report["split"] == "by document: a hash of its name, seed 1"
    assert {split: report[split]["documents"] for split in many} == {split: len(many[split]) // 2 for split in many}


def test_a_single_document_is_cut_into_blocks_and_the_report_says_so(tmp_path: Path) -> None:
    found = write(tmp_path / "text", [document("blank"), document("one", *(f"{i:03}" for i in range(100)))])
    assert found["train"] == [f"{i:03}" for i in range(50)]
    assert found["valid"] == [f"{i:03}" for i in range(50, 70)]
    assert found["test"] == [f"{i:03}" for i in range(70, 100)]
    report = json.loads((tmp_path / "text" / "documents.json").read_text(encoding="utf-8"))
    assert report["split"] == "contiguous blocks of a single document"
    for split, lines in found.items():
        assert by_document(tmp_path / "text", split) == [lines] and report[split] == {"documents": 1}


@given(
    st.lists(st.text(alphabet="aé\u2019 ", max_size=9), min_size=1, max_size=40),
    st.sampled_from([(0.05, 0.1), (0.3, 0.3), (0.9, 0.05), (0.05, 0.9)]),
    st.sampled_from([1, 7, 1 << 17]),
)
def test_a_line_belongs_where_it_begins(lines: list[str], shares: tuple[float, float], batch: int) -> None:
    """Whatever is written and marked at a time: the borders are known when all has been read."""
    valid, test = shares
    begins = [sum(len(line) + 1 for line in lines[:index]) for index in range(len(lines))]
    total = sum(len(line) + 1 for line in lines)
    wanted: dict[str, list[str]] = {split: [] for split in SPLITS}
    for begin, line in zip(begins, lines, strict=True):
        wanted[SPLITS[(begin >= total * (1 - valid - test)) + (begin >= total * (1 - test))]].append(line)
    if not any(lines) or not all(wanted.values()):
        return
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.corpus.files.lines.BATCH", batch)
        patch.setattr("unrolled.corpus.split_file.MARKED", 2)
        assert write(Path(place) / "text", [document("one", *lines)], valid=valid, test=test) == wanted
        for split in SPLITS:
            assert by_document(Path(place) / "text", split) == [wanted[split]]


def test_a_document_is_read_once_and_one_that_is_left_out_leaves_nothing_behind(tmp_path: Path) -> None:
    """Though only its end tells whether it repeats another; the first two are looked into beforehand."""
    texts = [[f"d{number % 30}", "", f"text {number % 30}"] for number in range(60)] + [["", ""]] * 5
    read: list[int] = []

    def lines(number: int) -> Iterator[str]:
        read.append(number)
        yield from texts[number]

    names = [f"d{number}" for number in range(len(texts))]
    found = write(tmp_path / "text", [Document(name, partial(lines, number)) for number, name in enumerate(names)])
    assert Counter(read) == Counter([*range(len(texts)), 0, 1])
    assert Counter(chain(*found.values())) == Counter(chain(*texts[:30]))
    for split in SPLITS:
        kept = [
            text
            for name, text in zip(names[:30], texts, strict=False)
            if split_of(name, valid_share=0.2, test_share=0.3, seed=1) == split
        ]
        assert by_document(tmp_path / "text", split) == kept


def test_published_splits_are_kept(tmp_path: Path) -> None:
    """With their documents; one that is blank is none of them."""
    documents = [document(f"{split} {n}", *[f"{split} {n}"] * n, split=split) for split in SPLITS for n in (2, 0, 3)]
    write(tmp_path / "text", documents)
    report = json.loads((tmp_path / "text" / "documents.json").read_text(encoding="utf-8"))
    for split in SPLITS:
        assert by_document(tmp_path / "text", split) == [[f"{split} 2"] * 2, [f"{split} 3"] * 3]
        assert report[split] == {"documents": 2}


def test_a_published_split_without_text_is_told(tmp_path: Path) -> None:
    documents = [document(split, *["a"] * (split == "train"), split=split) for split in SPLITS]
    with pytest.raises(UserError, match="as published holds no text for valid and test; get it anew"):
        write(tmp_path / "text", documents)


def test_too_little_text_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    three = [document(f"{i}.txt", f"text {i}") for i in range(3)]
    for documents, message in (
        ([document("blank"), document("blank too")], "every document is blank"),
        ([], "every document is blank"),
        ([document("one", "a line")], "one is too short: .* no line falls into valid and test"),
        (three, r"no document falls into .*\(3 documents; a hash"),
        ([document(f"{i}.txt", "text") for i in range(40)], r"\(1 document beside 39 that repeat one word"),
    ):
        with pytest.raises(UserError, match=message):
            write(tmp_path / "text", documents, valid=0.05, test=0.1)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("texts", "valid", "told"),
    [
        (
            ["a"] * 2,
            0.05,
            "1 document beside 1 that repeats one word for word and is left out; .*give more documents, or that",
        ),
        (
            ["a"] * 3,
            0.05,
            "1 document beside 2 that repeat one word for word and are left out; .*give more documents, or that",
        ),
        (["a", "b"], 0.05, "2 documents; .*give more documents, as each split takes a whole one, or join"),
        (["a", "b", "c"], 0.05, "valid .*; set corpus.seed to .*raise corpus.valid_share or .*or join"),
        (["a", "b", "c"], 0.89, "into train .*; set corpus.seed to [0-9]+, which leaves none empty, or join"),
        (["one line"], 0.05, "give more text$"),
        (["two\nlines"], 0.05, "give more text$"),
        (["three\nshort\nlines"], 0.05, "give more text, or raise"),
    ],
)
def test_the_mend_offered_can_fill_the_splits(tmp_path: Path, texts: list[str], valid: float, told: str) -> None:
    """No seed and no share puts two documents, or two lines, into three splits; a larger share fills no training."""
    documents = [document(f"{number}.txt", *text.split("\n")) for number, text in enumerate(texts)]
    with pytest.raises(UserError, match=told) as caught:
        write(tmp_path / "text", documents, valid=valid, test=0.1)
    assert ("corpus.valid_share" in str(caught.value)) == ("raise" in told)


def test_the_seed_that_the_message_offers_works(tmp_path: Path) -> None:
    documents = [document(f"{i}.txt", f"text {i}") for i in range(4)]
    with pytest.raises(UserError, match=r"set corpus\.seed to") as caught:
        write(tmp_path / "text", documents, valid=0.05, test=0.1)
    seed = int(str(caught.value).split("corpus.seed to ")[1].split(",")[0])
    assert all(write(tmp_path / "text", documents, seed=seed, valid=0.05, test=0.1).values())


def test_a_document_that_repeats_another_is_left_out_and_counted(tmp_path: Path) -> None:
    """Whatever its name is, and so whichever split it would have fallen into."""
    documents = [document(f"{i}.txt", f"text {i % 30}", "and more") for i in range(90)]
    splits = write(tmp_path / "text", documents, valid=0.2, test=0.2)
    lines = [line for split in splits.values() for line in split if line != "and more"]
    assert sorted(lines) == sorted(f"text {i}" for i in range(30))
    report = json.loads((tmp_path / "text" / "documents.json").read_text(encoding="utf-8"))
    assert report["left_out_as_duplicates"] == 60
    assert sum(report[split]["documents"] for split in splits) == 30


def test_published_splits_that_share_a_document_are_refused(tmp_path: Path) -> None:
    published = [Document(split, lambda: iter(["the same"]), split) for split in ("train", "test")]
    with pytest.raises(UserError, match="test is in two splits"):
        write(tmp_path / "text", published)


def test_an_error_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "text", [document("one", *"abcdefghij")])
    before = (tmp_path / "text" / "train.txt").read_bytes()

    def broken() -> None:
        raise UserError("broken")

    with pytest.raises(UserError, match="broken"):
        write(tmp_path / "text", [document("a", "x"), Document("b", lambda: iter(broken, 1))])  # type: ignore[arg-type]
    assert (tmp_path / "text" / "train.txt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
