"""Speech as it is learned from: features, strings of known entropy, sets that share neither recording nor string."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from miniature import ROOT
from unrolled.ground.checksums import read_sealed
from unrolled.ground.corpus import SPLITS
from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.encoding import encode
from unrolled.tasks.speech.corpus.features import frame_count, frames_of, log_mel
from unrolled.tasks.speech.corpus.grammar import Grammar, split_of, strings
from unrolled.tasks.speech.corpus.recordings import Recording
from unrolled.tasks.speech.corpus.strings_of_words import sets_of
from unrolled.tasks.speech.corpus.utterances import Utterance, read_utterances, write_utterances
from unrolled.tasks.speech.settings import CorpusSettings

RATE = 8000
WORDS, SPEAKERS, TAKES = ("a", "b", "c", "d", "e"), ("x", "y", "z"), 20
CORPUS: dict[str, Any] = {
    "name": "words", "sample_rate": RATE, "unseen": ["z"], "lengths": [3, 5], "longer": [7, 9], "branching": 3,
    "seed": 1, "strings": {"train": 40, "valid": 10, "test": 10},
}  # fmt: skip


def noise(samples: int, size: float = 900.0, seed: int = 0) -> Any:
    return np.round(np.random.default_rng(seed).normal(0, size, samples)).astype(np.int16)


# features


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 0), (199, 0), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_a_frame_is_25_ms_every_10_ms(samples: int, frames: int) -> None:
    assert frame_count(samples, RATE) == frames
    if frames:
        assert log_mel(noise(samples), RATE, 40).shape == (frames, 40)


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_frames_are_counted_as_they_are_made(rate: int) -> None:
    for samples in range(rate // 40 + 1, rate // 40 + rate // 100 + 4):
        assert len(log_mel(noise(samples), rate, 20)) == frame_count(samples, rate)


def written_out(samples: Any, mels: int) -> Any:
    """Log-mel at 8 kHz by the definitions, [frames, mels]: 200 samples every 80, a transform of 256, triangles."""
    frames = np.stack([samples[at : at + 200] for at in range(0, len(samples) - 199, 80)]).astype(np.float64)
    frames -= frames.mean(1, keepdims=True)
    emphasised = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(200) / 199)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(200), np.arange(128)) / 256)
    power = np.abs(emphasised * window @ transform) ** 2
    low, high = (1127 * math.log(1 + pitch / 700) for pitch in (20.0, 4000.0))
    step = (high - low) / (mels + 1)
    place = (1127 * np.log(1 + np.arange(128) * RATE / 256 / 700) - low) / step  # 1 in the middle of the first band
    bands = np.maximum(0, 1 - np.abs(place[:, None] - 1 - np.arange(mels)))
    found = np.log(np.maximum(power @ bands, np.finfo(np.float32).eps))
    return found - found.mean(0)


@pytest.mark.parametrize("mels", [13, 40])
def test_features_are_what_the_definitions_say(mels: int) -> None:
    loud = noise(4000, 3000.0) + np.round(9000 * np.sin(np.arange(4000) ** 1.5 / 99)).astype(np.int16)
    assert log_mel(loud, RATE, mels) == pytest.approx(written_out(loud, mels), abs=2e-3)
    assert np.abs(log_mel(loud, RATE, mels).mean(0)).max() < 1e-4


def test_a_louder_voice_has_the_same_features() -> None:
    quiet = noise(4000, 300.0)
    louder = (quiet * 8).astype(np.int16)
    assert log_mel(louder, RATE, 40) == pytest.approx(log_mel(quiet, RATE, 40), abs=1e-4)


def test_features_are_the_same_at_every_call() -> None:
    """There is no dither; and what they are made with is the fewest of kaldi's options that differ from its own."""
    assert log_mel(noise(900), RATE, 40).tobytes() == log_mel(noise(900), RATE, 40).tobytes()
    assert knf.FbankOptions().frame_opts.dither > 0


@given(st.integers(300, 3000), st.integers(300, 1500))
def test_a_tone_is_found_to_the_frame(first: int, length: int) -> None:
    """A frame that hears a tone in the half of its window has a quarter of its power."""
    first, last = (at // 80 * 80 + 60 for at in (first, first + length))  # half-way between the middles of two frames
    samples = noise(5000, 3.0).astype(np.float64)
    samples[first:last] += 6000 * np.sin(2 * np.pi * 1000 * np.arange(last - first) / RATE)
    features = log_mel(np.round(samples).astype(np.int16), RATE, 40)
    band = features[:, np.argmax(features.max(0) - features.min(0))]
    heard = np.flatnonzero(band > band.max() - math.log(4))
    assert (heard[0], heard[-1]) == frames_of(first, last, RATE, len(features)) and np.ptp(heard) == len(heard) - 1


@given(st.integers(0, 9000), st.integers(0, 2000), st.integers(200, 9000))
def test_a_word_has_one_frame_at_least(first: int, length: int, samples: int) -> None:
    frames = frame_count(samples, RATE)
    low, high = frames_of(first, first + length, RATE, frames)
    assert 0 <= low <= high < frames
    inside = [frame for frame in range(frames) if first <= 80 * frame + 100 < first + length]
    assert not inside or (low, high) == (inside[0], inside[-1])


# the grammar

GRAMMARS = st.integers(1, 4).flatmap(
    lambda words: st.builds(
        lambda branching, low, more, seed: Grammar.drawn("abcd"[:words], branching, low, low + more, seed),
        st.integers(1, words), st.integers(1, 3), st.integers(0, 2), st.integers(0, 99),
    )
)  # fmt: skip


@given(GRAMMARS)
def test_costs_are_exact(made: Grammar) -> None:
    """Over all strings, one by one: their probabilities sum to 1, and their mean cost is what the module says."""
    every = [
        string for length in range(made.longest + 2) for string in itertools.product(made.words, repeat=length)
    ]  # fmt: skip
    costs = np.array([sum(made.costs(string)) for string in every])
    assert all(len(made.costs(string)) == len(string) + 1 for string in every)
    said = np.isfinite(costs)
    chances = np.exp(-costs[said])
    lengths = np.array([len(string) for string in every])[said]
    assert chances.sum() == pytest.approx(1, abs=1e-9) and set(lengths) == set(range(made.shortest, made.longest + 1))
    mean_length = (made.shortest + made.longest) / 2
    wanted = math.log(made.longest - made.shortest + 1) + math.log(len(made.words))
    wanted += (mean_length - 1) * math.log(len(made.followers[0]))
    assert (chances * costs[said]).sum() == pytest.approx(wanted, abs=1e-9)


def test_strings_are_drawn_as_they_cost() -> None:
    made, count = Grammar.drawn(WORDS, 2, 1, 2, 3), 4000
    drawn = list(strings(made, None, count, seed=5, of=1))
    for string in {tuple(string) for string in drawn}:
        chance = math.exp(-sum(made.costs(string)))
        error = math.sqrt(chance * (1 - chance) * count)
        assert abs(sum(tuple(each) == string for each in drawn) - chance * count) < 4.5 * error
    assert len({tuple(string) for string in drawn}) == 5 + 10


@given(GRAMMARS, st.integers(0, 99))
def test_what_is_drawn_can_be_said(made: Grammar, seed: int) -> None:
    (string,) = strings(made, None, 1, seed=seed, of=1)
    assert math.isfinite(sum(made.costs(string))) and made.shortest <= len(string) <= made.longest


def test_what_the_grammar_cannot_say_costs_infinitely_much() -> None:
    made = Grammar(("a", "b"), ((1,), (0,)), 2, 3)
    assert math.isfinite(sum(made.costs(["a", "b"])))
    for string in ([], ["a"], ["a", "a"], ["a", "b", "a", "b"], ["a", "x"], ["x", "a"], ["a", "b", "x", "a", "b"]):
        assert sum(made.costs(string)) == math.inf


def test_every_string_belongs_to_one_split() -> None:
    names = [split_of([str(number)]) for number in range(2000)]
    assert [round(names.count(name) / 2000, 1) for name in SPLITS] == [0.7, 0.1, 0.2]


def test_a_grammar_that_cannot_be_is_told() -> None:
    with pytest.raises(
        UserError, match=r"^corpus.branching: 3 followers a word, but there are 2 words; set 2 or fewer"
    ):
        Grammar.drawn("ab", 3, 1, 2, 1)


def test_a_split_without_strings_of_a_length_shares_those_that_there_are() -> None:
    made = Grammar.drawn("a", 1, 1, 1, 1)
    for split in SPLITS:
        assert list(strings(made, split, 2, seed=1, of=1)) == [["a"], ["a"]]


# the sets


def recordings() -> list[Recording]:
    """Each is a constant that no other has, so that it is known again within an utterance."""
    every = itertools.product(WORDS, SPEAKERS, range(TAKES))
    return [
        Recording(word, speaker, take, np.full(200 + take, 1000 + number, dtype=np.int16))
        for number, (word, speaker, take) in enumerate(every)
    ]


def sets(**changes: Any) -> dict[str, list[Utterance]]:
    return {name: list(every) for name, every in sets_of(recordings(), CORPUS | changes, RATE).items()}


def heard(utterance: Utterance) -> list[Recording]:
    """The recordings that it was joined of, found by their sound."""
    every, found = recordings(), []
    for first, last in utterance.spoken or ():
        (number,) = set(utterance.samples[first:last].tolist())
        found.append(every[number - 1000])
        assert last - first == len(every[number - 1000].samples)
    return found


def test_a_string_is_said_by_one_speaker_word_for_word() -> None:
    for every in sets().values():
        for each in every:
            said = heard(each)
            assert " ".join(recording.word for recording in said) == each.text
            assert {recording.speaker for recording in said} == {each.speaker}
            (before, *_), (*_, after) = np.array(each.spoken)[:, 0], np.array(each.spoken)[:, 1]
            silences = np.split(each.samples, np.array(each.spoken).ravel())[::2]
            assert 0.05 * RATE <= before <= 0.2 * RATE and 0.05 * RATE <= len(each.samples) - after <= 0.2 * RATE
            assert all(np.abs(silence).max(initial=0) < 60 for silence in silences) and silences[0].any()


def test_no_recording_and_no_string_is_in_two_splits() -> None:
    made = sets()
    assert list(made) == ["train", "valid", "test", "unseen", "longer", "free"]
    by_split = {name: {recording[:3] for each in made[name] for recording in heard(each)} for name in made}
    takes = {name: {take for _, _, take in found} for name, found in by_split.items()}
    assert takes["test"] == takes["longer"] == takes["free"] == {0, 1} and takes["valid"] == {2, 3}
    assert takes["train"] == set(range(4, TAKES))
    texts = {name: {each.text for each in made[name]} for name in made}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not by_split[one] & by_split[other] and not texts[one] & texts[other]
    assert not texts["train"] & (texts["unseen"] | texts["longer"] | texts["free"])


def test_where_each_string_is_one_word_training_says_all_of_them() -> None:
    """Held-back strings would be held-back words, which no training says."""
    made = sets(lengths=[1, 1], longer=[2, 3])
    assert {each.text for each in made["train"]} == set(WORDS) and len({each.text for each in made["test"]}) > 2
    for one, other in itertools.combinations(SPLITS, 2):
        by_split = ({recording[:3] for each in made[name] for recording in heard(each)} for name in (one, other))
        assert not set.intersection(*by_split)


def test_unseen_speakers_are_nowhere_else() -> None:
    speakers = {name: {each.speaker for each in every} for name, every in sets(unseen=["x", "z"]).items()}
    assert speakers.pop("unseen") == {"x", "z"} and all(found == {"y"} for found in speakers.values())
    assert "unseen" not in sets(unseen=[]) and "longer" not in sets(longer=None) and "free" not in sets(branching=5)


def test_each_set_is_of_its_grammar() -> None:
    made = sets()
    lengths = {name: {len(each.text.split()) for each in every} for name, every in made.items()}
    assert lengths["longer"] <= {7, 8, 9} and all(lengths[name] <= {3, 4, 5} for name in lengths if name != "longer")
    for name, every in made.items():
        branching = 5 if name == "free" else 3
        for each in every:
            words = len(each.text.split())
            wanted = math.log(3) + math.log(5) + (words - 1) * math.log(branching)
            assert sum(each.costs or ()) == pytest.approx(wanted) and len(each.costs or ()) == words + 1


def test_a_string_is_the_same_however_many_there_are() -> None:
    few, many = sets(), sets(strings={"train": 50, "valid": 12, "test": 11})
    for name, every in few.items():
        for one, other in zip(every, many[name], strict=False):
            assert one[:3] == other[:3] and np.array_equal(one.samples, other.samples)
    assert len(many["train"]) == 50 and few["train"][0].text != sets(seed=2)["train"][0].text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unseen": ["anna"]}, r"^corpus.unseen: there is no speaker 'anna' \(there are: x, y, z\)$"),
        ({"unseen": ["x", "y", "z"]}, r"^corpus.unseen names every speaker, and leaves none to train on$"),
        ({"branching": 6}, r"^corpus.branching: 6 followers a word, but there are 5 words; set 5 or fewer$"),
    ],
)
def test_sets_that_cannot_be_are_told(changes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        sets(**changes)


def test_a_single_word_is_told() -> None:
    of_one = [each for each in recordings() if each.word == recordings()[0].word]
    with pytest.raises(UserError, match=r"^all recordings are of one word, '.*'; add others"):
        sets_of(of_one, CORPUS, RATE)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"lengths": [2, 6], "longer": [7, 9]}, True),
        ({"lengths": [2, 6], "longer": None}, True),
        ({"lengths": [2, 6], "longer": [6, 9]}, False),
        ({"lengths": [2, 6], "longer": [1, 3]}, False),
        ({"lengths": [2, 6], "longer": [1, 3], "name": "utterances"}, True),
    ],
)
def test_the_longer_set_is_longer(changes: Mapping[str, Any], fits: bool) -> None:
    own = YAML(typ="safe").load((ROOT / "pipelines" / "speech" / "params.yaml").read_text(encoding="utf-8"))["corpus"]
    if fits:
        CorpusSettings(**own | changes)
    else:
        with pytest.raises(ValidationError, match=r"longer: strings of . words are no longer than those of lengths"):
            CorpusSettings(**own | changes)


# what is written


def written(folder: Path, made: Mapping[str, Sequence[Utterance]], unit: str = "word") -> Path:
    write_utterances(made, folder / "text", {"corpus": "words", "split": "drawn", "settings": CORPUS})
    own = {"corpus": {"name": "words"}, "vocabulary": {"unit": unit, "mels": 10}}
    encode(own, folder / "text", folder / "encoded", folder / "corpus.json")
    return folder / "encoded"


def test_the_same_settings_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / name, sets())
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert read_sealed(tmp_path / "one" / "encoded", "manifest.json")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = sets()
    write_utterances(made, tmp_path / "text", {"settings": CORPUS})
    for name, every in made.items():
        for one, other in zip(every, read_utterances(tmp_path / "text", name), strict=True):
            assert one[:3] == other[:3] and one[4:] == other[4:] and np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize("unit", ["word", "character"])
def test_what_is_encoded_is_what_was_said(tmp_path: Path, unit: str) -> None:
    made = sets()
    folder = written(tmp_path, made, unit)
    names = json.loads((folder / "names.json").read_text())
    assert names["sets"] == ["unseen", "longer", "free"] and names["speakers"] == list(SPEAKERS)
    spread = np.load(folder / "spread.npy")
    for name, every in made.items():
        found = {path.name.split(".")[1]: np.load(path) for path in folder.glob(f"{name}.*.npy")}
        tokens = np.load(folder / f"{name}.npy") if name in SPLITS else found["tokens"]
        ends = [*found["documents"][1:], len(tokens)]
        for place, (first, last, each) in enumerate(zip(found["documents"], ends, every, strict=True)):
            text = "".join if unit == "character" else " ".join
            assert (
                tokens[last - 1] == END_ID and text(names["words"][at] for at in tokens[first : last - 1]) == each.text
            )
            assert names["speakers"][found["speakers"][place]] == each.speaker
            rows = found["features"][slice(*found["frames"][place : place + 2])]
            assert rows == pytest.approx(log_mel(each.samples, RATE, 10) / spread, abs=2e-2, rel=1e-3)
            if unit == "word":
                assert found["costs"][first:last] == pytest.approx(each.costs)
                wanted = [frames_of(*ends_of, RATE, len(rows)) for ends_of in each.spoken or ()]
                assert found["spoken"][first:last].tolist() == [*map(list, wanted), [-1, -1]]
        assert unit == "word" or ((found["spoken"] == -1).all() and np.isnan(found["costs"]).all())
    report = json.loads((tmp_path / "corpus.json").read_text())
    assert report["train"]["documents"] == 40 and report["types"] == len(names["words"])
    assert report["texts_that_training_holds_too"] == dict.fromkeys(["valid", "test", "unseen", "longer", "free"], 0)


@pytest.mark.parametrize(
    ("mels", "said"),
    [
        (40, r"^40 of 40 bands of pitch never change in training; lower vocabulary.mels, or corpus.sample_rate"),
        (128, r"^vocabulary.mels: 128 bands at 8,000 Hz leave some empty; set fewer$"),
    ],
)
def test_bands_that_say_nothing_are_told(tmp_path: Path, mels: int, said: str) -> None:
    text = tmp_path / "text"
    of_a_frame = {name: [Utterance("a", "x", "x", noise(200))] for name in SPLITS}
    write_utterances(of_a_frame, text, {"corpus": "words", "settings": CORPUS})
    own = {"corpus": {"name": "words"}, "vocabulary": {"unit": "word", "mels": mels}}
    with pytest.raises(UserError, match=said):
        encode(own, text, tmp_path / "encoded", tmp_path / "corpus.json")
    assert not (tmp_path / "encoded").exists()
