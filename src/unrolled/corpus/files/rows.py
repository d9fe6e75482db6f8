"""Files of rows, of which some fields are wanted: .jsonl, .csv, .tsv and .parquet.

A row is a document of its own, for so they were collected: as a comment, an article, a page.
"""

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from unrolled.corpus.files.lines import Reading, whole_lines
from unrolled.corpus.files.packed import Packed
from unrolled.shell.errors import UserError

FIELD = "text"  # where the settings name none
MARKS = ",;\t"  # between the fields of a .csv: some countries' spreadsheets write the second
IN_MEMORY = 1 << 24  # bytes of a packed .parquet; a larger one goes to a temporary file
LONGEST = 10**9  # characters of a field; csv's own limit is shorter than many a text


@dataclass(frozen=True)
class Fields:
    """Which fields of a row are wanted: of each the names that it may have, of which the first that a table has counts.

    ``only``: a table's single field is the one that is wanted, whatever its name. ``mend``: what to do where one is
    missing.
    """

    names: Sequence[Sequence[str]]
    mend: str
    only: bool = False

    def named_in(self, there: Sequence[str]) -> bool:
        """Whether a table has all of them."""
        return all(any(name in there for name in names) for names in self.names)

    def of(self, there: Sequence[str], place: str) -> list[str]:
        """Their names in a table; UserError where it lacks one, or has two of that name."""
        if self.only and len(there) == 1:
            return list(there)
        return [self._one_of(names, there, place) for names in self.names]

    def _one_of(self, names: Sequence[str], there: Sequence[str], place: str) -> str:
        found = next((name for name in names if name in there), None)
        if found is None:
            wanted, others = " or ".join(map(repr, names)), ", ".join(map(repr, there[:10])) or "none"
            raise UserError(f"{place}: there is no field {wanted} (there are: {others}); {self.mend}")
        if (times := list(there).count(found)) > 1:
            raise UserError(f"{place}: {times} fields are named {found!r}; rename all but the one that is meant")
        return found


Rows = Iterator[tuple[int, list[Any]]]  # the number of a row or line, and its values of the fields that are wanted


def jsonl_rows(stream: BinaryIO, label: str, reading: Reading, fields: Fields) -> Rows:
    """A JSON value a line: an object, or where one field is wanted that itself."""
    for number, line in enumerate(whole_lines(stream, label, reading), 1):
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
            yield number, [found[name] for name in fields.of(list(found), place)]
        elif len(fields.names) == 1:
            yield number, [found]
        else:
            raise UserError(f"{place}: no object; a line is one, as jq -c . writes it")


def csv_rows(stream: BinaryIO, label: str, reading: Reading, fields: Fields) -> Rows:
    """Between commas, semicolons or tabs."""
    lines = _ended_lines(stream, label, reading)
    first = next(lines, "")
    mark = _mark(first, fields)
    rows = csv.reader(chain([first], lines), delimiter=mark, strict=True)
    if first.rstrip("\n") == f"sep={mark}":  # for Excel, above the names
        next(rows)
    return _table_rows(rows, label, fields)


def tsv_rows(stream: BinaryIO, label: str, reading: Reading, fields: Fields) -> Rows:
    """Without quotes, for a text may begin with one."""
    lines = _ended_lines(stream, label, reading)
    return _table_rows(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True), label, fields)


def parquet_rows(stream: BinaryIO, label: str, reading: Reading, fields: Fields) -> Rows:
    """Some rows at a time are in memory."""
    # Here, not above: it takes a third of a second to import.
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with _seekable(stream) as source:
            file = ParquetFile(source)
            names = fields.of(file.schema_arrow.names, label)
            batches = file.iter_batches(batch_size=1000, columns=names)
            rows = (zip(*(batch.column(name).to_pylist() for name in names), strict=True) for batch in batches)
            for number, values in enumerate(chain.from_iterable(rows), 1):
                yield number, list(values)
    except (ArrowException, OSError) as error:
        raise UserError(f"{label}: truncated or damaged ({' '.join(str(error).split())}); get a fresh copy") from None


READERS: dict[str, Callable[[BinaryIO, str, Reading, Fields], Rows]] = {
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".parquet": parquet_rows,
}


def rows_in(packed: Packed, suffix: str, reading: Reading, fields: Fields) -> Rows:
    """The rows of a file whose name ends so; UserError naming the one that does not fit."""
    with packed.open() as stream:
        yield from READERS[suffix](stream, packed.label, reading, fields)


def place_of(packed: Packed, suffix: str, number: int) -> str:
    """A row as messages name it."""
    return f"{packed.label}, {'row' if suffix == '.parquet' else 'line'} {number:,}"


def texts_in(packed: Packed, suffix: str, reading: Reading) -> Iterator[tuple[int, str]]:
    """The same of the one field that is the text: `text`, or the only one there is, where the settings name none."""
    names = [FIELD] if reading.field is None else [reading.field] if isinstance(reading.field, str) else reading.field
    mend = (
        "set corpus.field to its name, or where other tables have others to a list of names; or let corpus.pattern "
        "leave this file out"
    )
    for number, (value,) in rows_in(packed, suffix, reading, Fields([names], mend, only=reading.field is None)):
        if value is not None and not isinstance(value, str):
            what = f"the field is no text but {type(value).__name__}; let corpus.field name one of texts"
            raise UserError(f"{place_of(packed, suffix, number)}: {what}")
        yield number, value or ""


def _mark(first: str, fields: Fields) -> str:
    """What stands between the fields of a .csv: what its first line says, or what parts the names there."""
    if stated := re.fullmatch(f"sep=([{MARKS}])\n?", first):
        return stated[1]
    names = {mark: next(csv.reader([first], delimiter=mark), []) for mark in MARKS}
    wanted = (mark for mark in MARKS if fields.named_in(names[mark]))
    return next(wanted, max(MARKS, key=lambda mark: len(names[mark])))


def _table_rows(rows: Any, label: str, fields: Fields) -> Rows:
    csv.field_size_limit(LONGEST)
    try:
        header: list[str] = next(rows, [])
        columns = [header.index(name) for name in fields.of(header, f"{label}, line {max(rows.line_num, 1)}")]
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                named = f"{len(row)} fields where the first line names {len(header)}"
                raise UserError(f"{label}, line {rows.line_num:,}: {named}")
            yield rows.line_num, [row[column] for column in columns]
    except csv.Error as error:
        quoted = "a field with quotes in it is quoted, and they doubled"
        raise UserError(f"{label}, line {rows.line_num:,}: {error}; {quoted}") from None


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


def _ended_lines(stream: BinaryIO, label: str, reading: Reading) -> Iterator[str]:
    return (f"{line}\n" for line in whole_lines(stream, label, reading))
