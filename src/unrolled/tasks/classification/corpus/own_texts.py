"""The user's own labelled texts: a folder a label, a file a label, or a table with a column of texts and one of labels.

    reviews/good/1.txt  reviews/good/2.txt  reviews/bad/1.txt     each file a text, its folder's name the label
    names/English.txt   names/Greek.txt                           each line a text, its file's name the label
    mail.csv, mail.tsv, mail.parquet                              a row a text, the columns named in the first line
    mail.jsonl                                                    an object a line

Any file may be packed, as mail.csv.gz. Text is in UTF-8, or says by its mark in what else; every message names file and
line.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from unrolled.corpus.files.kinds import HEAD, document_of
from unrolled.corpus.files.lines import PLAIN, whole_lines
from unrolled.corpus.files.packed import UNPACKERS, Packed, unpacked
from unrolled.corpus.files.rows import READERS, Fields, place_of, rows_in
from unrolled.shell.errors import UserError
from unrolled.tasks.classification.corpus.labelled import LabelledText, one_line

TABLES = ".csv, .tsv, .jsonl or .parquet"
SPLIT_NAMES = {"train", "training", "dev", "valid", "validation", "val", "test"}


def own_texts(path: Path, *, text_column: str, label_column: str) -> Iterator[LabelledText]:
    """The texts in the order of their files' names, and of their lines.

    UserError for a path that holds no such texts, bytes that are not UTF-8, a column that is missing, a row that does
    not fit, an empty text or label, and one that is no Unicode.
    """
    if not path.exists():
        raise UserError(f"corpus.path: {path} does not exist; name a folder, or a {TABLES} file")
    texts = _folder(path) if path.is_dir() else _table(path, text_column, label_column)
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
            label = Path(file.stem).stem if file.suffix.lower() in UNPACKERS else file.stem
            for number, line in enumerate(_lines(file), 1):
                if line.strip():  # a last line end, or a line between paragraphs
                    yield _checked(line, label, f"{file}:{number}")


def _check_labels(path: Path, files: Sequence[Path]) -> None:
    """UserError where a file is a table, which would be read line by line, or the labels are the names of splits."""
    for file in files:
        if _kind_of(file)[0] in READERS:
            raise UserError(f"{file} is a table, and a folder holds plain texts; let corpus.path name one table itself")
    labels = sorted({file.relative_to(path).with_suffix("").parts[0] for file in files})
    if len(labels) > 1 and set(map(str.lower, labels)) <= SPLIT_NAMES:
        raise UserError(
            f"{path}: {' and '.join(labels)} are names of splits, and would be the labels; put the texts of a label "
            "together, as the folds are drawn here"
        )


def _table(path: Path, text_column: str, label_column: str) -> Iterator[LabelledText]:
    suffix, packed = _kind_of(path)
    if suffix not in READERS:
        raise UserError(f"corpus.path: {path} is no folder and no {TABLES} file; labelled texts come in these")
    fields = Fields([[text_column], [label_column]], "set corpus.text_column and corpus.label_column")
    for number, (text, label) in rows_in(packed, suffix, PLAIN, fields):
        if not isinstance(text, str) or not isinstance(label, (str, int)):
            place = place_of(packed, suffix, number)
            raise UserError(f"{place}: {text_column!r} must be a text, and {label_column!r} a name or a whole number")
        yield _checked(text, label if isinstance(label, str) else json.dumps(label), f"{path}:{number}")


def _kind_of(path: Path) -> tuple[str, Packed]:
    """The end of its name, and what it holds; UserError where another program takes out the text."""
    file = Packed(path.name, str(path), path.stat().st_size, lambda: path.open("rb"))
    suffix, inner = unpacked(file)
    end = "" if inner is file else path.suffix
    if what := document_of(path.name.removesuffix(end), inner.head(HEAD), end):
        raise UserError(f"corpus.path: {path} is {what}")
    return suffix, inner


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


def _lines(path: Path) -> Iterator[str]:
    with _kind_of(path)[1].open() as stream:
        yield from whole_lines(stream, str(path))


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)
