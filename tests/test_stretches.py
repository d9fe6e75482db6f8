"""Text is tokenised by stretches seen once; the tokenizers library, given whole lines, must find the same."""

from collections import Counter
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from unrolled.corpus import blocks
from unrolled.corpus.encode_file import Encoder, encode_files
from unrolled.corpus.spelling import Letters
from unrolled.corpus.vocabulary import build_tokenizer
from unrolled.ground.special_tokens import UNKNOWN_ID

ASCII = [chr(code) for code in range(128) if chr(code) != "\n"]
ODD = "aA.,'<> \t\r\x00\x0b\x0c\x1c\x1f\x7f\x85\xa0\u00adéÉİ\u0131ßΣς\u0301\u1680\u200b\u200d\u2028\u3000一。¿\u2013😀𐐀"
LINES = st.lists(st.text(st.sampled_from(ODD) | st.characters(exclude_characters="\n", exclude_categories=["Cs"])))
OPTIONS = list(product(("word", "character"), (False, True), (False, True)))


def by_lines(tokenizer: Tokenizer, lines: list[str]) -> list[int]:
    return [index for line in lines for index in tokenizer.encode(line).ids]


def types_by_lines(tokenizer: Tokenizer, lines: list[str]) -> list[str]:
    """The vocabulary that follows from the library's pieces of whole lines, with the splitter of ``tokenizer``."""
    counts: Counter[str] = Counter()
    for line in lines:
        text = tokenizer.normalizer.normalize_str(line) if tokenizer.normalizer else line
        splitter = tokenizer.pre_tokenizer
        counts.update([word for word, _ in splitter.pre_tokenize_str(text)] if splitter else text)
    kept = set(counts) - {"<unk>", "<eos>"}
    return ["<unk>", "<eos>", *sorted(kept, key=lambda word: (-counts[word], word))]


def check(lines: list[str], unit: str, lowercase: bool, tokenised: bool) -> None:
    known = ["a É", *lines[::2]]  # of the rest, much is unknown
    tokenizer = build_tokenizer(known, unit=unit, lowercase=lowercase, tokenised=tokenised)
    types = tokenizer.get_vocab()
    assert sorted(types, key=types.__getitem__) == types_by_lines(tokenizer, known)
    with TemporaryDirectory() as folder:
        text, path = Path(folder) / "text", Path(folder) / "ids.npy"
        text.write_bytes("".join(f"{line}\n" for line in lines).encode())
        (encoded,) = encode_files(Encoder(tokenizer), [(text, path, [len(lines)])])
        ids = np.load(path)
    assert ids.tolist() == by_lines(tokenizer, lines)
    assert encoded.counts.tolist() == np.bincount(ids, minlength=len(types)).tolist()
    assert encoded.characters == sum(len(line) + 1 for line in lines)
    normalised = [tokenizer.normalizer.normalize_str(line) if tokenizer.normalizer else line for line in lines]
    splitter = tokenizer.pre_tokenizer
    found = [
        piece
        for line in normalised
        for piece in ([w for w, _ in splitter.pre_tokenize_str(line)] if splitter else line)
    ]
    unknown = Letters.of((piece, 1) for piece in found if piece not in types or types[piece] == UNKNOWN_ID)
    assert encoded.unknown == unknown and unknown.words == encoded.counts[UNKNOWN_ID]


@pytest.mark.parametrize(("unit", "lowercase", "tokenised"), OPTIONS)
@given(lines=LINES)
def test_any_text(lines: list[str], unit: str, lowercase: bool, tokenised: bool) -> None:
    check(lines, unit, lowercase, tokenised)


@pytest.mark.parametrize(("unit", "lowercase", "tokenised"), OPTIONS)
@given(lines=LINES)
def test_any_text_in_small_blocks(lines: list[str], unit: str, lowercase: bool, tokenised: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.corpus.files.lines.BATCH", 4)
        patch.setattr(blocks, "SIZE", 4)
        check(lines, unit, lowercase, tokenised)


@pytest.mark.parametrize(("unit", "lowercase", "tokenised"), OPTIONS)
def test_each_ascii_character_alone_and_between_letters(unit: str, lowercase: bool, tokenised: bool) -> None:
    lines = [form.format(one) for form in ("{0}", "a{0}B", "a {0} B", " {0}{0} ") for one in ASCII]
    check(lines, unit, lowercase, tokenised)
    check([" ".join(lines), "".join(ASCII)], unit, lowercase, tokenised)


@pytest.mark.parametrize(("unit", "lowercase", "tokenised"), OPTIONS)
def test_each_character_up_to_kana_beside_its_neighbours(unit: str, lowercase: bool, tokenised: bool) -> None:
    characters = "".join(map(chr, range(0x3100))).replace("\n", "")
    check([" ".join(characters), characters, characters[::-1]], unit, lowercase, tokenised)
