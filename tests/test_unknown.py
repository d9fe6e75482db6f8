"""Why a word is unknown: written so, of another case, never seen, rare or cut off; what is not known is not told."""

from pathlib import Path
from typing import Any

import pytest

from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import Document
from unrolled.corpus.splits import write_splits
from unrolled.corpus.vocabulary import load_tokenizer
from unrolled.tasks.language_model.text.unknown import Reason, UnknownWords, Why

LINE = "Paris a a a b b c , Él"


def words(place: Path, **vocabulary: Any) -> UnknownWords:
    """Of a corpus whose every document is LINE; some are not trained on."""
    documents = [Document(f"{index}", lambda index=index: iter([LINE, f"x{index}"])) for index in range(40)]
    write_splits(documents, place / "text", valid_share=0.2, test_share=0.2, seed=1, facts={})
    chosen = {"unit": "word", "lowercase": False, "min_count": 1, "max_size": None} | vocabulary
    encode_corpus(place / "text", place / "encoded", place / "corpus.json", **chosen)
    return UnknownWords(load_tokenizer(place / "encoded/tokenizer.json"), place / "encoded")


def trained_lines(place: Path) -> int:
    return (place / "text/train.txt").read_text(encoding="utf-8").splitlines().count(LINE)


def test_each_reason(tmp_path: Path) -> None:
    words(tmp_path)
    times = trained_lines(tmp_path)
    found = words(tmp_path, min_count=times + 1)
    assert found.reason("c") == Reason(Why.RARE, times)
    assert found.reason("zebra") == Reason(Why.NEVER, 0)
    assert found.reason("B") == Reason(Why.CASE, 0, "b")
    assert found.reason("<unk>") == Reason(Why.WRITTEN)
    assert found.min_count == times + 1


def test_what_max_size_cut_off_is_not_rare(tmp_path: Path) -> None:
    found = words(tmp_path, max_size=4)  # <unk>, <eos>, a and b
    assert found.reason("c") == Reason(Why.CUT, trained_lines(tmp_path))


def test_where_case_is_folded_it_is_no_reason(tmp_path: Path) -> None:
    words(tmp_path)
    found = words(tmp_path, lowercase=True, min_count=trained_lines(tmp_path) + 1)
    assert found.reason("PARIS") == found.reason("paris") == Reason(Why.RARE, trained_lines(tmp_path))


def test_characters_have_reasons_too(tmp_path: Path) -> None:
    found = words(tmp_path, unit="character", max_size=5)
    assert found.reason("ф") == Reason(Why.NEVER, 0) and found.reason("É").why is Why.CUT


@pytest.mark.parametrize("text", [None, f"{LINE}\n", f"{LINE} c\n" * 90])
def test_without_the_text_that_it_was_trained_on_nothing_is_told(tmp_path: Path, text: str | None) -> None:
    words(tmp_path)
    found = words(tmp_path, min_count=trained_lines(tmp_path) + 1)
    (tmp_path / "text/train.txt").unlink()
    if text is not None:
        (tmp_path / "text/train.txt").write_text(text, encoding="utf-8")
    assert found.reason("c") == Reason(Why.UNTOLD)
    assert found.reason("B") == Reason(Why.CASE, None, "b")
