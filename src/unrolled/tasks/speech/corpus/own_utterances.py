"""The user's own utterances: a folder of recordings, and a file that says what is heard in each.

    a/1.wav<tab>turn the light on<tab>anna       file and text, and who speaks where known

UTF-8, fields apart by tabs. A first line "file<tab>text<tab>speaker<tab>split" may name the columns, in any order;
split says train, valid or test. Where no split is stated, whole speakers are held back if there are three at least, and
else utterances; see `held_back.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import click

from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.held_back import splits_of
from unrolled.tasks.speech.corpus.sound import audio_files, folder_of, read_sounds
from unrolled.tasks.speech.corpus.utterances import NOBODY, Utterance, checked_word

COLUMNS = ("file", "text", "speaker", "split")


class Line(NamedTuple):
    """A line of the transcript; ``speaker`` and ``split`` are None where it has no such column."""

    file: str
    text: str
    speaker: str | None
    split: str | None
    place: str


def own_utterances(corpus: Mapping[str, Any]) -> tuple[dict[str, list[Utterance]], str]:
    """The sets by name, and how they were split; ``corpus``: that section.

    Says on stderr how many recordings no line names. UserError with file and line for a transcript that is none, and
    as `read_sounds` and `splits_of`.
    """
    folder, transcript = folder_of(corpus["path"]), corpus["transcript"] or ""
    lines = sorted(read_transcript(folder, transcript))  # by file
    _say_what_is_left_out(folder, lines, transcript)
    splits, how = splits_of(
        [line.speaker for line in lines],
        [line.split for line in lines],
        unseen=corpus["unseen"],
        shares={"test": corpus["test_share"], "valid": corpus["valid_share"]},
        seed=corpus["seed"],
    )
    sounds = read_sounds([folder / line.file for line in lines], corpus["sample_rate"])
    sets: dict[str, list[Utterance]] = {name: [] for name in (*SPLITS, *(["unseen"] if "unseen" in splits else []))}
    for line, split, samples in zip(lines, splits, sounds, strict=True):
        sets[split].append(Utterance(line.text, line.speaker or NOBODY, line.file, samples))
    return sets, how


def read_transcript(folder: Path, name: str) -> list[Line]:
    """The lines in their order; UserError names the first that is wrong."""
    path = folder / name
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise UserError(f"corpus.transcript: {name} leaves {folder}, which DVC watches; put the file into it")
    if not path.is_file():
        raise UserError(f"corpus.transcript: {path} is no file; it says, a line a recording, file<tab>text")
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path} is empty; a line is file<tab>text")
    columns, has_header = _columns(rows[0], path)
    lines, seen = [], dict[str, str]()
    for number, row in enumerate(rows, 1):
        if number == 1 and has_header:
            continue
        line = _line(row, columns, f"{path}:{number}", folder)
        if before := seen.get(line.file):
            raise UserError(f"{line.place}: {line.file} is there twice, see {before} too; take one of them out")
        seen[line.file] = line.place
        lines.append(line)
    if not lines:
        raise UserError(f"{path} holds a header alone; a line is file<tab>text")
    return lines


def _rows(path: Path) -> Iterator[list[str]]:
    r"""The fields of each line, cut at \n and \r\n; empty lines at the end are none."""
    empty = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
            if "\r" in text:
                raise UserError(f"{path}:{number}: a carriage return within a line; save the file with line feeds")
            if "\0" in text:
                raise UserError(f"{path}:{number}: not text but binary (it holds a NUL); save the file as UTF-8")
            if not text.strip():
                empty = empty or number
                continue
            if empty:
                raise UserError(f"{path}:{empty}: an empty line; take it out, or say which file it is about")
            yield [field.strip() for field in text.split("\t")]


def _columns(row: Sequence[str], path: Path) -> tuple[list[str], bool]:
    """The names of the columns, and whether the first line names them; else they are the usual ones."""
    first = [name.lower() for name in row]
    if "file" not in first or "text" not in first:
        if len(first) > len(COLUMNS[:-1]):
            raise UserError(f"{path}:1: {len(first)} fields; name them in a header line, as {'<tab>'.join(COLUMNS)}")
        return list(COLUMNS[: len(first)]), False
    if twice := [name for name in COLUMNS if first.count(name) > 1]:
        raise UserError(f"{path}:1: the column '{twice[0]}' is there twice; name one of them otherwise")
    if others := [repr(name) for name in first if name not in COLUMNS]:
        click.echo(f"{path}:1: not read: the columns {', '.join(others)} (known: {', '.join(COLUMNS)})", err=True)
    return first, True


def _line(row: Sequence[str], columns: Sequence[str], place: str, folder: Path) -> Line:
    if len(row) < 2:
        raise UserError(f"{place}: one field; a line is file<tab>text, with a tab between them")
    if len(row) != len(columns):
        raise UserError(f"{place}: {len(row)} fields where the first line has {len(columns)}; set a tab between fields")
    fields = dict(zip(columns, row, strict=True))
    for name in COLUMNS:
        if not fields.get(name, "-"):
            raise UserError(f"{place}: the {name} is empty; give it {'words' if name == 'text' else 'one'}")
    split = fields.get("split")
    if split not in (None, *SPLITS):
        raise UserError(f"{place}: the split is {split!r}; it is {', '.join(SPLITS[:-1])} or {SPLITS[-1]}")
    text = " ".join(checked_word(word, place) for word in fields["text"].split())
    return Line(_file(fields["file"], place, folder), text, fields.get("speaker"), split, place)


def _file(name: str, place: str, folder: Path) -> str:
    """As it is named within the folder, however it was written."""
    file = PurePosixPath(name)
    if file.is_absolute() or ".." in file.parts:
        raise UserError(f"{place}: {name!r} leaves the folder; name a file within {folder}")
    if not (folder / file).is_file():
        header = "; a header names the columns 'file' and 'text'" if place.endswith(":1") else ""
        raise UserError(f"{place}: there is no file {folder / file}{header or '; add it, or take the line out'}")
    return file.as_posix()


def _say_what_is_left_out(folder: Path, lines: Sequence[Line], transcript: str) -> None:
    names = {line.file for line in lines}
    files = [path.relative_to(folder).as_posix() for path in audio_files(folder)]
    if left_out := [name for name in files if name not in names]:
        said = (
            f"{len(left_out):,} of {len(files):,} recordings are in no line of {folder / transcript} and are left out"
        )
        click.echo(f"{said}, as {left_out[0]!r}", err=True)
