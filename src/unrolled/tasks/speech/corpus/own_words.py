"""The user's own isolated words: a folder of recordings, one word each, whose names say what is heard.

    {word}_{speaker}_{number}       yes_anna_1.wav  yes_anna_2.wav  no_anna_1.wav
    {speaker}/{word}_{number}       anna/yes_1.flac  ben/yes_1.flac
    {word}/{speaker}_nohash_{number}

A field holds no slash, and none of the signs that stand beside it. {speaker} and {number} may be left out.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from string import Formatter

import click

from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.recordings import Recording
from unrolled.tasks.speech.corpus.sound import AUDIO, audio_files, folder_of, read_sounds
from unrolled.tasks.speech.corpus.utterances import NOBODY, checked_word

FIELDS = ("word", "speaker", "number")
EXAMPLE = "{word}_{speaker}_{number}"


def own_words(path: str | None, pattern: str | None, rate: int) -> list[Recording]:
    """The recordings below ``path`` at ``rate``, sorted by word, speaker and number.

    Says on stderr how many files do not match ``pattern``. UserError where none does, for a pattern that is none, two
    files that are the same recording, and as `read_sounds`.
    """
    folder = folder_of(path)
    named = _named(folder, audio_files(folder), pattern or "")
    order = [(*key, number) for key in sorted(named) for number in sorted(named[key], key=_as_counted)]
    sounds = read_sounds([named[word, speaker][number] for word, speaker, number in order], rate)
    taken: dict[tuple[str, str], int] = defaultdict(int)
    recordings = []
    for (word, speaker, _), samples in zip(order, sounds, strict=True):
        recordings.append(Recording(word, speaker, taken[word, speaker], samples))
        taken[word, speaker] += 1
    return recordings


def _named(folder: Path, files: Sequence[Path], pattern: str) -> dict[tuple[str, str], dict[str, Path]]:
    """By word and speaker, and the number as it is written."""
    wanted, with_ending = pattern_of(pattern), Path(pattern).suffix.lower() in AUDIO
    found: dict[tuple[str, str], dict[str, Path]] = defaultdict(dict)
    left_out = []
    for file in files:
        name = file.relative_to(folder)
        match = wanted.fullmatch((name if with_ending else name.with_suffix("")).as_posix())
        if match is None:
            left_out.append(name.as_posix())
            continue
        fields = {"speaker": NOBODY, "number": name.as_posix(), **match.groupdict()}
        same = found[checked_word(fields["word"], str(file)), fields["speaker"]]
        if before := same.get(fields["number"]):
            raise UserError(f"{before} and {file} are the same recording by corpus.pattern {pattern!r}; rename one")
        same[fields["number"]] = file
    if not found:
        first = f", as {left_out[0]!r}" if left_out else ""
        raise UserError(f"corpus.pattern: none of the {len(files):,} recordings in {folder} matches {pattern!r}{first}")
    if left_out:
        said = (
            f"{len(left_out):,} of {len(files):,} recordings do not match corpus.pattern {pattern!r} and are left out"
        )
        click.echo(f"{said}, as {left_out[0]!r}", err=True)
    return found


def pattern_of(pattern: str) -> re.Pattern[str]:
    """What matches the names that the pattern describes; UserError where it describes none."""
    try:
        parts = [(literal, field) for literal, field, form, how in Formatter().parse(pattern) if not form and not how]
    except ValueError as error:
        raise UserError(f"corpus.pattern: {pattern!r}: {error}; {EXAMPLE!r} is one") from None
    fields = [field for _, field in parts if field is not None]
    literals = [*(literal for literal, _ in parts), ""]
    if "word" not in fields or len(set(fields)) < len(fields) or not set(fields) <= set(FIELDS):
        raise UserError(
            f"corpus.pattern: {pattern!r} takes {{word}} once, and no others than {{speaker}} and {{number}}"
        )
    if any(not literal for literal in literals[1 : len(fields)]):
        raise UserError(f"corpus.pattern: nothing stands between two fields of {pattern!r}; {EXAMPLE!r} is one")
    built = ""
    for (literal, field), (_, after) in zip(parts, pairwise(literals), strict=True):
        ends = "".join(re.escape(each) for each in sorted({"/", *(literal + after)}) if not each.isalnum())
        white = r"\s" if field == "word" else ""
        built += re.escape(literal) + (f"(?P<{field}>[^{ends}{white}]+)" if field else "")
    return re.compile(built)


def _as_counted(number: str) -> list[tuple[int, str]]:
    """A key that puts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", number)]
