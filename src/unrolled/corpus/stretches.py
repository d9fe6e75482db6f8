"""A block of text as its different stretches, and where each stands: what is seen twice needs no second look.

A stretch is what the tokenizers library treats alike wherever it stands: a character, a word with the blank before it,
or what `subword_stretches` cuts; the end of a line is one of its own. Blocks are bytes and stay bytes: only what is
different in them becomes Python's strings.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Ints = np.ndarray[tuple[int], np.dtype[np.integer[Any]]]

BLANK, END = ord(" "), ord("\n")
# What Python's \s is beyond a blank, in UTF-8: behind it a blank begins no stretch of subwords.
WHITE = re.compile(
    rb"[\t-\r\x1c-\x1f ]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)
WHITE_AND_BLANK = re.compile(b"(?:" + WHITE.pattern + b")(?= )")
COMPOSING = "\u0300"  # the first letter that changes what stands beside it where a text is brought to NFC


class Stretches(NamedTuple):
    """``different``: those that occur, a line's end first, then those in ASCII; ``places``: which stands where, [N].

    Places are counted from 0 on, first through what was said to be known, then through ``different``.
    """

    different: list[str]
    places: Ints


def stretches_in(block: bytes, unit: str, known: Sequence[str] = ()) -> Stretches:
    """``block``: whole lines in UTF-8, at most 2 GB; ``unit``: "word", "character" or "subword".

    ``known``: frequent stretches, a line's end not among them, which are looked up in half the time.
    """
    from pyarrow import compute  # here, not above: it takes a tenth of a second to import

    text = _strings(block, np.flatnonzero(np.append(_cuts(block, unit), True)))
    places: Ints = np.full(len(text), -1, dtype=np.int32)
    if known:
        found = compute.index_in(text, value_set=_strings(*_joined(known)))
        new = compute.is_null(found)
        is_new = np.unpackbits(np.frombuffer(new.buffers()[1], dtype=np.uint8), count=len(new), bitorder="little")
        places, text = np.where(is_new, -1, numbers(found)), text.filter(new)
    rest = text.dictionary_encode()
    different = rest.dictionary.to_pylist()
    rank = 2 - np.fromiter(map(str.isascii, different), np.int8, len(different))
    rank[different.index("\n")] = 0
    order = np.argsort(rank, kind="stable")
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(known), len(known) + len(order), dtype=np.int32)
    places[places < 0] = place[numbers(rest.indices)]
    return Stretches(list(map(different.__getitem__, order.tolist())), places)


def _strings(text: bytes, borders: Ints) -> Any:
    """Arrow's array of what stands between the borders, which are one more."""
    from pyarrow import StringArray, py_buffer  # here, not above: see `stretches_in`

    return StringArray.from_buffers(len(borders) - 1, py_buffer(borders.astype(np.int32)), py_buffer(text))


def _joined(texts: Sequence[str]) -> tuple[bytes, Ints]:
    encoded = [text.encode() for text in texts]
    return b"".join(encoded), np.cumsum([0, *map(len, encoded)])


def numbers(array: Any, dtype: type[np.integer[Any]] = np.int32) -> Ints:
    """What an array of Arrow's holds, none of it missing; its own to_numpy imports pandas: half a second."""
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset :][: len(array)]


def _cuts(block: bytes, unit: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether a stretch begins at a byte."""
    text: Bytes = np.frombuffer(block, dtype=np.uint8)
    if unit == "character":
        return (text & 0xC0) != 0x80
    ends = text == END
    cuts = text == BLANK
    if unit == "subword":
        for white in WHITE_AND_BLANK.finditer(block):
            cuts[white.end()] = False
    cuts |= ends
    cuts[1:] |= ends[:-1]
    cuts[:1] = True
    return cuts


class Pieces:
    """How a tokenizer cuts stretches into what it looks up: words, or characters where it has no splitter.

    The library tells by a letter alone, whatever stands beside it, whether that is part of a word, a word of its own or
    blank, and what it is in lower case. So it is asked once for each letter, not for each word.
    """

    def __init__(self, normalizer: Normalizer | None, splitter: PreTokenizer | None) -> None:
        self.unit = "character" if splitter is None else "word"
        self.normalizer, self.splitter = normalizer, splitter
        self._composes = normalizer is not None and normalizer.normalize_str("e\u0301") == "\u00e9"
        self._letters, self._normal_letters = _Letters(normalizer, splitter), _Letters(None, splitter)

    def of(self, different: Sequence[str]) -> tuple[list[str], Ints]:
        """The pieces of `Stretches.different`, one after the other, and how many each has, [N]; first a line's end."""
        first = 1 + sum(map(str.isascii, different[1:]))
        of_ascii, lengths = self._cut(different[1:first])  # alone: what Python does to ASCII takes a fifth of the time
        of_others, more = self._cut(different[first:])
        return ["\n", *of_ascii, *of_others], np.concatenate([[1], lengths, more])

    def _cut(self, stretches: Sequence[str]) -> tuple[list[str], Ints]:
        letters = self._letters
        if self._composes and max("".join(stretches), default="") >= COMPOSING:
            stretches, letters = list(map(self._normal, stretches)), self._normal_letters
        if self.unit == "character":
            found = [stretch.translate(letters) for stretch in stretches]
            return list("".join(found)), np.fromiter(map(len, found), np.int64, len(found))
        text = " \n ".join((*stretches, "")).translate(letters)
        pieces = list(filter(None, text.split(" ")))
        ends = np.flatnonzero(np.fromiter(map("\n".__eq__, pieces), np.bool_, len(pieces)))
        return list(filter("\n".__ne__, pieces)), np.diff(ends, prepend=-1) - 1

    def _normal(self, stretch: str) -> str:
        return stretch if self.normalizer is None else str(self.normalizer.normalize_str(stretch))


class _Letters(dict[int, str]):
    """By code point what `str.translate` puts in a letter's place, after which words stand between blanks."""

    def __init__(self, normalizer: Normalizer | None, splitter: PreTokenizer | None) -> None:
        super().__init__()
        self._normalizer, self._splitter = normalizer, splitter

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        if letter != "\n":
            letter = "".join(map(self._cut, self._normalizer.normalize_str(letter) if self._normalizer else letter))
        self[code] = letter
        return letter

    def _cut(self, letter: str) -> str:
        if self._splitter is None:
            return letter
        words = [word for word, _ in self._splitter.pre_tokenize_str(f"a{letter}a")]
        return letter if len(words) == 1 else " ".join(("", *words[1:-1], ""))
