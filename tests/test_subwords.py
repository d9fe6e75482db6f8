"""Subwords: any text byte for byte, numbered by frequency, the same at each training, cut where nothing changes."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from miniature import section_of
from unrolled.corpus.blocks import ALONE, Pool
from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import Document
from unrolled.corpus.splits import write_splits
from unrolled.corpus.subwords import subword_stretches, subword_tokenizer
from unrolled.corpus.vocabulary import decode, load_tokenizer
from unrolled.settings.stated import stated_vocabulary

LINES = [
    "the students opened their books",
    "the books' owner: \t the student",
    "naïve Über-students  opened 漢字",
    "",
] * 3
SPECIALS = ("<unk>", "<eos>")
KINDS = ("bpe", "unigram")
LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=30)
SPACED = st.text(st.sampled_from(" \t'.ab\u00a0\u3000\u0085\u2028\x1c1é漢"), max_size=20)


def read(lines: Sequence[str] = LINES) -> Callable[[], Iterable[Sequence[str]]]:
    """Two lines at a time."""
    return lambda: (lines[first : first + 2] for first in range(0, len(lines), 2))


@cache
def tokenizer(kind: str, size: int = 300) -> Tokenizer:
    return subword_tokenizer(read(), kind, size, SPECIALS)


def ids(of: Tokenizer, text: str) -> list[int]:
    found: list[int] = of.encode(text, add_special_tokens=False).ids
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(st.one_of(LINE, SPACED))
def test_any_line_comes_back_byte_for_byte_and_nothing_in_it_is_special(kind: str, line: str) -> None:
    for text in (line, f"<unk> {line}<eos>"):
        found = ids(tokenizer(kind), text)
        assert tokenizer(kind).decode(found, skip_special_tokens=False) == text
        assert min(found, default=2) >= 2


@pytest.mark.parametrize("kind", KINDS)
@given(st.one_of(LINE, SPACED))
def test_stretches_are_spelled_alike_wherever_they_stand(kind: str, line: str) -> None:
    stretches = subword_stretches(line)
    assert "".join(stretches) == line
    assert [index for stretch in stretches for index in ids(tokenizer(kind), stretch)] == ids(tokenizer(kind), line)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [258, 300])
def test_ids_go_by_how_often_training_has_them(kind: str, size: int) -> None:
    made = tokenizer(kind, size)
    assert 258 <= made.get_vocab_size() <= size and [made.id_to_token(index) for index in (0, 1)] == ["<unk>", "<eos>"]
    counts = Counter(index for line in LINES for index in ids(made, line))
    ranked = [counts[index] for index in range(2, made.get_vocab_size())]
    assert ranked == sorted(ranked, reverse=True) and ranked[0] > 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_training_gives_the_same(kind: str) -> None:
    with ThreadPoolExecutor(2) as executor:
        pools = ALONE, ALONE, Pool(executor, 2)
        made = {subword_tokenizer(read(), kind, 300, SPECIALS, pool=pool).to_str() for pool in pools}
    assert made == {tokenizer(kind).to_str()}


def test_what_stands_together_most_often_is_merged_first() -> None:
    """Four merges by hand: a b 5 times; then ab c 3 times; d e twice; then, ties aside, no more is asked for."""
    lines = ["ab", "ab", "abc", "abc", "abc", "de", "de"]
    made = subword_tokenizer(read(lines), "bpe", 261, SPECIALS)
    for text, tokens in (("abc", ["abc"]), ("ab", ["ab"]), ("de", ["de"]), ("bc", ["b", "c"])):
        assert made.encode(text).tokens == tokens


def test_a_normalizer_comes_before_the_spelling() -> None:
    lower = normalizers.Lowercase()
    made = subword_tokenizer(read(["ABAB abab"] * 5), "bpe", 262, SPECIALS, lower)
    assert made.encode("AbAb").tokens == ["abab"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_that_the_bytes_do_not_fit_into_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="are 258 pieces already, and 257 are asked for"):
        subword_tokenizer(read(), kind, 257, SPECIALS)


@pytest.mark.parametrize("unit", ["word", "character", "subword"])
def test_a_corpus_states_what_its_vocabulary_hangs_on_and_no_more(unit: str, tmp_path: Path) -> None:
    """As `unrolled keep` compares it with the recipe's; the spelled text is that which was read."""
    text, lines = tmp_path / "text", ["Die Straße, naïve  a", "a b a"] * 20
    write_splits([Document("one", lambda: iter(lines))], text, valid_share=0.2, test_share=0.2, seed=1, facts={})
    section = section_of("vocabulary", unit=unit, min_count=1, size=270, lowercase=False)
    encode_corpus(text, tmp_path / "encoded", tmp_path / "corpus.json", **section)
    manifest = json.loads((tmp_path / "encoded" / "manifest.json").read_text())
    assert manifest["settings"]["vocabulary"] == stated_vocabulary(section)
    report = json.loads((tmp_path / "corpus.json").read_text())
    assert report["unit"] == unit and report["test"]["unknown_share"] == 0
    if unit == "subword":
        made = load_tokenizer(tmp_path / "encoded" / "tokenizer.json")
        tokens = np.load(tmp_path / "encoded" / "train.npy").tolist()
        assert decode(made, tokens) == (text / "train.txt").read_text()
        assert manifest["texts"]["test"]["unknown"] == 0 and report["spelling"].startswith("none is <unk>")
