"""Utterances side by side: their features, one sound a column, and the words that were said.

features  [T, B, F]  hundredths of a second down, 0 behind a sound's end        frames  [B]
targets   [L, B]     its words and <eos>, <eos> in the padding                  words   [B], <eos> among them
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.special_tokens import END_ID

READ = 32  # utterances read at a time where nothing is trained; no figure depends on it

Sound = NDArray[np.float32]  # [frames, features]


class Batch(NamedTuple):
    """Utterances side by side; ``lengths`` is what a rate of tokens a second counts: the words of each."""

    features: Tensor
    frames: Tensor
    targets: Tensor
    lengths: Tensor
    epoch: int = 0  # of those in which the language model may read words of its own; below 1 it may not
    updates: int = 0  # made before it in these epochs


class Utterance(NamedTuple):
    """One utterance as it is read: its sound, the ids of its words with <eos>, and where each word is heard.

    ``spoken`` int64 [L, 2]: first and last frame; -1 where nobody knows.
    """

    sound: Sound
    words: NDArray[np.int64]
    spoken: NDArray[np.int64]


def set_named(corpus: Corpus, name: str) -> Split:
    """train, valid, test, or one of the further sets that the corpus names."""
    if name in ("train", "valid", "test"):
        split: Split = getattr(corpus, name)
        return split
    parts = {part.removeprefix(f"{name}."): each for part, each in corpus.arrays.items() if part.startswith(f"{name}.")}
    return Split(parts.pop("tokens"), parts.pop("documents"), {**corpus.arrays, **parts})


def utterance(split: Split, index: int) -> Utterance:
    starts, frames = split.documents, split.arrays["frames"]
    first, last = int(starts[index]), int(starts[index + 1]) if index + 1 < len(starts) else len(split.tokens)
    sound = np.asarray(split.arrays["features"][int(frames[index]) : int(frames[index + 1])], dtype=np.float32)
    words = np.asarray(split.tokens[first:last], dtype=np.int64)
    return Utterance(sound, words, np.asarray(split.arrays["spoken"][first:last]))


def utterances(split: Split) -> list[Utterance]:
    return [utterance(split, index) for index in range(len(split.documents))]


def batch_of(every: Sequence[Utterance], device: torch.device | None = None) -> Batch:
    lengths = [len(each.words) for each in every]
    targets = texts_side_by_side([each.words for each in every], max(lengths), device)
    return Batch(
        *sounds_side_by_side([each.sound for each in every], device), targets, torch.tensor(lengths).to(device)
    )


def sounds_side_by_side(sounds: Sequence[Sound], device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """``features`` and ``frames`` as above."""
    frames = [len(sound) for sound in sounds]
    features = np.zeros((max(frames), len(sounds), sounds[0].shape[1]), dtype=np.float32)
    for column, sound in enumerate(sounds):
        features[: len(sound), column] = sound
    return torch.as_tensor(features).to(device), torch.tensor(frames).to(device)


def texts_side_by_side(
    texts: Sequence[Sequence[int] | NDArray[np.int64]], length: int, device: torch.device | None = None
) -> Tensor:
    """``targets`` as above, of so many rows."""
    targets = np.full((length, len(texts)), END_ID, dtype=np.int64)
    for column, words in enumerate(texts):
        targets[: len(words), column] = words
    return torch.as_tensor(targets).to(device)


def frame_counts(split: Split) -> NDArray[Any]:
    return np.diff(split.arrays["frames"])


def read_together(split: Split, device: torch.device | None = None) -> Iterator[tuple[NDArray[Any], Batch]]:
    """All utterances once, those of about one length together: their numbers, and the batch."""
    for chosen in of_about_one_length(frame_counts(split)):
        yield chosen, batch_of([utterance(split, int(index)) for index in chosen], device)


def of_about_one_length(frames: Sequence[int] | NDArray[Any]) -> list[NDArray[Any]]:
    """The numbers of sounds of so many frames each, READ at most together."""
    order = np.argsort(frames, kind="stable")
    return np.array_split(order, max(1, -(-len(order) // READ)))
