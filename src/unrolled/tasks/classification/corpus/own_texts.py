"""The user's own labelled texts: a folder a label, a file a label, or a table with a column of texts and one of labels.

    reviews/good/1.txt  reviews/good/2.txt  reviews/bad/1.txt     each file a text, its folder's name the label
    names/English.txt   names/Greek.txt                           each line a text, its file's name the label
    mail.csv, mail.tsv                                            a row a text, the columns named in the first line,
                                                                  those of a .csv also between semicolons or tabs
    mail.jsonl                                                    an object a line

All in UTF-8; every message names file and line.
"""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from unrolled.shell.errors import UserError
from unrolled.tasks.classification.corpus.labelled import LabelledText, one_line

TABLES = (".csv", ".tsv")
MARKS = ",;\t"  # between fields of a .csv: some countries' spreadsheets write the second
SPLIT_NAMES = {"train", "training", "dev", "valid", "validation", "val", "test"}
LONGEST = 10**9  # characters of a field; csv's own limit is shorter than many a text


def own_texts(path: Path, *, text_column: str, label_column: str) -> Iterator[LabelledText]:
    """The texts in the order of their files' names, and of their lines.

    UserError for a path that holds no such texts, bytes that are not UTF-8, a column that is missing, a row that does
    not fit, an empty text or label, and one that is no Unicode.
    """
    if not path.exists():
        raise UserError(f"corpus.path: {path} does not exist; name a folder, or a .csv, .tsv or .jsonl file")
    if path.is_dir():
        texts = _folder(path)
    elif path.suffix.lower() in TABLES:
        texts = _table(path, text_column, label_column)
    elif path.suffix.lower() == ".jsonl":
        texts = _objects(path, text_column, label_column)
    else:
        raise UserError(f"corpus.path: {path} is no folder, .csv, .tsv or .jsonl file; labelled texts come in these")
    if (first := next(texts, None)) is None:
        raise UserError(f"{path}: there are no texts in it; give each a line, with its label")
    yield first
    yield from texts


def _folder(path: Path) -> Iterator[LabelledText]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
    if not files:
        raise UserError(f"corpus.path: the folder {path} is empty; put a folder, or a file, a label into it")
    nested = [file for file in files if file.parent != path]
    if nested and len(nested) < len(files):
        stray = next(file for file in files if file.parent == path)
        raise UserError(f"{stray} lies beside folders: is a label a folder or a file? use one of the two")
    _check_labels(path, files)
    for file in files:
        if nested:
            label = file.relative_to(path).parts[0]
            yield _checked(" ".join(_lines(file)), label, f"{file}:1")
        else:
            for number, line in enumerate(_lines(file), 1):
                if line.strip():  # a last line end, or a line between paragraphs
                    yield _checked(line, file.stem, f"{file}:{number}")


def _check_labels(path: Path, files: Sequence[Path]) -> None:
    """UserError where a file is a table, which would be read line by line, or the labels are the names of splits."""
    for file in files:
        if file.suffix.lower() in (*TABLES, ".jsonl"):
            raise UserError(f"{file} is a table, and a folder holds plain texts; let corpus.path name one table itself")
    labels = sorted({file.relative_to(path).with_suffix("").parts[0] for file in files})
    if len(labels) > 1 and set(map(str.lower, labels)) <= SPLIT_NAMES:
        raise UserError(
            f"{path}: {' and '.join(labels)} are names of splits, and would be the labels; put the texts of a label "
            "together, as the folds are drawn here"
        )


def _table(path: Path, text_column: str, label_column: str) -> Iterator[LabelledText]:
    csv.field_size_limit(LONGEST)
    lines, columns = _lines(path, ends=True), (text_column, label_column)
    rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)  # no quotes: a text may begin so
    try:
        if path.suffix.lower() == ".csv":
            first = next(lines, "")
            mark = _mark(first, columns)
            rows = csv.reader(chain([first], lines), delimiter=mark, strict=True)
            if first.rstrip("\r\n") == f"sep={mark}":  # for Excel, above the names
                next(rows)
        header = next(rows, [])
        _check_header(header, columns, f"{path}:{max(rows.line_num, 1)}")
        text, label = header.index(text_column), header.index(label_column)
        for row in rows:
            place = f"{path}:{rows.line_num}"
            if not row:
                continue
            if len(row) != len(header):
                raise UserError(f"{place}: {len(row)} fields where the first line names {len(header)} columns")
            yield _checked(row[text], row[label], place)
    except csv.Error as error:
        raise UserError(
            f"{path}:{rows.line_num}: {error}; a field with quotes in it is quoted, and they doubled"
        ) from None


def _check_header(header: Sequence[str], columns: Sequence[str], place: str) -> None:
    for column in columns:
        if column not in header:
            there = ", ".join(map(repr, header)) or "none"
            raise UserError(
                f"{place}: there is no column {column!r} (there are: {there}); set corpus.text_column and "
                "corpus.label_column"
            )
        if (times := header.count(column)) > 1:
            raise UserError(f"{place}: {times} columns are named {column!r}; rename all but the one that is meant")


def _mark(first: str, columns: Sequence[str]) -> str:
    """What stands between the fields of a .csv: what its first line says, or parts the names of the columns there."""
    if stated := re.fullmatch(f"sep=([{MARKS}])[\r\n]*", first):
        return stated[1]
    names = {mark: next(csv.reader([first], delimiter=mark), []) for mark in MARKS}
    return next((mark for mark in MARKS if set(columns) <= set(names[mark])), max(MARKS, key=lambda m: len(names[m])))


def _objects(path: Path, text_column: str, label_column: str) -> Iterator[LabelledText]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            found: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: not JSON ({str(error).partition(':')[0]}); a line is one object") from None
        if not isinstance(found, dict):
            raise UserError(f"{place}: a line is one JSON object, with a text and a label")
        for column in (text_column, label_column):
            if column not in found:
                raise UserError(f"{place}: the object has no {column!r} (it has: {', '.join(map(repr, found))})")
        text, label = found[text_column], found[label_column]
        if not isinstance(text, str) or isinstance(label, (dict, list, float)) or label is None:
            raise UserError(f"{place}: {text_column!r} must be a text, and {label_column!r} a name or a whole number")
        yield _checked(text, label if isinstance(label, str) else json.dumps(label), place)


def _checked(text: str, label: str, place: str) -> LabelledText:
    text, label = one_line(text), one_line(label)
    place = place.encode("utf-8", "backslashreplace").decode("utf-8")  # a name of a file may be any bytes
    if "\0" in text:
        raise UserError(f"{place}: not text but binary (it holds a NUL)")
    if half := re.search(r"[\ud800-\udfff]", text + label):  # of JSON's escapes, or in the name of a file
        raise UserError(f"{place}: {half[0]!r} is no character; take it out")
    if not text:
        raise UserError(f"{place}: the text is empty; give it words, or take it out")
    if not label:
        raise UserError(f"{place}: the label is empty; give the text one, or take it out")
    return LabelledText(text, label, place)


def _lines(path: Path, *, ends: bool = False) -> Iterator[str]:
    r"""The lines of a file in strict UTF-8, with or without BOM, cut at \n and \r\n; with their ``ends`` if wanted."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: not UTF-8 ({error.reason}); convert the file to UTF-8") from None
            yield text if ends else text.rstrip("\r\n")


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)
