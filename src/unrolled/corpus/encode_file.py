"""A split's text -> its token ids, written as they come, and what is counted on the way; memory stays flat.

The file is encoded block by block, which may be done in several processes.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from tokenizers import Tokenizer
from tqdm import tqdm

from unrolled.corpus.blocks import ALONE, Block, Pool, blocks_of
from unrolled.corpus.repeats import Sample
from unrolled.corpus.spelling import Letters, Spelling
from unrolled.corpus.stretches import Ints, Pieces, stretches_in
from unrolled.corpus.subwords import SubwordIds
from unrolled.corpus.vocabulary import END, UNKNOWN, unit_of
from unrolled.ground.corpus import Text
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID

LONG = 40  # characters of a line that two texts do not share by chance

FREQUENT = 1 << 16  # words that are looked up as they stand between blanks

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Encoded:
    """What is known of a split once it is encoded; ``counts`` int64 [V] holds how often each id occurs.

    ``characters`` are those of the text, its line ends among them; ``long_lines``: of its lines of LONG characters and
    more; ``documents`` int64 [D]: at which token each begins. ``unknown``: the letters of what became ``<unk>``.
    """

    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    characters: int
    long_lines: Sample
    documents: np.ndarray[tuple[int], np.dtype[np.int64]]
    unknown: Letters

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())

    @property
    def unknown_share(self) -> float:
        """Of all tokens, ``<eos>`` included."""
        return int(self.counts[UNKNOWN_ID]) / self.tokens

    def text(self, size: int, spelling: Spelling) -> Text:
        """Of ``size`` bytes."""
        return Text(self.characters, size, self.unknown.words, spelling.nats(self.unknown))

    def report(self, documents: int) -> dict[str, Any]:
        return {
            "documents": documents,
            "tokens": self.tokens,
            "characters": self.characters,
            "unknown_share": round(self.unknown_share, 6),
        }


class EncodedBlock(NamedTuple):
    """``documents``: at which of ``ids`` one begins; ``long_lines``: a hash each, uint64."""

    size: int  # bytes of its text
    ids: Array
    documents: Array
    characters: int
    long_lines: Array
    unknown: Letters


def encode_files(
    encoder: "Encoder", files: Sequence[tuple[Path, Path, Sequence[int]]], pool: Pool = ALONE
) -> list[Encoded]:
    """Encode text files, ``<eos>`` after each line, each into a 1-D .npy array of the encoder's type.

    ``files``: text, array, and how many lines each document of the text has.
    """
    tasks = (_with_documents(blocks_of(text), lines_of) for text, _, lines_of in files)
    encoded = pool.in_order(encoder, chain.from_iterable(tasks))
    return [_written(encoder, text, path, encoded) for text, path, _ in files]


def _written(encoder: "Encoder", text: Path, path: Path, encoded: Iterator["EncodedBlock"]) -> Encoded:
    """The array of one of them, to which the next of ``encoded`` belong."""
    counts, characters, lines, unknown = np.zeros(encoder.size, dtype=np.int64), 0, Sample(), Letters()
    starts, tokens, whole = [np.zeros(0, dtype=np.int64)], 0, text.stat().st_size
    with (
        path.open("wb") as file,
        tqdm(total=whole, desc=f"encoding {text.name}", unit="B", unit_scale=True, disable=None) as bar,
    ):
        file.write(_header(encoder.dtype, 0))
        read = 0
        while read < whole:
            block = next(encoded)
            read += block.size
            file.write(block.ids.data)
            counts += np.bincount(block.ids, minlength=encoder.size)
            starts.append(block.documents + tokens)
            tokens, characters = tokens + len(block.ids), characters + block.characters
            lines.add(block.long_lines)
            unknown.merge(block.unknown)
            bar.update(block.size)
        # npy leaves room in its header for a longer first axis, so that an array can grow in its file
        file.seek(0)
        file.write(_header(encoder.dtype, tokens))
    return Encoded(counts, characters, lines, np.concatenate(starts), unknown)


class Encoder:
    """What a tokenizer makes of blocks of text; ``dtype``: uint16 where its vocabulary has fewer than 65,536 types.

    Each process has one: of words and characters it keeps the ids alone, as the tokenizer takes as much memory again.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.unit, self.size = unit_of(tokenizer), tokenizer.get_vocab_size()
        self.dtype = np.dtype(np.uint16 if self.size < 65536 else np.uint32)
        self._pieces = Pieces(tokenizer.normalizer, tokenizer.pre_tokenizer)
        self._ids = tokenizer.get_vocab() | {"\n": END_ID}
        self._subwords = SubwordIds(tokenizer) if self.unit == "subword" else None
        frequent = sorted(self._ids, key=self._ids.__getitem__)[:FREQUENT] if self.unit == "word" else []
        words = [word for word in frequent if word.isascii() and word not in (UNKNOWN, END, "\n")]
        self._frequent = [f" {word}" for word in words]
        self._frequent_ids = np.array([self._ids[word] for word in words], dtype=np.int64)

    def __call__(self, task: tuple[Block, Sequence[int]]) -> EncodedBlock:
        """``task``: a block of whole lines, and at which of them a document begins."""
        block, begins = task
        text = block.read()
        different, places = stretches_in(text, self.unit, self._frequent)
        unknown, known = Letters(), len(self._frequent)
        if self._subwords is not None:
            ids, lengths = self._subwords.of(different)
        else:
            pieces, lengths = self._pieces.of(different)
            ids = np.fromiter(map(self._ids.get, pieces, repeat(UNKNOWN_ID)), np.int64, len(pieces))
            times = np.repeat(np.bincount(places, minlength=known + len(different))[known:], lengths)
            hidden = np.flatnonzero(ids == UNKNOWN_ID).tolist()
            unknown.add(zip(map(pieces.__getitem__, hidden), times[hidden].tolist(), strict=True))
        ids = np.concatenate([self._frequent_ids, ids])
        lengths = np.concatenate([np.ones(known, dtype=np.int64), lengths])
        found, ends = _spread(ids.astype(self.dtype), lengths, places)
        line_ends = ends[places == known] if any(begins) else ends[:0]
        documents = np.array([line_ends[line - 1] if line else 0 for line in begins], dtype=np.int64)
        return EncodedBlock(block.size, found, documents, _characters(text), _long_lines(text), unknown)


def _spread(ids: Array, lengths: Ints, places: Ints) -> tuple[Array, Ints]:
    """The ids of a text from those of its different stretches, and where among them each place ends."""
    if len(ids) == len(lengths) and (lengths == 1).all():
        return ids[places], np.arange(1, len(places) + 1, dtype=np.int32)
    of_place = lengths[places]
    ends = np.cumsum(of_place)
    first = np.cumsum(lengths) - lengths
    return ids[np.repeat(first[places] - (ends - of_place), of_place) + np.arange(ends[-1])], ends


def _with_documents(blocks: Iterable[Block], lines_of: Sequence[int]) -> Iterator[tuple[Block, list[int]]]:
    """Each block, and at which of its lines a document begins."""
    if len(lines_of) == 1:  # no need to read it here
        yield from zip(blocks, chain([[0]], repeat([])), strict=False)
        return
    counted, left = iter(lines_of), 0
    for block in blocks:
        at, begins, lines = 0, [], block.read().count(b"\n")
        while at < lines:
            if not left:
                left = next(counted)
                begins.append(at)
            taken = min(left, lines - at)
            at, left = at + taken, left - taken
        yield block, begins


def _characters(text: bytes) -> int:
    return len(text) if text.isascii() else int(np.count_nonzero((np.frombuffer(text, np.uint8) & 0xC0) != 0x80))


def _long_lines(text: bytes) -> Array:
    """A hash each, which is the same in every process."""
    lines = (line for line in text.split(b"\n") if len(line) >= 4 * LONG or len(line) >= LONG <= len(line.decode()))
    return np.frombuffer(b"".join(blake2b(line, digest_size=8).digest() for line in lines), dtype=np.uint64)


def _header(dtype: np.dtype[Any], length: int) -> bytes:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)})
    return header.getvalue()
