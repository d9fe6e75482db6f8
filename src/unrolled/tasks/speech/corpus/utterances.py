"""Utterances: what was said, by whom, its sound, and where known the samples that each word takes.

data/text/
  <set>.jsonl       a row an utterance: text, speaker, where it is from, where its sound begins and ends in ...
  <set>.wave.npy    ... all sound of the set, int16 [samples]; where known, where each word begins and ends within it
  documents.json    facts, settings, and the names of the sets

Sets: train, valid, test, and further ones that are tested. Words that were recorded one at a time are joined here: one
speaker a string, recordings of one split in no other, and noise between them where a microphone would have heard some.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import seal
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.recordings import NOISE, Recording, Samples

EDGES, GAPS = (0.05, 0.2), (0.0, 0.15)  # seconds of silence around a string, and between its words
SPECIAL = ("<unk>", "<eos>")  # what no recording says
NOBODY = "unnamed"  # the speaker where none is named


class Utterance(NamedTuple):
    """``spoken``: of each word its first sample and the one after its last; ``costs``: see `grammar.py`.

    Both are None where nobody knows.
    """

    text: str
    speaker: str
    place: str
    samples: Samples
    spoken: list[tuple[int, int]] | None = None
    costs: list[float] | None = None


def joined(
    string: Sequence[str], speaker: str, recordings: Mapping[str, Sequence[Recording]], rate: int, place: str,
    draw: np.random.Generator,
) -> Utterance:  # fmt: skip
    """The words of a string as one speaker says them; ``recordings``: by word, of this speaker and this split."""
    parts, spoken = [_silence(draw, EDGES, rate)], []
    at = len(parts[0])
    for number, word in enumerate(string):
        if number:
            parts.append(_silence(draw, GAPS, rate))
            at += len(parts[-1])
        chosen = recordings[word][int(draw.integers(len(recordings[word])))].samples
        parts.append(chosen)
        spoken.append((at, at + len(chosen)))
        at += len(chosen)
    parts.append(_silence(draw, EDGES, rate))
    return Utterance(" ".join(string), speaker, place, np.concatenate(parts), spoken)


def _silence(draw: np.random.Generator, seconds: tuple[float, float], rate: int) -> Samples:
    length = round(float(draw.uniform(*seconds)) * rate)
    return np.round(draw.normal(0, NOISE, length)).astype(np.int16)


def checked_word(word: str, place: str) -> str:
    """The word in NFC, so that what looks the same is the same; UserError for one that the vocabulary keeps for itself.

    ``place``: where it was read.
    """
    if word in SPECIAL:
        raise UserError(f"{place}: the word {word} is kept for what no text says; spell it otherwise")
    return unicodedata.normalize("NFC", word)


def write_utterances(sets: Mapping[str, Iterable[Utterance]], folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the sets, whole or not at all."""
    with whole_folder(folder) as place:
        counts = {}
        for name, utterances in sets.items():
            every, rows, at = list(utterances), [], 0
            for each in every:
                ends = [at, at := at + len(each.samples)]
                row = {"text": each.text, "speaker": each.speaker, "place": each.place, "samples": ends}
                rows.append(json.dumps({**row, "spoken": each.spoken, "costs": each.costs}, ensure_ascii=False) + "\n")
            (place / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8", newline="\n")
            np.save(place / f"{name}.wave.npy", np.concatenate([each.samples for each in every]))
            counts[name] = {"documents": len(every)}
        seal(place / "documents.json", {**facts, "sets": list(counts), **counts})


def read_utterances(folder: Path, name: str) -> list[Utterance]:
    """The utterances of a set, as they were written; their samples stay on disk until they are read."""
    wave = np.load(folder / f"{name}.wave.npy", mmap_mode="r", allow_pickle=False)
    rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    return [
        Utterance(
            row["text"], row["speaker"], row["place"], wave[slice(*row["samples"])],
            None if row["spoken"] is None else [(first, last) for first, last in row["spoken"]], row["costs"],
        )
        for row in rows
    ]  # fmt: skip
