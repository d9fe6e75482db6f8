"""data/text -> data/encoded: exact arrays, the report, and the published counts of the Penn Treebank."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from unrolled.corpus import blocks
from unrolled.corpus.catalogue import CATALOGUE, facts
from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.encode_file import Encoder, encode_files
from unrolled.corpus.fetch import fetch
from unrolled.corpus.files.lines import BATCH
from unrolled.corpus.readers import READERS
from unrolled.corpus.splits import write_splits
from unrolled.corpus.vocabulary import build_tokenizer, decode, load_tokenizer
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import SPLITS, Split, read_corpus
from unrolled.shell.errors import UserError


def write_text(folder: Path, train: str = "a a b\nA b\nc\n", valid: str = "a new\n", test: str = "c c\n") -> None:
    folder.mkdir()
    for split, text in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
        np.save(folder / f"{split}.lines.npy", np.array([text.count("\n")]))
    known = {"corpus": "text", "split": "by hand", **{split: {"documents": 1} for split in SPLITS}}
    seal(folder / "documents.json", known)


def borders(
    place: Path, documents: list[list[str]], unit: str = "word", *, tokenised: bool = False
) -> tuple[Split, Tokenizer]:
    """Documents, encoded as the text of a split."""
    lines = [line for document in documents for line in document]
    tokenizer = build_tokenizer(lines, unit=unit, tokenised=tokenised)
    (place / "text").write_bytes("".join(f"{line}\n" for line in lines).encode())
    files = [(place / "text", place / "ids.npy", [len(document) for document in documents])]
    (encoded,) = encode_files(Encoder(tokenizer), files)
    assert encoded.documents.dtype == np.int64
    return Split(np.load(place / "ids.npy"), encoded.documents), tokenizer


def documents_of(split: Split) -> list[list[int]]:
    return [part.tolist() for part in np.split(split.tokens, split.documents[1:])]


def encode(place: Path, **options: Any) -> dict[str, Any]:
    defaults = {"unit": "word", "lowercase": True, "min_count": 1, "max_size": None}
    encode_corpus(place / "text", place / "encoded", place / "corpus.json", **{**defaults, **options})
    report: dict[str, Any] = json.loads((place / "corpus.json").read_text(encoding="utf-8"))
    return report


def test_arrays_counts_and_report_of_a_tiny_corpus(tmp_path: Path) -> None:
    write_text(tmp_path / "text")
    report = encode(tmp_path)
    # <unk> 0, <eos> 1, a (3) 2, b (2) 3, c (1) 4
    for split, ids in (("train", [2, 2, 3, 1, 2, 3, 1, 4, 1]), ("valid", [2, 0, 1]), ("test", [4, 4, 1])):
        found = np.load(tmp_path / "encoded" / f"{split}.npy", mmap_mode="r")
        assert isinstance(found, np.memmap)
        assert found.dtype == np.uint16
        assert found.tolist() == ids
        assert np.load(tmp_path / "encoded" / f"{split}.documents.npy").tolist() == [0]
    assert np.load(tmp_path / "encoded" / "counts.npy").tolist() == [0, 3, 3, 2, 1]
    chosen = {"unit": "word", "lowercase": True, "min_count": 1, "max_size": None}
    assert report.pop("warnings").keys() == {"few_types"}
    assert report == {
        "digest": read_corpus(tmp_path / "encoded").digest,
        "settings": {"corpus": None, "vocabulary": chosen},
        "corpus": "text",
        "split": "by hand",
        "unit": "word",
        "vocabulary": "built: min_count=1, max_size=None, lowercase=True",
        "types": 5,
        "spelling": "letters counted on the words that training shows once: 1",
        "most_frequent": "<eos> a b c <unk>",
        "train": {"documents": 1, "tokens": 9, "characters": 12, "unknown_share": 0.0},
        "valid": {"documents": 1, "tokens": 3, "characters": 6, "unknown_share": 0.333333},
        "test": {"documents": 1, "tokens": 3, "characters": 4, "unknown_share": 0.0},
    }


LINE = st.text(st.sampled_from("abé .<>") | st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
DOCUMENTS = st.lists(st.lists(LINE, min_size=1, max_size=4), min_size=1, max_size=12)


@pytest.mark.parametrize("batch", [1, 20, BATCH])
@given(DOCUMENTS, st.sampled_from([("word", False), ("word", True), ("character", False)]))
@example([["a <eos> b", "<eos>"], ["<eos>"], ["<unk> a"]], ("word", True))
def test_each_document_cut_at_its_borders_gives_its_lines(
    batch: int, documents: list[list[str]], way: tuple[str, bool]
) -> None:
    """Whatever the text says: a word spelled <eos> ends no document, and a batch of lines ends where it likes."""
    unit, tokenised = way
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.corpus.files.lines.BATCH", batch)
        patch.setattr(blocks, "SIZE", batch)
        split, tokenizer = borders(Path(name), documents, unit, tokenised=tokenised)
    by_library = [[index for line in document for index in tokenizer.encode(line).ids] for document in documents]
    assert documents_of(split) == by_library
    if unit == "character":
        assert [decode(tokenizer, ids) for ids in documents_of(split)] == [
            "".join(f"{line}\n" for line in document) for document in documents
        ]


def test_thousands_of_tiny_documents(tmp_path: Path) -> None:
    split, _ = borders(tmp_path, [["a b"], ["c"]] * 10_000)
    assert split.documents.tolist() == [5 * pair + at for pair in range(10_000) for at in (0, 3)]
    assert split.document_of_tokens().tolist() == [
        2 * pair + which for pair in range(10_000) for which in (0, 0, 0, 1, 1)
    ]


def test_borders_go_through_the_stage_of_each_split(tmp_path: Path) -> None:
    write_text(tmp_path / "text")
    np.save(tmp_path / "text" / "train.lines.npy", np.array([1, 2]))
    (tmp_path / "text" / "documents.json").unlink()
    seal(tmp_path / "text" / "documents.json", {split: {"documents": 1} for split in SPLITS})
    encode(tmp_path)
    corpus = read_corpus(tmp_path / "encoded")
    assert [split.documents.tolist() for split in corpus[:3]] == [[0, 4], [0], [0]]
    assert [corpus.texts[split].characters for split in SPLITS] == [12, 6, 4]


def test_the_report_says_how_much_of_a_split_training_shows_word_for_word(tmp_path: Path) -> None:
    seen, new, short = "long enough that nobody says it by chance", "another line that is quite as long as that", "seen"
    write_text(tmp_path / "text", train=f"{seen}\n{short}\n", valid=f"{seen}\n{short}\n", test=f"{seen}\n{new}\n" * 2)
    report = encode(tmp_path)
    assert "long_lines_in_train" not in report["train"]
    assert (report["valid"]["long_lines_in_train"], report["test"]["long_lines_in_train"]) == (1.0, 0.5)


def test_the_vocabulary_knows_the_training_split_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "text", valid="secret\n", test="secret too\n")
    encode(tmp_path)
    assert set(load_tokenizer(tmp_path / "encoded" / "tokenizer.json").get_vocab()) == {"<unk>", "<eos>", "a", "b", "c"}


def test_bytes_are_the_same_again_and_for_every_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "text", train="".join(f"w{i % 17} w{i % 5}. é\n" for i in range(300)))

    def outputs() -> dict[str, bytes]:
        encode(tmp_path)
        return {path.name: path.read_bytes() for path in [*(tmp_path / "encoded").iterdir(), tmp_path / "corpus.json"]}

    first = outputs()
    assert outputs() == first
    monkeypatch.setattr(blocks, "SIZE", 50)
    assert outputs() == first


@pytest.mark.parametrize(("size", "dtype"), [(65535, np.uint16), (65536, np.uint32)])
def test_ids_take_two_bytes_while_they_fit(tmp_path: Path, size: int, dtype: type) -> None:
    words = " ".join(f"w{i:05}" for i in range(size - 2))
    (tmp_path / "train.txt").write_text(f"{words}\n", encoding="utf-8")
    tokenizer = build_tokenizer([words], unit="word", tokenised=True)
    encode_files(Encoder(tokenizer), [(tmp_path / "train.txt", tmp_path / "train.npy", [1])])
    found = np.load(tmp_path / "train.npy")
    assert found.dtype == dtype
    assert found.tolist() == [*range(2, size), 1]


def test_an_array_longer_than_its_first_header_loads(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\n" * 20_001, encoding="utf-8")
    encoder = Encoder(build_tokenizer(["a"], unit="word"))
    encode_files(encoder, [(tmp_path / "train.txt", tmp_path / "train.npy", [20_001])])
    found = np.load(tmp_path / "train.npy", mmap_mode="r")
    assert found.shape == (40_002,)
    assert (found[::2] == 2).all()
    assert (found[1::2] == 1).all()


def test_characters_of_a_line_and_its_end_are_its_tokens(tmp_path: Path) -> None:
    write_text(tmp_path / "text", train="ab  a\n")
    report = encode(tmp_path, unit="character")
    assert report["most_frequent"].startswith("␣ a <eos> b")
    assert report["train"]["tokens"] == report["train"]["characters"] == 6
    ids = np.load(tmp_path / "encoded" / "train.npy").tolist()
    assert decode(load_tokenizer(tmp_path / "encoded" / "tokenizer.json"), ids) == "ab  a\n"


def test_an_error_leaves_nothing_half_written(tmp_path: Path) -> None:
    write_text(tmp_path / "text")
    with pytest.raises(UserError, match="vocabulary comes out empty"):
        encode(tmp_path, min_count=9)
    for name in ("test.txt", "test.lines.npy", "documents.json"):
        content = (tmp_path / "text" / name).read_bytes()
        (tmp_path / "text" / name).unlink()
        with pytest.raises(UserError, match=rf"{name} is missing; make it again with: dvc repro -f -s preprocess"):
            encode(tmp_path)
        (tmp_path / "text" / name).write_bytes(content)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    write_text(tmp_path / "text")
    (tmp_path / ".encoded.0123abcd.partial").mkdir()
    (tmp_path / ".encoded.0123abcd.partial" / "junk").touch()
    encode(tmp_path)
    assert not (tmp_path / "encoded" / "junk").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"text", "encoded", "corpus.json"}


def mirror(name: str) -> str:
    """UNROLLED_MIRROR where it is a folder that holds the corpus; the test is skipped elsewhere."""
    folder = os.environ.get("UNROLLED_MIRROR", "")
    if not folder or not all((Path(folder) / file.name).is_file() for file in CATALOGUE[name].files):
        pytest.skip(f"needs UNROLLED_MIRROR, a folder that holds {', '.join(f.name for f in CATALOGUE[name].files)}")
    return folder


def public(name: str, place: Path) -> dict[str, Any]:
    """The three stages on a public corpus, with settings that a publisher's own vocabulary must not heed."""
    fetch(CATALOGUE[name].files, place / "raw", mirror(name))
    documents = READERS[name](place / "raw", None)
    write_splits(documents, place / "text", valid_share=0.05, test_share=0.1, seed=1, facts=facts(name))
    source = CATALOGUE[name]
    return encode(place, min_count=3, tokenised=source.tokenised, own_vocabulary=source.own_vocabulary)


def test_the_penn_treebank_has_its_published_counts(tmp_path: Path) -> None:
    report = public("ptb", tmp_path)
    assert [report[split]["tokens"] for split in SPLITS] == [929_589, 73_760, 82_430]
    assert report["types"] == 10_000
    assert report["vocabulary"] == "as published"
    counts = np.load(tmp_path / "encoded" / "counts.npy")
    text = (tmp_path / "text" / "train.txt").read_text(encoding="utf-8")
    assert counts[0] == text.split().count("<unk>")  # its own <unk>, and nothing else, is unknown
    assert counts[1] == text.count("\n") == 42_068
    assert load_tokenizer(tmp_path / "encoded" / "tokenizer.json").token_to_id("N") is not None


def test_brown_is_split_by_file(tmp_path: Path) -> None:
    report = public("brown", tmp_path)
    splits = SPLITS
    assert sum(report[split]["documents"] for split in splits) == 500
    lines = sum((tmp_path / "text" / f"{split}.txt").read_text(encoding="utf-8").count("\n") for split in splits)
    assert sum(report[split]["tokens"] for split in splits) == 1_161_192 + lines  # nltk's count of its words
