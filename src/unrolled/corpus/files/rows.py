"""Files of rows, of which one field is the text: .jsonl, .csv, .tsv and .parquet.

A row is a document of its own, for so they were collected: as a comment, an article, a page.
"""

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO

from unrolled.corpus.files.lines import Reading, decoded
from unrolled.corpus.files.packed import Packed
from unrolled.shell.errors import UserError

FIELD = "text"  # where the settings name none
IN_MEMORY = 1 << 24  # bytes of a packed .parquet; a larger one goes to a temporary file
LONGEST = 10**9  # characters of a field; csv's own limit is shorter than many a text

Texts = Iterator[tuple[int, str]]  # each with the number of its row or line


def jsonl_texts(stream: BinaryIO, label: str, reading: Reading) -> Texts:
    """A JSON value a line: an object, or the text itself."""
    for number, line in enumerate(_whole_lines(stream, label, reading), 1):
        if not line.strip():
            continue
        place = f"{label}, line {number:,}"
        try:
            found: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            said = str(error).partition(":")[0]
            raise UserError(f"{place}: not JSON ({said}); a line is one object, as jq -c . writes it") from None
        if isinstance(found, list):
            raise UserError(f"{place}: a list, and a line is one object; jq -c '.[]' writes those of a list so")
        if isinstance(found, dict):
            found = found[_field(list(found), reading.field, place)]
        yield number, _text(found, place)


def csv_texts(stream: BinaryIO, label: str, reading: Reading) -> Texts:
    """Between commas, or where the first line has none semicolons or tabs, as some countries' spreadsheets write it."""
    lines = _ended_lines(stream, label, reading)
    first = next(lines, "")
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    rows = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    if first.rstrip() == f"sep={delimiter}":  # for Excel, above the names
        next(rows)
    return _table_texts(rows, label, reading)


def tsv_texts(stream: BinaryIO, label: str, reading: Reading) -> Texts:
    """Without quotes, for a text may begin with one."""
    lines = _ended_lines(stream, label, reading)
    return _table_texts(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True), label, reading)


def parquet_texts(stream: BinaryIO, label: str, reading: Reading) -> Texts:
    """Some rows at a time are in memory."""
    # Here, not above: it takes a third of a second to import.
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with _seekable(stream) as source:
            file = ParquetFile(source)
            field = _field(file.schema_arrow.names, reading.field, label)
            batches = file.iter_batches(batch_size=1000, columns=[field])
            values = chain.from_iterable(batch.column(0).to_pylist() for batch in batches)
            for number, value in enumerate(values, 1):
                yield number, _text(value, f"{label}, row {number:,}")
    except (ArrowException, OSError) as error:
        raise UserError(f"{label}: truncated or damaged ({' '.join(str(error).split())}); get a fresh copy") from None


READERS: dict[str, Callable[[BinaryIO, str, Reading], Texts]] = {
    ".jsonl": jsonl_texts,
    ".ndjson": jsonl_texts,
    ".csv": csv_texts,
    ".tsv": tsv_texts,
    ".parquet": parquet_texts,
}


def texts_in(packed: Packed, suffix: str, reading: Reading) -> Texts:
    """The texts of a file whose name ends so; UserError naming the row that holds none."""
    with packed.open() as stream:
        yield from READERS[suffix](stream, packed.label, reading)


def _table_texts(rows: Any, label: str, reading: Reading) -> Texts:
    csv.field_size_limit(LONGEST)
    try:
        header: list[str] = next(rows, [])
        column = header.index(_field(header, reading.field, f"{label}, line 1"))
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                named = f"{len(row)} fields where the first line names {len(header)}"
                raise UserError(f"{label}, line {rows.line_num:,}: {named}")
            yield rows.line_num, row[column]
    except csv.Error as error:
        quoted = "a field with quotes in it is quoted, and they doubled"
        raise UserError(f"{label}, line {rows.line_num:,}: {error}; {quoted}") from None


def _field(names: Sequence[str], wanted: str | Sequence[str] | None, place: str) -> str:
    """The name of the field that is the text: the first there is of those wanted, else `text`, else the only one."""
    if wanted is None and FIELD not in names and len(names) == 1:
        return names[0]
    any_of = [FIELD] if wanted is None else [wanted] if isinstance(wanted, str) else wanted
    for name in any_of:
        if name in names:
            return name
    there = ", ".join(map(repr, names[:10])) or "none"
    raise UserError(
        f"{place}: there is no field {' or '.join(map(repr, any_of))} (there are: {there}); set corpus.field to its "
        "name, or where other tables have others to a list of names; or let corpus.pattern leave this file out"
    )


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{place}: the field is no text but {type(value).__name__}; let corpus.field name one of texts")
    return value


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[Any]:
    """A file of the disk, where the stream is none but unpacked from one."""
    if isinstance(stream, io.BufferedReader):
        yield stream
        return
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        shutil.copyfileobj(stream, file)
        file.seek(0)
        yield file


def _whole_lines(stream: BinaryIO, label: str, reading: Reading) -> Iterator[str]:
    """However long they are: a row is held in memory."""
    pending: list[str] = []
    for block in decoded(stream, label, reading):
        first, *others = block.split("\n")
        pending.append(first)
        for line in others:
            yield "".join(pending)
            pending = [line]
    if any(pending):
        yield "".join(pending)


def _ended_lines(stream: BinaryIO, label: str, reading: Reading) -> Iterator[str]:
    return (f"{line}\n" for line in _whole_lines(stream, label, reading))
