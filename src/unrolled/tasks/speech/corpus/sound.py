"""The user's own recordings, of any format, rate and number of channels, as samples at the rate that is wanted.

Channels are mixed to one and the rate is changed (`scipy.signal.resample_poly`), which is said once for all files. What
cannot be heard, or only in part, is an error that names the file: no audio, cut off, silent, shorter than a frame of
features, longer than an utterance. Clipping is told, as it can still be understood. Where an editor, a codec or a noise
gate has left nothing at all, there is noise as of a microphone instead: the logarithm of nothing is so far from that of
anything heard that the mean over an utterance, which is taken off, would be of it.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click
import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.features import FRAME, frame_count, frame_sizes
from unrolled.tasks.speech.corpus.recordings import NOISE, Samples

LONGEST = 60  # seconds: what is longer holds more than an utterance
SLOWEST, FASTEST = 4_000, 400_000  # samples a second: speech is recorded between them
SCALE = 1 << 15  # what 16 bits write for 1.0
CLIPPED = 0.001  # the share of samples at full scale that is told
# How recordings are named; the last ones are known, so that the message can say how to convert them.
UNREADABLE = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".amr", ".3gp", ".mov")
AUDIO = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"),
    *(".rf64", ".sph", ".nist", ".voc", *UNREADABLE),
)
UNKNOWN_SIZE = 0x7FFF0000  # a recorder that writes to a pipe states as much, or more
UNSTATED = (1 << 63) - 1  # frames, by libsndfile, of a FLAC that was written to a pipe
OGG_BEGINS = b"OggS\0\x02"  # of a stream: a page of version 0 that is the first
KILOBITS = {  # a second, of a frame of MP3 by its number; of MPEG 1, and of MPEG 2 and 2.5 (ISO 11172-3, 13818-3)
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Sound(NamedTuple):
    """``rate`` and ``channels`` are those of the file, ``clipped`` its share of samples at full scale.

    ``filled``: whether noise was put where there was nothing.
    """

    samples: Samples
    rate: int
    channels: int
    clipped: float
    filled: bool


def read_sound(path: Path, rate: int) -> Samples:
    """The recording at ``rate``, int16 [N]; says on stderr what was done to it, UserError as `read_sounds`."""
    return read_sounds([path], rate)[0]


def read_sounds(paths: Sequence[Path], rate: int) -> list[Samples]:
    """The recordings at ``rate``, each int16 [N].

    Says on stderr how many were resampled, mixed, filled with noise, and clipped where they were recorded. UserError
    names the first that is missing or no audio, cut off, empty, silent throughout, shorter than 25 ms or longer than a
    minute.
    """
    sounds = [_sound(path, rate) for path in paths]
    _say_what_was_done(sounds, rate)
    if clipped := [path for path, sound in zip(paths, sounds, strict=True) if sound.clipped > CLIPPED]:
        share = max(sound.clipped for sound in sounds)
        more = f" and {len(clipped) - 1:,} more" if len(clipped) > 1 else ""
        are = "are" if more else "is"
        said = f"{clipped[0]}{more} {are} clipped (up to {share:.1%} of the samples at full scale)"
        click.echo(f"{said}: record with less gain", err=True)
    return [sound.samples for sound in sounds]


def audio_files(folder: Path) -> list[Path]:
    """The recordings of a folder and its sub-folders by their names' endings, sorted; hidden ones are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in AUDIO and path.is_file())
    shown = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(shown, key=lambda path: path.relative_to(folder).as_posix())


def folder_of(path: str | None) -> Path:
    """corpus.path, where it is a folder; else UserError."""
    if path is None or not os.path.isdir(path):
        said = (
            "is not set" if path is None else f"{path} is a file" if os.path.exists(path) else f"{path} does not exist"
        )
        raise UserError(f"corpus.path: {said}; name the folder that holds the recordings")
    return Path(path)


def _say_what_was_done(sounds: Sequence[Sound], rate: int) -> None:
    resampled = sorted({sound.rate for sound in sounds if sound.rate != rate})
    mixed = sum(sound.channels > 1 for sound in sounds)
    if resampled:
        count, rates = sum(sound.rate != rate for sound in sounds), ", ".join(f"{each:,}" for each in resampled)
        click.echo(f"resampled to {rate:,} Hz: {count:,} of {len(sounds):,} recordings (from {rates} Hz)", err=True)
    if mixed:
        click.echo(f"mixed to one channel: {mixed:,} of {len(sounds):,} recordings", err=True)
    if filled := sum(sound.filled for sound in sounds):
        said = f"noise put where nothing is recorded at all: {filled:,} of {len(sounds):,} recordings"
        click.echo(said, err=True)


def _sound(path: Path, rate: int) -> Sound:
    wave, own_rate = _read(path)
    _check_length(path, len(wave), own_rate)
    mixed = wave.mean(1)
    if not np.isfinite(mixed).all():
        raise UserError(f"{path} holds samples that are no numbers; export it again, as 16 bits a sample")
    clipped = float(np.mean(np.abs(wave).max(1) >= 1 - 1 / SCALE))
    common = gcd(rate, own_rate)
    at_rate = mixed if rate == own_rate else resample_poly(mixed, rate // common, own_rate // common)
    samples = np.clip(np.round(at_rate * SCALE), -SCALE, SCALE - 1).astype(np.int16)
    if np.ptp(mixed) * SCALE < 1 or not samples.any():
        if np.ptp(wave, axis=0).max() * SCALE >= 1:
            raise UserError(
                f"{path} is silent once its channels are mixed, as they cancel out; export one of them alone"
            )
        raise UserError(f"{path} is silent throughout; record it again, or leave it out")
    if not frame_count(len(samples), rate):
        _too_short(path, len(samples) / rate)
    nothing = _of_nothing(samples, frame_sizes(rate)[0])
    noise = np.random.default_rng(0).normal(0, NOISE, len(samples)).round().astype(np.int16)
    return Sound(np.where(nothing, noise, samples), own_rate, wave.shape[1], clipped, bool(nothing.any()))


def _of_nothing(samples: Samples, least: int) -> NDArray[np.bool_]:
    """Which samples are 0 in a row of so many zeros at least: no microphone hears that."""
    zero = np.concatenate([[False], samples == 0, [False]])
    first, last = np.flatnonzero(zero[1:] != zero[:-1]).reshape(-1, 2).T
    marks = np.zeros(len(zero), dtype=np.int64)
    long = last - first >= least
    marks[first[long]], marks[last[long]] = 1, -1
    found: NDArray[np.bool_] = marks.cumsum()[:-2] > 0
    return found


def _read(path: Path) -> tuple[NDArray[Any], int]:
    """[N, channels] between -1 and 1, and the rate; a long recording is refused before it is read."""
    if not path.is_file():
        raise UserError(f"{path} is no file; name a recording")
    if len(rates := _rates_of_unstated_length(path)) > 1:
        raise UserError(f"{path} is an MP3 of varying bit rate that does not state how long it is; {_convert(path)}")
    try:
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else str(path)) as file:
            frames, rate = file.frames, file.samplerate
            if not SLOWEST <= rate <= FASTEST:
                raise UserError(f"{path} states {rate:,} samples a second, as nobody records speech; export it again")
            if frames == UNSTATED:
                raise UserError(f"{path} does not state how long it is, as it was written to a pipe; {_convert(path)}")
            if frames > LONGEST * rate:
                _check_length(path, frames, rate)
            wave = file.read(frames, dtype="float64", always_2d=True)  # some can be read but not sought in
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # TypeError: samples without a header
        _unreadable(path, error)
    if _is_cut_off(path) or (len(wave) < frames and not rates):
        raise UserError(f"{path} is cut off: it holds less than its header says; copy or record it again")
    return wave, rate


def _rates_of_unstated_length(path: Path) -> set[int]:
    """The bit rates of an MP3 that does not state how long it is: libsndfile guesses that by the first; else none.

    UserError for Ogg files one behind another, of which libsndfile reads the first, and says nothing.
    """
    with path.open("rb") as file:
        head = file.read(10)
        if head[:4] == b"OggS" and (head + file.read()).count(OGG_BEGINS) > 1:
            said = "holds several recordings one behind another, of which only the first would be read"
            raise UserError(f"{path} {said}; {_convert(path)}")
        if head[:3] != b"ID3" and head[:1] != b"\xff":
            return set()
        size = sum((byte & 127) << 7 * place for place, byte in enumerate(head[:5:-1]))
        file.seek(10 + size if head[:3] == b"ID3" else 0)
        return set(_bit_rates(file.read()))


def _bit_rates(content: bytes) -> Iterator[int]:
    """Of each frame of an MP3; of one that states its length in the first, or of another format, nothing."""
    place = 0
    while len(head := content[place : place + 4]) == 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:  # layer III
        version, number, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
        if version == 1 or number in (0, 15) or rate == 3:
            return
        if not place and any(name in content[:256] for name in (b"Xing", b"Info", b"VBRI")):
            return
        kilobits = KILOBITS[3 if version == 3 else 2][number]
        hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
        yield kilobits
        place += (144 if version == 3 else 72) * kilobits * 1000 // hertz + (head[2] >> 1 & 1)


def _unreadable(path: Path, error: Exception) -> NoReturn:
    if not path.stat().st_size:
        raise UserError(f"{path} is empty (0 bytes); copy or record it again") from None
    why = " ".join(str(error).rpartition(": ")[2].split()).rstrip(".")
    raise UserError(f"{path} is no recording that can be read ({why}); {_convert(path)}") from None


def _convert(path: Path) -> str:
    other = f"{path.stem}.flac" if path.suffix.lower() != ".flac" else f"{path.stem}.wav"
    return f"convert it, as with: ffmpeg -i {shlex.quote(path.name)} {shlex.quote(other)}"


def _check_length(path: Path, samples: int, rate: int) -> None:
    if not samples:
        raise UserError(f"{path} holds no samples; record it again, or leave it out")
    if samples > LONGEST * rate:
        raise UserError(f"{path} is {samples / rate:.1f} s long; cut it into utterances of at most {LONGEST} s")
    if not frame_count(samples, rate):
        _too_short(path, samples / rate)


def _too_short(path: Path, seconds: float) -> NoReturn:
    raise UserError(
        f"{path} is {1000 * seconds:.1f} ms long, shorter than the {1000 * FRAME:.0f} ms of a frame; leave it out"
    )


def _is_cut_off(path: Path) -> bool:
    """By the size that the header states, a padding byte aside, as soundfile reads what is there and says nothing."""
    with path.open("rb") as file:
        head = file.read(28)
    little, big = (partial(int.from_bytes, byteorder=order) for order in ("little", "big"))
    if head[:4] == b"RIFF":
        stated = little(head[4:8]) + 7
    elif head[:4] == b"FORM":
        stated = big(head[4:8]) + 7
    elif head[:4] == b".snd":
        stated = big(head[4:8]) + big(head[8:12])
    elif head[:4] == b"RF64" and head[12:16] == b"ds64":
        return path.stat().st_size < little(head[20:28]) + 7
    elif head[:4] == b"riff":  # Wave64
        return path.stat().st_size < little(head[16:24])
    else:
        return False
    return path.stat().st_size < stated < UNKNOWN_SIZE
