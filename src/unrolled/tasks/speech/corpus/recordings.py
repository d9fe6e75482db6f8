"""Recorded words, one a recording, before they are joined; and the digits of the Free Spoken Digit Dataset."""

import io
import re
import wave
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.corpus.files.packed import archive_errors
from unrolled.shell.errors import UserError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT = re.compile(r"(?:.*/)?(?P<word>\d)_(?P<speaker>[a-z]+)_(?P<number>\d+)\.wav")
RATE = 8000
NOISE = 6.0  # RMS of the silence, of 32,768: measured in recordings that were not trimmed

Samples = NDArray[np.int16]


class Recording(NamedTuple):
    """One spoken word."""

    word: str
    speaker: str
    number: int  # of this word by this speaker, from 0
    samples: Samples


def free_spoken_digits(archive: Path) -> list[Recording]:
    """All recordings of the archive, sorted by word, speaker and number.

    UserError for an archive that is damaged or holds none, and a recording that is no 8 kHz mono WAV, or cut off.
    """
    found = []
    with archive_errors(str(archive)), zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            if match := DIGIT.fullmatch(name):
                samples = _wave(files.read(name), f"{archive}: {name}")
                word = DIGITS[int(match["word"])]
                found.append(Recording(word, match["speaker"], int(match["number"]), samples))
    if not found:
        raise UserError(f"{archive} holds no recording <digit>_<speaker>_<number>.wav")
    return sorted(found, key=lambda each: each[:3])


def _wave(content: bytes, place: str) -> Samples:
    try:
        with wave.open(io.BytesIO(content)) as file:
            form: tuple[Any, ...] = file.getparams()[:3]
            count, read = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise UserError(f"{place} is no WAV file ({str(error) or 'it is cut off'}); get a fresh copy") from None
    if form != (1, 2, RATE):
        raise UserError(f"{place} has channels, bytes a sample and rate {form}, not (1, 2, {RATE}); get a fresh copy")
    if not count or len(read) < 2 * count:
        raise UserError(f"{place} is cut off after {len(read) // 2:,} of {count:,} samples; get a fresh copy")
    return np.frombuffer(read, dtype="<i2").astype(np.int16)
