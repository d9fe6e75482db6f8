"""data/text -> data/encoded, what training and scoring read, and the corpus report.

<split>.npy             the ids of all texts, each ended by <eos>   <split>.documents.npy   where each begins
<split>.features.npy    log-mel, float16 [frames, mels]             <split>.frames.npy      where each begins; the end
<split>.spoken.npy      of each id its first and last frame within the utterance; -1 where unknown
<split>.costs.npy       of each id its exact nats; nan where nobody knows
<split>.speakers.npy    of each utterance, a place in names.json
<set>.tokens.npy, ...   the same of the further sets, "documents" and the rest
space.npy               the id between words, -1 where each id is a word
spread.npy              of each band, over the training split: features are divided by it
test.sound.npy          int16, the first utterances of the test split, to listen to
test.sound_ends.npy     where each of them ends
names.json              "words" in the order of the ids, "speakers", "sets", "unit", "rate"
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

from unrolled.corpus.encoded import write_encoded
from unrolled.ground.atomic import whole_text
from unrolled.ground.checksums import read_sealed
from unrolled.ground.corpus import SPLITS, Split
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.features import Features, frames_of, log_mel, scaled
from unrolled.tasks.speech.corpus.utterances import SPECIAL, Utterance, read_utterances

HEARD = 12  # utterances whose sound is kept


def encode(settings: Mapping[str, Any], text: Path, encoded: Path, report: Path) -> None:
    """The vocabulary of the training split, the ids and features of all sets; see `Data.encode`."""
    facts, own = read_sealed(text, "documents.json"), dict(settings["vocabulary"])
    sets = {name: read_utterances(text, name) for name in facts["sets"]}
    words = _vocabulary(sets["train"], own["unit"])
    speakers = sorted({each.speaker for every in sets.values() for each in every})
    rate = facts["settings"]["sample_rate"]
    read = {name: [log_mel(each.samples, rate, own["mels"]) for each in every] for name, every in sets.items()}
    for name, every in sets.items():
        _check_lengths(every, read[name], own["unit"])
    spread = _spread(read["train"])
    _say_what_is_never_said(sets, words, own["unit"])
    arrays = {
        name: _arrays(every, [scaled(each, spread) for each in read[name]], words, speakers, own["unit"], rate)
        for name, every in sets.items()
    }
    splits = {name: Split(arrays[name].pop("tokens"), arrays[name].pop("documents"), arrays[name]) for name in SPLITS}
    splits["test"].arrays.update(_sound(sets["test"]))  # type: ignore[attr-defined]
    further = {f"{name}.{part}": array for name in sets if name not in SPLITS for part, array in arrays[name].items()}
    counts = np.bincount(splits["train"].tokens, minlength=len(words)).astype(np.int64)
    stated = {"corpus": facts["settings"], "vocabulary": own}
    names = {
        "words": words, "speakers": speakers, "sets": [name for name in sets if name not in SPLITS],
        "unit": [own["unit"]], "rate": [str(rate)],
    }  # fmt: skip
    space = np.array([words.index(" ") if " " in words else -1])
    beside = {**further, "spread": spread, "space": space}
    digest = write_encoded(encoded, splits, counts, arrays=beside, names=names, settings=stated)
    written = {
        "digest": digest,
        "settings": stated,
        **{key: facts[key] for key in ("corpus", "licence", "split") if key in facts},
        "unit": own["unit"],
        "types": len(words),
        **{name: _facts_of(every, arrays[name], read[name], words, own["unit"]) for name, every in sets.items()},
        "texts_that_training_holds_too": _known_texts(sets),
    }
    whole_text(report, json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def pieces(text: str, unit: str) -> list[str]:
    """The words of a text, or its characters."""
    return text.split() if unit == "word" else list(text)


def _vocabulary(train: Sequence[Utterance], unit: str) -> list[str]:
    counts = Counter(piece for each in train for piece in pieces(each.text, unit))
    return [*SPECIAL, *sorted(counts)]


def _check_lengths(every: Sequence[Utterance], features: Sequence[Features], unit: str) -> None:
    """UserError naming the first text that CTC could not write in the frames of its sound, whatever the network."""
    for each, frames in zip(every, features, strict=True):
        read = pieces(each.text, unit)
        needed = len(read) + sum(one == next_one for one, next_one in pairwise(read))
        if needed > len(frames):
            raise UserError(
                f"{each.place} is {len(frames) / 100:.2f} s long, and its text has {len(read):,} {unit}s, more than "
                "can be said in that; is it the text of another recording?"
            )


def _spread(train: Sequence[Features]) -> Features:
    """Of each band over all frames, [mels]; UserError where one never changes."""
    spread: Features = np.concatenate(train).std(0, dtype=np.float64).astype(np.float32)
    if still := int((spread == 0).sum()):
        raise UserError(
            f"{still} of {len(spread)} bands of pitch never change in training; lower vocabulary.mels, or "
            "corpus.sample_rate if it is higher than that of the recordings"
        )
    return spread


def _arrays(
    every: Sequence[Utterance], features: Sequence[Any], words: Sequence[str], speakers: Sequence[str], unit: str,
    rate: int,
) -> dict[str, Any]:  # fmt: skip
    ids = {word: place for place, word in enumerate(words)}
    voices = {speaker: place for place, speaker in enumerate(speakers)}
    tokens, spoken, costs, starts = [], [], [], [0]
    for each, frames in zip(every, features, strict=True):
        read = [ids.get(piece, UNKNOWN_ID) for piece in pieces(each.text, unit)]
        tokens += [*read, END_ID]
        known = each.spoken if unit == "word" and each.spoken else []
        spoken += [frames_of(first, last, rate, len(frames)) for first, last in known]
        spoken += [(-1, -1)] * (len(read) + 1 - len(known))
        costs += each.costs if unit == "word" and each.costs else [np.nan] * (len(read) + 1)
        starts.append(len(tokens))
    return {
        "tokens": np.array(tokens, dtype=np.uint32),
        "documents": np.array(starts[:-1], dtype=np.int64),
        "features": np.concatenate(features),
        "frames": np.cumsum([0, *map(len, features)]),
        "spoken": np.array(spoken, dtype=np.int64),
        "costs": np.array(costs, dtype=np.float64),
        "speakers": np.array([voices[each.speaker] for each in every], dtype=np.int64),
    }


def _say_what_is_never_said(sets: Mapping[str, Sequence[Utterance]], words: Sequence[str], unit: str) -> None:
    known = set(words)
    for name, every in sets.items():
        read = [piece for each in every for piece in pieces(each.text, unit)]
        if never := [piece for piece in read if piece not in known]:
            said = (
                f"{len(never):,} {unit}s of the {name} texts ({len(never) / len(read):.1%}) are never said in training"
            )
            click.echo(f"{said}, as {never[0]!r}: each counts as an error", err=True)


def _sound(every: Sequence[Utterance]) -> dict[str, Any]:
    heard = [each.samples for each in every[:HEARD]]
    return {"sound": np.concatenate(heard), "sound_ends": np.cumsum(list(map(len, heard)))}


def _known_texts(sets: Mapping[str, Sequence[Utterance]]) -> dict[str, int]:
    """Of each set but training's, how many of its texts are said in training too."""
    texts = {each.text for each in sets["train"]}
    return {name: sum(each.text in texts for each in every) for name, every in sets.items() if name != "train"}


def _facts_of(
    every: Sequence[Utterance], arrays: Mapping[str, Any], features: Sequence[Any], words: Sequence[str], unit: str
) -> dict[str, Any]:
    known = set(words)
    read = [piece for each in every for piece in pieces(each.text, unit)]
    return {
        "documents": len(every),
        "tokens": len(read) + len(every),
        "unknown_share": round(sum(piece not in known for piece in read) / max(len(read), 1), 6),
        "seconds": round(sum(map(len, features)) / 100, 1),
        "longest_seconds": max(map(len, features)) / 100,
        "speakers": len(np.unique(arrays["speakers"])),
    }
