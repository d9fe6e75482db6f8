r"""Bytes -> lines, the same for all that is read: training, `unrolled score` and `generate`, the served model.

A line ends with \n, \r\n or \r and at nothing else; a byte order mark is dropped, a NUL refused, and white space at a
line's end left out. Everything is streamed.
"""

import codecs
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal

from unrolled.corpus.catalogue import CATALOGUE, Source
from unrolled.corpus.files.encodings import (
    LONGEST_MARK,
    SAMPLE,
    codec_of,
    for_iconv,
    in_utf_8,
    is_utf_8,
    likeliest,
    shown_in,
    with_ascii,
)
from unrolled.shell.errors import UserError

BLOCK = 1 << 20  # bytes read at a time
BATCH = 1 << 17  # characters that are tokenised, or written, at a time: what a processor's cache holds
LONGEST_LINE = 1 << 16  # characters: text without line ends (text8 is one line of 100 MB) is cut at a space

BlankLines = Literal["drop", "paragraphs", "keep"]


@dataclass(frozen=True)
class Reading:
    """How bytes are read; its fields are settings of the section corpus, by the same names.

    ``blank_lines``: drop; keep; or, for paragraphs, one for each run of them that stands between lines.
    ``normalise``: "NFC", or None where each letter stays as it is. ``field``: of rows, which is the text; of
    several, the first that a table has.
    ``encoding`` is that of text which is not in UTF-8. ``mend``: what to do about another encoding, of which ``{}`` is
    the name, and ``{iconv}`` that which iconv has for it.
    """

    encoding: str = "utf-8"
    blank_lines: BlankLines = "drop"
    normalise: Literal["NFC"] | None = None
    field: str | Sequence[str] | None = None
    mend: str = "convert it: iconv -f {iconv} -t utf-8"

    @classmethod
    def of_settings(cls, corpus: Mapping[str, Any]) -> "Reading":
        """``corpus``: the section, in which a key that is not stated is at its default."""
        keys = ("encoding", "blank_lines", "normalise", "field")
        found = cls(**{key: corpus[key] for key in keys if key in corpus})
        # One encoding beside UTF-8 can be set; where another is, the files that are in that would become unreadable.
        others = f", or where other files are in {found.encoding}, {found.mend}"
        return replace(found, mend="set corpus.encoding to {}" + ("" if is_utf_8(found.encoding) else others))

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> "Reading":
        """Of what a network is to read that was trained on the corpus of this data/encoded/manifest.json."""
        corpus = (manifest.get("settings") or {}).get("corpus") or {}
        published = {"blank_lines": CATALOGUE.get(corpus.get("name", ""), Source()).blank_lines}
        return cls(**published | {key: corpus[key] for key in ("blank_lines", "normalise") if key in corpus})


PLAIN = Reading()


def decoded_lines(stream: BinaryIO, name: str, reading: Reading = PLAIN) -> Iterator[str]:
    """The lines of a byte stream, without their ends.

    Raises UserError with ``name``, the byte and the line of what is not text.
    """
    return lines_in(decoded(stream, name, reading), reading)


def lines_of(text: str, reading: Reading = PLAIN, name: str = "the text") -> Iterator[str]:
    """The lines that a file of this text would have; str.splitlines cuts at U+2028, form feeds and others as well."""
    return lines_in(_blocks_of(text, name), reading)


def opened(text: str, reading: Reading = PLAIN, name: str = "the text") -> tuple[Iterator[str], str]:
    """Of a text that is to be continued the lines that are ended, and what stands after the last line end."""
    whole, end, last = "".join(_blocks_of(text, name)).rpartition("\n")
    return lines_in([whole + end], reading), last


def decoded(stream: BinaryIO, name: str, reading: Reading = PLAIN) -> Iterator[str]:
    r"""The text of a byte stream, block by block; all its line ends are \n. Raises UserError as ``decoded_lines``."""
    block = b""
    while len(block) < LONGEST_MARK and (more := stream.read(BLOCK)):
        block += more
    codec = codec_of(block, reading.encoding)
    undecided = codec == reading.encoding and with_ascii(codec) and not is_utf_8(codec)
    decoder = _decoder(codec)
    offset, number, last = 0, 1, b""
    while True:
        if undecided and not block.isascii():
            undecided = False  # a folder may hold files in UTF-8 beside those in the encoding that is set
            while (found := in_utf_8(block)) is None and (more := stream.read(BLOCK)):
                block += more
            if found:
                held = decoder.getstate()[1] & 1  # a \r that ended the block before
                codec, decoder = "utf-8", _decoder("utf-8")
                decoder.setstate((b"", held))
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            # Of utf-16 and utf-32 that do not say which byte comes first; from Python 3.14 on an error as others are.
            if not isinstance(error, UnicodeDecodeError) or "BOM" in error.reason:
                raise UserError(
                    f"{name}: no byte order mark, so {codec} may be {codec}-le or {codec}-be; name one"
                ) from None
            # error.object is what the decoder held back from earlier blocks, then this block
            before = offset + len(block) - len(error.object)
            raise UserError(
                f"{name}: {_not_in(codec, error, before, number)}; {_mend(last, error, reading, codec)}"
            ) from None
        if "\0" in text:
            raise UserError(f"{name}: {_binary(codec, block, text, offset, number, reading)}")
        yield text
        if not block:
            return
        offset, number = offset + len(block), number + text.count("\n")
        last, block = block[-SAMPLE:], stream.read(BLOCK)


def whole_lines(stream: BinaryIO, name: str, reading: Reading = PLAIN) -> Iterator[str]:
    """The lines of a byte stream as they stand there, blank or not, and however long: one at a time is in memory.

    Raises UserError as ``decoded_lines``.
    """
    pending: list[str] = []
    for block in decoded(stream, name, reading):
        first, *others = block.split("\n")
        pending.append(first)
        for line in others:
            yield "".join(pending)
            pending = [line]
    if any(pending):
        yield "".join(pending)


def batches(lines: Iterable[str], most: int | None = None) -> Iterator[list[str]]:
    """Lines in lists of about ``most`` characters, or BATCH, so that memory stays flat however long the lines are."""
    batch: list[str] = []
    size, most = 0, BATCH if most is None else most
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decoder(codec: str) -> io.IncrementalNewlineDecoder:
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)(), translate=True)


def lines_in(blocks: Iterable[str], reading: Reading = PLAIN) -> Iterator[str]:
    """The lines of a text that comes block by block."""
    blank, begun = False, False
    for line in _stripped(blocks, reading):
        if line or reading.blank_lines == "keep":
            if blank and begun:
                yield ""
            blank, begun = False, True
            yield line
        elif reading.blank_lines == "paragraphs":
            blank = True


def _stripped(blocks: Iterable[str], reading: Reading) -> Iterator[str]:
    """All lines, blank ones among them, but for what is blank of a line that is cut."""
    pending, is_cut = "", False
    for block in _ended(blocks):
        *whole, pending = (pending + block).split("\n")
        if is_cut and whole:
            whole, is_cut = whole[not whole[0].strip() :], False
        if len(pending) > LONGEST_LINE:
            *cut, pending = _pieces(pending)
            whole, is_cut = [*whole, *(piece for piece in cut if not piece.isspace())], True
        if reading.normalise is None and max(map(len, whole), default=0) <= LONGEST_LINE:
            yield from map(str.rstrip, whole)  # as nearly all text is: a third of the time
            continue
        for line in whole:
            if len(line) > LONGEST_LINE:
                yield from (_finished(piece, reading) for piece in _pieces(line) if not piece.isspace())
            else:
                yield _finished(line, reading)


def _ended(blocks: Iterable[str]) -> Iterator[str]:
    """The text with an end behind its last line, where it has none."""
    last = "\n"
    for block in blocks:
        last = block[-1:] or last
        yield block
    if last != "\n":
        yield "\n"


def _finished(line: str, reading: Reading) -> str:
    line = line.rstrip()
    return line if reading.normalise is None else unicodedata.normalize(reading.normalise, line)


def _pieces(line: str) -> Iterator[str]:
    while len(line) > LONGEST_LINE:
        at = line.rfind(" ", 0, LONGEST_LINE) + 1 or LONGEST_LINE
        yield line[:at]
        line = line[at:]
    yield line


def _blocks_of(text: str, name: str) -> Iterator[str]:
    """UserError for half a surrogate pair, which JSON and the bytes of a command line can hold, and no file of text."""
    try:
        return decoded(io.BytesIO(text.encode()), name)
    except UnicodeEncodeError as error:
        number = 1 + text.count("\n", 0, error.start)
        half = f"\\u{ord(text[error.start]):04x}"
        what = "is half of a character, or a byte that is not UTF-8; take it out"
        raise UserError(f"{name}: {half}, in line {number:,}, {what}") from None


def _not_in(codec: str, error: UnicodeDecodeError, before: int, number: int) -> str:
    held = error.object[: error.start]
    number += held.count(b"\n") or held.count(b"\r")
    encoding = codec.upper().removesuffix("-SIG")
    return f"not {encoding} at byte {before + error.start}, in line {number:,} ({error.reason})"


def _mend(last: bytes, error: UnicodeDecodeError, reading: Reading, codec: str) -> str:
    """``last``: the block before, as at the end of a text the error knows of the bytes alone that are no letter."""
    kept = last.removesuffix(error.object) if last.endswith(error.object) else b""
    held, at = kept + error.object, len(kept) + error.start
    if is_utf_8(codec) and (not is_utf_8(reading.encoding) or in_utf_8(held[:at])):
        which = "" if is_utf_8(reading.encoding) else f", which may be in {reading.encoding}"
        return f"it begins in UTF-8, so it is in two encodings; convert that part{which}"
    none = f"it is in no other encoding that is likely; {_mended(reading, '<its encoding>')}"
    return _guessed(_sample(held, at), reading) or none


def _guessed(sample: bytes, reading: Reading) -> str | None:
    guess = likeliest(sample)
    return guess and f"most likely it is {guess} ({shown_in(sample, guess)}): {_mended(reading, guess)}"


def _mended(reading: Reading, encoding: str) -> str:
    return reading.mend.format(encoding, iconv=for_iconv(encoding))


def _sample(held: bytes, at: int) -> bytes:
    """Whole lines around a byte, where there are some."""
    first = max(0, min(held.rfind(b"\n", 0, at) + 1, len(held) - SAMPLE))
    sample = held[first : first + SAMPLE]
    start = sample.find(b"\n", 0, max(0, at - first)) + 1 if first else 0
    return sample[start : sample.rfind(b"\n", max(start, at - first)) + 1 or None]


def _binary(codec: str, block: bytes, text: str, offset: int, number: int, reading: Reading) -> str:
    number += text.count("\n", 0, text.index("\0"))
    at = f" at byte {offset + block.index(0)}" if codec.startswith("utf-8") and b"\0" in block else ""
    guess = None if codec.startswith(("utf-16", "utf-32")) else _guessed(block, reading)
    return f"not text but binary (NUL{at}, in line {number:,})" + (f"; {guess}" if guess else "")
