"""The user's own recordings: what is read of them, how they are split, and what is told of those that are wrong."""

import wave
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.corpus import ARCHIVE, encode, facts, read
from unrolled.tasks.speech.corpus.features import frame_count
from unrolled.tasks.speech.corpus.held_back import splits_of
from unrolled.tasks.speech.corpus.own_utterances import own_utterances, read_transcript
from unrolled.tasks.speech.corpus.own_words import own_words, pattern_of
from unrolled.tasks.speech.corpus.recordings import free_spoken_digits
from unrolled.tasks.speech.corpus.sound import read_sound
from unrolled.tasks.speech.corpus.utterances import read_utterances

RATE = 8000
SHARES = {"test": 0.2, "valid": 0.1}
CORPUS: dict[str, Any] = {
    "name": "utterances", "path": None, "pattern": "{word}_{speaker}_{number}", "transcript": "said.tsv",
    "sample_rate": RATE, "unseen": [], "strings": {"train": 12, "valid": 4, "test": 4}, "lengths": [2, 3],
    "longer": None, "branching": 3, "valid_share": 0.1, "test_share": 0.2, "seed": 1,
}  # fmt: skip


def tone(pitch: float = 440.0, seconds: float = 0.1, rate: int = RATE) -> Any:
    """A tone between -.5 and .5, [N]."""
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def record(path: Path, samples: Any = None, rate: int = RATE, **form: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if samples is None else samples, rate, **form)
    return path


def said_of(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def told(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_sound(path, RATE)
    assert str(path) in str(error.value)
    return said_of(error)


# one recording


def test_sixteen_bits_are_read_to_the_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-(1 << 15) + 1, 1 << 15, 900).astype(np.int16)
    assert np.array_equal(read_sound(record(tmp_path / "a.wav", samples), RATE), samples)


@pytest.mark.parametrize("rate", [RATE, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.wav", {}), ("a.wav", {"subtype": "PCM_24"}), ("a.wav", {"subtype": "FLOAT"}), ("a.flac", {}),
        ("a.ogg", {}), ("a.wav", {"format": "MP3"}), ("a.aiff", {}), ("a.wav", {"subtype": "PCM_U8"}),
    ],
)  # fmt: skip
def test_any_format_rate_and_number_of_channels_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, form: Mapping[str, Any], rate: int
) -> None:
    left, right = tone(440, 0.5, rate), tone(660, 0.5, rate)
    found = read_sound(record(tmp_path / name, np.stack([left, right], 1), rate, **form), RATE) / (1 << 15)
    wanted = (tone(440, 0.5) + tone(660, 0.5)) / 2
    middle = slice(800, 3200)  # the filter begins and ends gently
    assert abs(len(found) - len(wanted)) <= 1 and np.corrcoef(found[middle], wanted[middle])[0, 1] > 0.995
    assert found[middle].std() == pytest.approx(wanted[middle].std(), rel=0.05)
    resampled = f"resampled to 8,000 Hz: 1 of 1 recordings (from {rate:,} Hz)\n" if rate != RATE else ""
    assert capsys.readouterr().err == f"{resampled}mixed to one channel: 1 of 1 recordings\n"


def test_what_is_higher_than_the_rate_can_hold_is_left_out(tmp_path: Path) -> None:
    high = record(tmp_path / "high.wav", tone(6000, 0.5, 16000) + tone(500, 0.5, 16000) / 10, 16000)
    found = read_sound(high, RATE)[400:-400] / (1 << 15)
    assert found.std() == pytest.approx(0.05 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((0, 1)), "holds no samples; record it again, or leave it out"),
        (np.full(1, 0.5), "is 0.1 ms long, shorter than the 25 ms of a frame; leave it out"),
        (tone()[:199], "is 24.9 ms long, shorter than the 25 ms of a frame; leave it out"),
        (np.zeros(900), "is silent throughout; record it again, or leave it out"),
        (np.full(900, 0.25), "is silent throughout; record it again, or leave it out"),
        (
            np.stack([tone(), -tone()], 1),
            "is silent once its channels are mixed, as they cancel out; export one of them alone",
        ),
        (tone(5, 60.01), "is 60.0 s long; cut it into utterances of at most 60 s"),
    ],
)
def test_a_recording_without_an_utterance_is_told(tmp_path: Path, samples: Any, said: str) -> None:
    path = record(tmp_path / "a.wav", samples)
    assert told(path) == f"{path} {said}"


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no sound\n" * 99)
    assert "is no recording that can be read (Format not recognised); convert it, as with: ffmpeg -i text.wav" in told(
        text
    )
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert "is empty (0 bytes)" in told(empty)
    headless = tmp_path / "a.raw"
    headless.write_bytes(bytes(range(256)) * 9)
    assert "is no recording that can be read" in told(headless)
    assert "is no file; name a recording" in told(tmp_path / "missing.wav")
    assert "is no file; name a recording" in told(tmp_path)
    for rate in (3999, 400_001):
        said = f"states {rate:,} samples a second, as nobody records speech; export it again"
        assert said in told(record(tmp_path / "rate.wav", tone(), rate))
    broken = record(tmp_path / "nan.wav", np.where(tone() > 0.4, np.nan, tone()), subtype="FLOAT")
    assert "holds samples that are no numbers" in told(broken)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.wav", {}), ("a.wav", {"subtype": "PCM_24"}), ("a.wav", {"subtype": "FLOAT"}), ("a.flac", {}),
        ("a.aiff", {}), ("a.mp3", {}), ("a.au", {}), ("a.w64", {}), ("a.wav", {"format": "RF64"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.01])
def test_a_recording_that_is_cut_off_is_told(tmp_path: Path, name: str, form: Mapping[str, Any], kept: float) -> None:
    content = record(tmp_path / name, tone(440, 0.5), **form).read_bytes()
    (tmp_path / name).write_bytes(content[: round(len(content) * kept) - 1])
    assert "is cut off" in told(tmp_path / name) or "is no recording that can be read" in told(tmp_path / name)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_read_or_told(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(record(tmp_path / name, tone(440, 0.05), 16000).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content)
    try:
        found = read_sound(tmp_path / name, RATE)
    except UserError as error:
        assert "\n" not in str(error) and str(tmp_path / name) in str(error)
    else:
        assert found.dtype == np.int16 and frame_count(len(found), RATE)


def test_a_recording_of_unstated_size_is_read(tmp_path: Path) -> None:
    """As recorders write to a pipe."""
    path = record(tmp_path / "a.wav")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    assert len(read_sound(path, RATE)) == 800


def test_a_flac_of_unstated_length_is_told(tmp_path: Path) -> None:
    """As encoders write to a pipe; soundfile takes it for an endless one."""
    path = record(tmp_path / "a.flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the number of samples: 36 bits of the stream's description
    content[22:26] = bytes(4)
    path.write_bytes(content)
    said = "does not state how long it is, as it was written to a pipe; convert it, as with: ffmpeg -i a.flac a.wav"
    assert told(path) == f"{path} {said}"


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\2\0" + bytes(256)])
def test_an_mp3_of_varying_bit_rate_is_read_whole_or_told(tmp_path: Path, tag: bytes) -> None:
    """Where its first frame does not say how many there are, soundfile guesses by the rate of that one."""
    loud = np.where(np.arange(RATE) < RATE // 2, 0, np.random.default_rng(0).normal(0, 0.2, RATE))
    for mode in ("VARIABLE", "CONSTANT"):
        whole = record(tmp_path / "a.mp3", loud, format="MP3", bitrate_mode=mode, compression_level=0.5)
        assert len(read_sound(whole, RATE)) == RATE
        content = whole.read_bytes()
        second = content.index(content[:2], max(content.find(b"Xing"), content.find(b"Info")))
        (tmp_path / "b.mp3").write_bytes(tag + content[second:])
        if mode == "VARIABLE":
            assert "varying bit rate that does not state how long it is; convert it" in told(tmp_path / "b.mp3")
        else:
            assert len(read_sound(tmp_path / "b.mp3", RATE)) >= RATE


def test_ogg_files_one_behind_another_are_told(tmp_path: Path) -> None:
    one = record(tmp_path / "a.ogg", tone(), format="OGG").read_bytes()
    (tmp_path / "b.ogg").write_bytes(one + record(tmp_path / "c.ogg", tone(880), format="OGG").read_bytes())
    assert "several recordings one behind another, of which only the first would be read" in told(tmp_path / "b.ogg")


def test_what_cannot_be_sought_in_is_read(tmp_path: Path) -> None:
    """GSM 06.10, of telephones, in blocks of 320 samples."""
    assert len(read_sound(record(tmp_path / "a.wav", tone(440, 0.4), subtype="GSM610"), RATE)) == 3200


def test_where_nothing_is_recorded_there_is_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The logarithm of nothing would outweigh all that is heard."""
    whole, short = np.ones(200, dtype=np.int16), np.zeros(199, dtype=np.int16)
    path = record(tmp_path / "a.wav", np.concatenate([np.zeros(4000, dtype=np.int16), whole, short, whole, 0 * whole]))
    found = read_sound(path, RATE)
    assert found[4000:-200].tolist() == [*whole, *short, *whole]
    for part in (found[:4000], found[-200:]):
        assert part.std() == pytest.approx(6, rel=0.15)
    assert np.array_equal(read_sound(path, RATE), found)
    said = capsys.readouterr().err.splitlines()
    assert said == ["noise put where nothing is recorded at all: 1 of 1 recordings"] * 2


def test_clipping_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, gain in (("a_1", 4.0), ("a_2", 1.0), ("a_3", 8.0)):
        record(tmp_path / f"{name}.wav", np.clip(gain * tone(), -1, 1))
    own_words(str(tmp_path), "{word}_{number}", RATE)
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'a_1.wav'} and 1 more are clipped (up to ") and said.count("\n") == 1
    read_sound(tmp_path / "a_2.wav", RATE)
    assert capsys.readouterr().err == ""


# words


def words_in(folder: Path, names: Sequence[str]) -> str:
    for name in names:
        record(folder / name)
    return str(folder)


def test_words_are_read_from_the_names_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        "yes_anna_10.wav",
        "yes_anna_2.flac",
        "no_anna_1.wav",
        "yes_ben_1.ogg",
        "README.txt.wav",
        ".hidden_a_1.wav",
    ]
    (tmp_path / "notes_a_1.txt").write_text("no recording")
    found = own_words(words_in(tmp_path, names), "{word}_{speaker}_{number}", RATE)
    assert [each[:3] for each in found] == [
        ("no", "anna", 0), ("yes", "anna", 0), ("yes", "anna", 1), ("yes", "ben", 0),
    ]  # fmt: skip
    pattern = "'{word}_{speaker}_{number}'"
    said = f"1 of 5 recordings do not match corpus.pattern {pattern} and are left out, as 'README.txt.wav'\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("{speaker}/{word}_{number}", "anna/yes_1.wav", ("yes", "anna")),
        ("{word}/{speaker}_nohash_{number}", "yes/0a7_nohash_0.wav", ("yes", "0a7")),
        ("{word}_{number}", "é_1.wav", ("é", "unnamed")),
        ("{word}-{speaker}", "yes-anna_b.wav", ("yes", "anna_b")),
        ("{word}", "yes.wav", ("yes", "unnamed")),
        ("take {number} ({word})", "take 3 (yes).wav", ("yes", "unnamed")),
        ("{word}_{speaker}.wav", "yes_anna.wav", ("yes", "anna")),
        ("a.b/{word}_{{{speaker}}}", "a.b/yes_{anna}.wav", ("yes", "anna")),
    ],
)
def test_a_pattern_says_where_word_and_speaker_stand(tmp_path: Path, pattern: str, name: str, found: Any) -> None:
    (recording,) = own_words(words_in(tmp_path, [name]), pattern, RATE)
    assert recording[:2] == found


@pytest.mark.parametrize(
    "name", ["yes_1.wav", "sub/yes_anna_1.wav", "a b_anna_1.wav", "yes_anna_b_1.wav", "_anna_1.wav"]
)
def test_where_no_name_matches_it_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"^corpus.pattern: none of the 1 recordings in .* matches '{word}_.*', as '"):
        own_words(words_in(tmp_path, [name]), "{word}_{speaker}_{number}", RATE)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"^corpus.pattern: none of the 0 recordings in "):
        own_words(str(tmp_path), "{word}_{speaker}_{number}", RATE)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{speaker}",
        "{word}_{word}",
        "{word}_{name}",
        "{word",
        "word}",
        "{}",
        "{word}{speaker}",
        "{word:5}",
        "{word!r}",
    ],
)
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    with pytest.raises(UserError, match=r"^corpus.pattern: "):
        pattern_of(pattern)


@given(st.text("{}word_speakernumber/.:! ", max_size=30))
def test_any_pattern_is_one_or_is_told(pattern: str) -> None:
    try:
        assert "word" in pattern_of(pattern).groupindex
    except UserError as error:
        assert "\n" not in str(error)


def test_two_files_of_one_recording_are_told(tmp_path: Path) -> None:
    path = words_in(tmp_path, ["yes_anna_1.wav", "yes_anna_1.flac"])
    with pytest.raises(UserError, match=r"yes_anna_1.flac and .*yes_anna_1.wav are the same recording"):
        own_words(path, "{word}_{speaker}_{number}", RATE)


@pytest.mark.parametrize(
    ("path", "said"), [(None, "is not set"), ("nowhere", "nowhere does not exist"), ("a.wav", "a.wav is a file")]
)
def test_a_path_that_is_no_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "a.wav")
    for read_own in (lambda: own_words(path, "{word}", RATE), lambda: own_utterances(CORPUS | {"path": path})):
        with pytest.raises(UserError) as error:
            read_own()
        assert said_of(error) == f"corpus.path: {said}; name the folder that holds the recordings"


def test_words_become_strings_of_one_speaker(tmp_path: Path) -> None:
    names = [f"{word}_{who}_{number}.wav" for word in ("a", "b", "c", "d") for who in ("x", "y") for number in range(3)]
    for place, name in enumerate(names):
        record(tmp_path / "own" / name, tone(300 + 10 * place))
    corpus = CORPUS | {"name": "words", "path": str(tmp_path / "own"), "unseen": ["y"]}
    read(corpus, tmp_path, tmp_path / "text")
    encoded(tmp_path, corpus)
    assert {each.speaker for each in read_utterances(tmp_path / "text", "unseen")} == {"y"}
    assert {each.speaker for name in SPLITS for each in read_utterances(tmp_path / "text", name)} == {"x"}
    (tmp_path / "own" / "a_x_0.wav").unlink()
    with pytest.raises(UserError, match="the speaker x has 2 recordings of 'a'; it takes 3"):
        read(corpus, tmp_path, tmp_path / "text")


def encoded(folder: Path, corpus: Mapping[str, Any], unit: str = "word") -> Path:
    own = {"corpus": {"name": corpus["name"]}, "vocabulary": {"unit": unit, "mels": 20}}
    encode(own, folder / "text", folder / "encoded", folder / "corpus.json")
    return folder / "encoded"


# utterances


def transcript(folder: Path, text: str | bytes, files: Sequence[str] = ()) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    for file in files:
        if not (folder / file).exists():
            record(folder / file)
    (folder / "said.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return CORPUS | {"path": str(folder)}


def test_utterances_are_read_with_and_without_a_header(tmp_path: Path) -> None:
    files = ["a.wav", "b/c.flac", "d.wav"]
    bare = "a.wav\tone  two\tanna\nb/c.flac\tthree\tben\n./d.wav\t four\tben\n"
    forms = [
        bare,
        "\ufeff" + bare.replace("\n", "\r\n"),
        bare.rstrip("\n") + "\n\n \n",
        "speaker\tText\tfile\nanna\tone two\ta.wav\nben\tthree\tb/c.flac\nben\tfour\td.wav\n",
    ]
    for form in forms:
        transcript(tmp_path, form, files)
        lines = read_transcript(tmp_path, "said.tsv")
        assert [line[:4] for line in lines] == [
            ("a.wav", "one two", "anna", None), ("b/c.flac", "three", "ben", None), ("d.wav", "four", "ben", None),
        ]  # fmt: skip
    sets, how = own_utterances(CORPUS | {"path": str(tmp_path)})
    assert sorted(each.place for every in sets.values() for each in every) == files
    assert how == "utterances drawn, the speakers in all splits; seed 1"
    assert all(each.spoken is None and each.costs is None for every in sets.values() for each in every)


def test_words_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    """Some systems write a letter and its accent as one sign, some as two."""
    one, two = "\N{LATIN SMALL LETTER E WITH ACUTE}t", "e\N{COMBINING ACUTE ACCENT}t"
    transcript(tmp_path, f"a.wav\t{one}\nb.wav\t{two}\n", ["a.wav", "b.wav"])
    assert {line.text for line in read_transcript(tmp_path, "said.tsv")} == {one}
    record(tmp_path / "words" / f"{one}_x_1.wav")
    record(tmp_path / "words" / f"{two}_x_2.wav")
    found = own_words(str(tmp_path / "words"), "{word}_{speaker}_{number}", RATE)
    assert [each[:3] for each in found] == [(one, "x", 0), (one, "x", 1)]


def test_columns_that_are_not_known_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcript(tmp_path, "file\ttext\tage\na.wav\tone\t30\n", ["a.wav"])
    assert read_transcript(tmp_path, "said.tsv")[0].text == "one"
    said = f"{tmp_path}/said.tsv:1: not read: the columns 'age' (known: file, text, speaker, split)\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a.wav\tone\n\nb.wav\ttwo\n", 2, "an empty line; take it out, or say which file it is about"),
        ("\na.wav\tone\n", 1, "an empty line; take it out, or say which file it is about"),
        ("a.wav\tone\nb.wav two\n", 2, "one field; a line is file<tab>text, with a tab between them"),
        ("a.wav one\n", 1, "one field; a line is file<tab>text, with a tab between them"),
        ("a.wav\tone\nb.wav\ttwo\tanna\n", 2, "3 fields where the first line has 2; set a tab between fields"),
        (
            "a.wav\tone\tanna\ttrain\n",
            1,
            "4 fields; name them in a header line, as file<tab>text<tab>speaker<tab>split",
        ),
        ("a.wav\tone\nb.wav\t \n", 2, "the text is empty; give it words"),
        ("a.wav\tone\t\n", 1, "the speaker is empty; give it one"),
        ("\tone\n", 1, "the file is empty; give it one"),
        ("a.wav\tone\n./a.wav\ttwo\n", 2, "a.wav is there twice, see {}:1 too; take one of them out"),
        ("a.wav\tone\nc.wav\ttwo\n", 2, "there is no file {}/c.wav; add it, or take the line out"),
        ("path\tsentence\na.wav\tone\n", 1, "there is no file {}/path; a header names the columns 'file' and 'text'"),
        ("../a.wav\tone\n", 1, "'../a.wav' leaves the folder; name a file within {}"),
        ("/a.wav\tone\n", 1, "'/a.wav' leaves the folder; name a file within {}"),
        ("a.wav\tone <eos>\n", 1, "the word <eos> is kept for what no text says; spell it otherwise"),
        ("file\ttext\ttext\na.wav\tone\ttwo\n", 1, "the column 'text' is there twice; name one of them otherwise"),
        ("file\ttext\tsplit\na.wav\tone\tdev\n", 2, "the split is 'dev'; it is train, valid or test"),
        ("a.wav\tone\rb.wav\ttwo\r", 1, "a carriage return within a line; save the file with line feeds"),
        (b"a.wav\tone\nb.wav\tcaf\xe9\n", 2, "not UTF-8 (invalid continuation byte); save the file as UTF-8"),
        ("a.wav\tone\n".encode("utf-16"), 1, "not UTF-8 (invalid start byte); save the file as UTF-8"),
        ("a.wav\tone\n".encode("utf-16-le"), 1, "not text but binary (it holds a NUL); save the file as UTF-8"),
    ],
)
def test_a_line_that_is_wrong_is_told(tmp_path: Path, text: str | bytes, line: int, said: str) -> None:
    transcript(tmp_path, text, ["a.wav", "b.wav"])
    with pytest.raises(UserError) as error:
        read_transcript(tmp_path, "said.tsv")
    place = f"{tmp_path}/said.tsv"
    assert said_of(error) == f"{place}:{line}: {said.format(place if 'see' in said else tmp_path)}"


@pytest.mark.parametrize("text", ["", "\n\n", "file\ttext\n"])
def test_a_transcript_of_nothing_is_told(tmp_path: Path, text: str) -> None:
    transcript(tmp_path, text)
    with pytest.raises(UserError, match=r"said.tsv (is empty|holds a header alone); a line is file<tab>text$"):
        read_transcript(tmp_path, "said.tsv")
    with pytest.raises(UserError, match=r"^corpus.transcript: .*other.tsv is no file"):
        read_transcript(tmp_path, "other.tsv")
    for name in (f"../{tmp_path.name}/said.tsv", str(tmp_path / "said.tsv")):
        with pytest.raises(UserError, match=r"^corpus.transcript: .*said.tsv leaves "):
            read_transcript(tmp_path, name)
    for read_own in (
        lambda: own_utterances(CORPUS | {"path": str(tmp_path), "transcript": None}),
        lambda: own_words(str(tmp_path), None, RATE),
    ):
        with pytest.raises(UserError, match=r"^corpus.(transcript|pattern): "):
            read_own()


def test_a_text_that_is_too_long_for_its_recording_is_told(tmp_path: Path) -> None:
    """Before CTC meets it in the midst of training."""
    lines = [f"{name}.wav\t{name}{' o' * 20 if name == 'a' else ''}\t{name}" for name in "abcd"]
    corpus = transcript(tmp_path, "\n".join(lines), [f"{name}.wav" for name in "abcd"])
    read(corpus, tmp_path, tmp_path / "text")
    with pytest.raises(UserError, match=r"a\.wav is 0\.0\d s long, and its text has 41 characters, more"):
        encoded(tmp_path, corpus, unit="character")


def test_recordings_that_no_line_names_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"{letter}.wav" for letter in "abcd"]
    own_utterances(transcript(tmp_path, "a.wav\tone\nb.wav\ttwo\nc.wav\tthree\n", [*files, "x/e.m4a.flac"]))
    said = f"2 of 5 recordings are in no line of {tmp_path}/said.tsv and are left out, as 'd.wav'\n"
    assert capsys.readouterr().err == said


def test_stated_splits_hold_and_unseen_speakers_stand_apart(tmp_path: Path) -> None:
    rows = ["a.wav\tone\tanna\ttest", "b.wav\ttwo\tben\ttrain", "c.wav\tthree\tben\tvalid", "d.wav\tfour\tcem\ttrain"]
    text = "\n".join(["file\ttext\tspeaker\tsplit", *rows])
    corpus = transcript(tmp_path, text, ["a.wav", "b.wav", "c.wav", "d.wav"]) | {"unseen": ["cem"]}
    sets, how = own_utterances(corpus)
    found = {name: [each.place for each in every] for name, every in sets.items()}
    assert found == {"train": ["b.wav"], "valid": ["c.wav"], "test": ["a.wav"], "unseen": ["d.wav"]}
    assert how == "as the column split of the transcript says"
    with pytest.raises(UserError, match=r"corpus.unseen: there is no speaker 'dora' \(there are: anna, ben, cem\)"):
        own_utterances(corpus | {"unseen": ["dora"]})
    with pytest.raises(UserError, match=r"^corpus.unseen names every speaker, and leaves none to train on$"):
        own_utterances(corpus | {"unseen": ["anna", "ben", "cem"]})
    with pytest.raises(
        UserError, match=r"^2 utterances, and none of them falls into train and valid; each takes one: "
    ):
        own_utterances(transcript(tmp_path, "file\ttext\tsplit\na.wav\tone\ttest\nb.wav\ttwo\ttest\n"))
    with pytest.raises(UserError, match=r"^2 .* into train; each takes one: add some, or lower corpus.test_share$"):
        own_utterances(transcript(tmp_path, "a.wav\tone\nb.wav\ttwo\n"))
    with pytest.raises(UserError, match="the transcript has no column of speakers"):
        own_utterances(transcript(tmp_path, "a.wav\tone\nb.wav\ttwo\n") | {"unseen": ["anna"]})


def test_the_order_of_the_lines_is_of_no_matter(tmp_path: Path) -> None:
    files = [f"{number}.wav" for number in range(8)]
    rows = [f"{name}\tword {name[0]}\n" for name in files]
    first = own_utterances(transcript(tmp_path, "".join(rows), files))[0]
    again = own_utterances(transcript(tmp_path, "".join(reversed(rows)), files))[0]
    other = own_utterances(CORPUS | {"path": str(tmp_path), "seed": 2})[0]
    places = [{name: [each.place for each in every] for name, every in sets.items()} for sets in (first, again, other)]
    assert places[0] == places[1] != places[2]
    assert {name: len(every) for name, every in first.items()} == {"train": 5, "valid": 1, "test": 2}


@given(st.lists(st.integers(1, 30), min_size=3, max_size=9), st.integers(0, 99))
def test_whole_speakers_are_held_back(counts: list[int], seed: int) -> None:
    speakers = [f"s{place}" for place, count in enumerate(counts) for _ in range(count)]
    chosen, how = splits_of(speakers, [None] * len(speakers), unseen=[], shares=SHARES, seed=seed)
    of_speakers = {
        speaker: {split for each, split in zip(speakers, chosen, strict=True) if each == speaker}
        for speaker in speakers
    }
    assert all(len(splits) == 1 for splits in of_speakers.values()) and set(chosen) == set(SPLITS)
    assert how.endswith(f" speakers, each in one split; seed {seed}")
    held = [min(splits) for splits in of_speakers.values()]
    # Where less than half is left to train on, there was no other speaker to take.
    assert 2 * chosen.count("train") >= len(chosen) or 1 in (held.count("valid"), held.count("test"))
    assert splits_of(speakers, [None] * len(speakers), unseen=[], shares=SHARES, seed=seed) == (chosen, how)


def test_speakers_are_held_back_until_the_shares_are_reached() -> None:
    speakers = [f"s{number % 20}" for number in range(200)]
    chosen, how = splits_of(speakers, [None] * 200, unseen=["s7"], shares=SHARES, seed=3)
    assert [chosen.count(name) for name in (*SPLITS, "unseen")] == [130, 20, 40, 10]
    assert how == "train 13, valid 2, test 4 speakers, each in one split; seed 3"
    assert {chosen[place] for place, speaker in enumerate(speakers) if speaker == "s7"} == {"unseen"}


@given(st.integers(3, 99), st.integers(0, 99))
def test_utterances_are_held_back_where_speakers_are_few(count: int, seed: int) -> None:
    chosen, _ = splits_of(["anna"] * count, [None] * count, unseen=[], shares=SHARES, seed=seed)
    assert chosen.count("test") == max(1, np.ceil(0.2 * count)) and chosen.count("valid") == max(
        1, np.ceil(0.1 * count)
    )


@pytest.mark.parametrize("unit", ["word", "character"])
def test_what_training_never_says_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], unit: str) -> None:
    rows = ["a.wav\tab ba\ttrain", "b.wav\tba ab\tvalid", "c.wav\tab cab ba zoo\ttest"]
    for number, name in enumerate("abc"):
        record(tmp_path / "own" / f"{name}.wav", np.random.default_rng(number).normal(0, 0.1, 1800))
    corpus = transcript(tmp_path / "own", "\n".join(["file\ttext\tsplit", *rows]))
    read(corpus, tmp_path, tmp_path / "text")
    folder = encoded(tmp_path, corpus, unit)
    said = {
        "word": "2 words of the test texts (50.0%) are never said in training, as 'cab'",
        "character": "4 characters of the test texts (30.8%) are never said in training, as 'c'",
    }
    assert capsys.readouterr().err == f"{said[unit]}: each counts as an error\n"
    assert np.isnan(np.load(folder / "test.costs.npy")).all() and (np.load(folder / "test.spoken.npy") == -1).all()
    heard = np.load(folder / "test.sound.npy")
    assert np.array_equal(heard, read_utterances(tmp_path / "text", "test")[0].samples)


# the archive of digits


def wav(samples: Any, rate: int = RATE, channels: int = 1) -> bytes:
    stream = BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return stream.getvalue()


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_digits_are_read_from_their_archive(tmp_path: Path) -> None:
    sounds = {f"x/recordings/{digit}_anna_{take}.wav": wav([digit, take, 7]) for digit in (1, 0) for take in (10, 9)}
    found = free_spoken_digits(archive(tmp_path / "a.zip", sounds | {"x/tools/1_anna_3.py": b""}))
    assert [(each.word, each.speaker, each.number, each.samples.tolist()) for each in found] == [
        ("one", "anna", 9, [1, 9, 7]), ("one", "anna", 10, [1, 10, 7]),
        ("zero", "anna", 9, [0, 9, 7]), ("zero", "anna", 10, [0, 10, 7]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no sound", "is no WAV file (file does not start with RIFF id); get a fresh copy"),
        (b"", "is no WAV file (it is cut off); get a fresh copy"),
        (wav([1] * 99)[:-7], "is cut off after 95 of 99 samples; get a fresh copy"),
        (wav([]), "is cut off after 0 of 0 samples; get a fresh copy"),
        (
            wav([1] * 99, 16000),
            "has channels, bytes a sample and rate (1, 2, 16000), not (1, 2, 8000); get a fresh copy",
        ),
        (
            wav([1] * 98, RATE, 2),
            "has channels, bytes a sample and rate (2, 2, 8000), not (1, 2, 8000); get a fresh copy",
        ),
    ],
)
def test_a_damaged_digit_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = archive(tmp_path / "a.zip", {"1_anna_1.wav": content})
    with pytest.raises(UserError) as error:
        free_spoken_digits(path)
    assert said_of(error) == f"{path}: 1_anna_1.wav {said}"


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path / ARCHIVE, {"1_anna_1.wav": wav([1] * 99)})
    path.write_bytes(path.read_bytes()[:-30])
    digits = CORPUS | {"name": "digits"}
    with pytest.raises(UserError, match=r"truncated or damaged archive \(File is not a zip file\); get a fresh copy$"):
        read(digits, tmp_path, tmp_path / "text")
    archive(path, {"notes.txt": b""})
    with pytest.raises(UserError, match=r"holds no recording <digit>_<speaker>_<number>.wav"):
        read(digits, tmp_path, tmp_path / "text")
    with pytest.raises(UserError, match=r"^corpus.sample_rate: the digits were recorded at 8000 Hz; set 8000$"):
        read(digits | {"sample_rate": 16000}, tmp_path, tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_the_licence_is_stated() -> None:
    assert "CC BY-SA 4.0" in facts("digits")["licence"] and facts("words") == {"corpus": "words"}
