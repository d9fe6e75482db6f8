"""The tokenizer: which types, which ids, and back to text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from unrolled.corpus.files.lines import batches
from unrolled.corpus.vocabulary import (
    build_tokenizer,
    decode,
    encode_line,
    encode_opening,
    load_tokenizer,
)
from unrolled.shell.errors import UserError


def types(tokenizer: Tokenizer) -> list[str]:
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)


def test_ids_go_by_descending_count_then_text_after_the_two_fixed_ones() -> None:
    tokenizer = build_tokenizer(["b b c", "c a a", "d"], unit="word")
    assert types(tokenizer) == ["<unk>", "<eos>", "a", "b", "c", "d"]
    assert sorted(tokenizer.get_vocab().values()) == list(range(6))
    assert encode_line(tokenizer, "d x a") == [5, 0, 2, 1]
    assert encode_line(tokenizer, "d x a", end=False) == [5, 0, 2]
    assert encode_line(tokenizer, "") == [1]


def test_of_a_text_to_be_continued_all_lines_are_ended_but_the_open_one() -> None:
    tokenizer = build_tokenizer(["b b c", "c a a", "d"], unit="word")
    assert encode_opening(tokenizer, "\ufeffd\r\n\n \na\u2028b\rc a") == [5, 1, 2, 3, 1, 4, 2]
    assert encode_opening(tokenizer, "d a\n") == [5, 2, 1]
    assert encode_opening(tokenizer, "\ufeffd") == [5] and encode_opening(tokenizer, "") == []


def test_words_and_punctuation_stand_apart_in_raw_text_and_case_is_an_option() -> None:
    line = 'Don\'t say "U.S.", Ms. Ünal!'
    words = ["Don", "'", "t", "say", '"', "U", ".", "S", ".", '"', ",", "Ms", ".", "Ünal", "!"]
    for lowercase in (False, True):
        tokenizer = build_tokenizer([line], unit="word", lowercase=lowercase)
        found = [tokenizer.id_to_token(index) for index in encode_line(tokenizer, line, end=False)]
        assert found == [word.lower() if lowercase else word for word in words]


def test_tokenised_text_is_split_at_white_space_alone_and_its_unk_is_the_unknown_word() -> None:
    tokenizer = build_tokenizer(["the u.s. <unk> 's <unk> <unk>"], unit="word", tokenised=True)
    assert types(tokenizer) == ["<unk>", "<eos>", "'s", "the", "u.s."]
    assert encode_line(tokenizer, "the <unk> u.s. new") == [3, 0, 4, 0, 1]


def test_raw_text_cannot_spell_the_special_tokens() -> None:
    for unit in ("word", "character"):
        tokenizer = build_tokenizer(["a <eos> b <unk>"], unit=unit)
        ids = encode_line(tokenizer, "a <eos> b <unk>")
        assert ids[-1] == 1
        assert not {0, 1} & set(ids[:-1])


def test_min_count_and_max_size() -> None:
    lines = ["a a a b b c <unk> <unk> <unk> <unk>"]
    assert types(build_tokenizer(lines, unit="word", tokenised=True, min_count=2)) == ["<unk>", "<eos>", "a", "b"]
    assert types(build_tokenizer(lines, unit="word", tokenised=True, max_size=4)) == ["<unk>", "<eos>", "a", "b"]
    assert types(build_tokenizer(lines, unit="word", tokenised=True, max_size=3)) == ["<unk>", "<eos>", "a"]
    assert types(build_tokenizer(["aab"], unit="character", max_size=3)) == ["<unk>", "<eos>", "a"]


@pytest.mark.parametrize(("lines", "min_count"), [([], 1), (["a b c"], 2), (["<unk> <unk>"], 1)])
def test_an_empty_vocabulary_is_told(lines: list[str], min_count: int) -> None:
    with pytest.raises(UserError, match=f"vocabulary comes out empty: no word .* occurs {min_count} times"):
        build_tokenizer(lines, unit="word", tokenised=True, min_count=min_count)


@given(st.lists(st.text(alphabet="aé \u4e00\U0001f600\t.", min_size=1, max_size=9), min_size=1, max_size=5))
def test_characters_come_back_as_they_were(lines: list[str]) -> None:
    tokenizer = build_tokenizer(lines, unit="character")
    ids = [index for line in lines for index in encode_line(tokenizer, line)]
    assert len(ids) == sum(len(line) + 1 for line in lines)
    assert decode(tokenizer, ids) == "".join(f"{line}\n" for line in lines)


def test_words_come_back_joined_by_spaces_a_line_for_each_end() -> None:
    tokenizer = build_tokenizer(["a b c"], unit="word")
    assert decode(tokenizer, [2, 3, 1, 1, 4, 0]) == "a b\n\nc <unk>"
    assert decode(tokenizer, []) == ""


@pytest.mark.parametrize("unit", ["word", "character"])
def test_the_file_encodes_as_the_tokenizer_that_wrote_it(tmp_path: Path, unit: str) -> None:
    lines = ["The Cat, the dog.", "A <eos> é!"]
    tokenizer = build_tokenizer(lines, unit=unit, lowercase=True, min_count=2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    for line in [*lines, "Zebra the ? \U0001f600"]:
        assert encode_line(loaded, line) == encode_line(tokenizer, line)
        assert decode(loaded, encode_line(loaded, line)) == decode(tokenizer, encode_line(tokenizer, line))


def test_a_damaged_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; `dvc repro vocabulary` writes it"):
        load_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"model":', encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer.json is not a valid tokenizer.json \("):
        load_tokenizer(tmp_path / "tokenizer.json")


@given(st.lists(st.text(alphabet="ab", max_size=30), max_size=30))
def test_batches_are_bounded_and_lose_no_line(lines: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.corpus.files.lines.BATCH", 40)
        found = list(batches(lines))
    assert [line for batch in found for line in batch] == lines
    assert all(sum(map(len, batch)) < 40 + 30 for batch in found)
