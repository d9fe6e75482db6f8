"""data/encoded read back: mapped, told apart, every damage named, and each token known by its document."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature import split_of
from unrolled.corpus.encoded import write_encoded
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import MANIFEST, SPLITS, Split, Text, read_corpus, read_report
from unrolled.shell.errors import UserError

ARRAYS = [*(f"{split}.npy" for split in SPLITS), *(f"{split}.documents.npy" for split in SPLITS), "counts.npy"]
TEXT = Text(characters=3, bytes=4, unknown=1, spelling=2.5)


@pytest.fixture
def encoded(tmp_path: Path) -> Path:
    for name in (*SPLITS, "counts"):
        np.save(tmp_path / f"{name}.npy", np.arange(len(name), dtype=np.uint16))
        np.save(tmp_path / f"{name}.documents.npy", np.array([0, len(name) - 1]))
    (tmp_path / "counts.documents.npy").unlink()
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    sealed(tmp_path)
    return tmp_path


def sealed(encoded: Path) -> None:
    (encoded / MANIFEST).unlink(missing_ok=True)
    seal(encoded / MANIFEST, {"texts": {split: TEXT._asdict() for split in SPLITS}})


def test_a_split_is_memory_mapped(encoded: Path) -> None:
    corpus = read_corpus(encoded)
    assert isinstance(corpus.train.tokens, np.memmap) and corpus.train.tokens.tolist() == [0, 1, 2, 3, 4]
    assert corpus.train.documents.tolist() == [0, 4] and corpus.test.documents.tolist() == [0, 3]
    assert corpus.counts.tolist() == list(range(6)) and corpus.texts == dict.fromkeys(SPLITS, TEXT)


def test_what_else_a_task_keeps_comes_back_by_name(tmp_path: Path) -> None:
    splits = {
        split: Split(np.arange(4, dtype=np.uint16), np.array([0, 2]), {"tags": np.array([0, 1, 1, size])})
        for size, split in enumerate(SPLITS)
    }
    letters, names = np.arange(6).reshape(2, 3), {"tags": ["NOUN", "VERB"], "labels": ["ja", "nein"]}
    counts, settings = np.array([3, 1]), {"vocabulary": {"min_count": 1}}
    encoded, arrays = tmp_path / "encoded", {"letters": letters}
    digest = write_encoded(encoded, splits, counts, arrays=arrays, names=names, settings=settings)
    corpus = read_corpus(tmp_path / "encoded")
    assert {name: split.arrays["tags"].tolist() for name, split in zip(SPLITS, corpus[:3], strict=True)} == {
        name: split.arrays["tags"].tolist() for name, split in splits.items()
    }
    assert corpus.valid.documents.tolist() == [0, 2] and set(corpus.valid.arrays) == {"tags", "letters"}
    assert corpus.arrays["letters"].tolist() == letters.tolist() and set(corpus.arrays) == {"letters"}
    assert (corpus.names, corpus.digest, corpus.texts) == (names, digest, {})
    report = {"digest": digest, "settings": settings, "types": 2}
    for change in ({}, {"digest": "another"}, {"settings": {"vocabulary": {"min_count": 50}}}):
        (tmp_path / "corpus.json").write_text(json.dumps(report | change))
        if not change:
            assert read_report(tmp_path) == report
            continue
        with pytest.raises(UserError, match=r"corpus\.json is not of the corpus in .*encoded; .* dvc repro vocabulary"):
            read_report(tmp_path)
    names["tags"].reverse()
    other = write_encoded(tmp_path / "other", splits, counts, names=names, arrays=corpus.arrays, settings=settings)
    assert other != digest


def test_the_digest_tells_texts_and_vocabularies_apart(encoded: Path) -> None:
    digests = {read_corpus(encoded).digest}
    for name in ("tokenizer.json", "train.npy", "valid.npy", "test.npy"):
        (encoded / name).write_bytes((encoded / name).read_bytes()[:-1] + b"\1")
        sealed(encoded)
        digests.add(read_corpus(encoded).digest)
    assert len(digests) == 5


@pytest.mark.parametrize("name", [*ARRAYS, "tokenizer.json", MANIFEST])
@pytest.mark.parametrize("harm", ["removed", "emptied", "cut", "altered"])
def test_a_damaged_file_is_named_with_its_mend(encoded: Path, name: str, harm: str) -> None:
    path, content = encoded / name, (encoded / name).read_bytes()
    harmed = {"emptied": b"", "cut": content[:-3], "altered": content[:-4] + bytes([content[-4] ^ 1]) + content[-3:]}
    path.unlink()
    if harm in harmed:
        path.write_bytes(harmed[harm])
    with pytest.raises(UserError, match=rf"{name} (is missing|was altered|is damaged).*; make it again"):
        read_corpus(encoded)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_was_never_written_is_named(encoded: Path, name: str) -> None:
    """As in a folder of an earlier version, which vouches for what it held."""
    (encoded / name).unlink()
    sealed(encoded)
    with pytest.raises(UserError, match=rf"{name} is missing; make it again"):
        read_corpus(encoded)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_each_token_stands_in_the_document_that_began_last(lengths: list[int]) -> None:
    split = split_of(np.zeros(sum(lengths), dtype=np.uint16), *np.cumsum([0, *lengths[:-1]]).tolist())
    assert split.document_of_tokens().tolist() == np.repeat(np.arange(len(lengths)), lengths).tolist()


def test_a_document_without_a_token_has_none() -> None:
    split = Split(np.zeros(5, dtype=np.uint16), np.array([0, 2, 2, 5]))
    assert split.document_of_tokens().tolist() == [0, 0, 2, 2, 2]
