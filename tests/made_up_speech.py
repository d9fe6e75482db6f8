"""Speech that a test makes up: each word a band of pitch that sounds for a while, without files and without noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.task import Task
from unrolled.training.fit import fit
from unrolled.training.training import Options, Training

FIRST = 2  # the id of the first word, behind <unk> and <eos>
FRAMES, PAUSE = 4, 2  # of a word, and of the silence around it

SMALL: dict[str, Any] = {
    "conditioning": "attention", "cell": "lstm", "bidirectional": False, "hidden": 24, "layers": 1,
    "frames_per_step": 2, "pyramid": False, "attention": 16, "filters": 4, "filter_width": 5, "ctc": True,
    "decoder": "lstm", "decoder_embedding": 8, "decoder_hidden": 24,
}  # fmt: skip
TRAIN: dict[str, Any] = {
    "seed": 1, "epochs": 8, "utterances": 16, "optimiser": "adam", "learning_rate": 0.01, "anneal_factor": 1.0,
    "anneal_after": None, "average_after": None, "weight_decay": 0.0, "profile_every": 1, "clip_norm": 1.0,
    "ctc_weight": 0.3, "tempo": 0.0, "vocal_tract": 0.0, "microphone": 0.0, "noise": 0.0, "masks": 0,
}  # fmt: skip


def network_of(types: int = 6, features: int = 4, *, seed: int = 1, **settings: Any) -> Network:
    return Network(types, features, **SMALL | settings, generator=torch.Generator().manual_seed(seed))


def split_of(sounds: Sequence[Any], texts: Sequence[Sequence[int]], *, spoken: Any = None, costs: Any = None) -> Split:
    """``sounds``: [frames, features] each; ``texts``: ids without <eos>; ``spoken``: as in an `Utterance`."""
    tokens = [[*text, END_ID] for text in texts]
    places = [[(-1, -1)] * len(text) for text in texts] if spoken is None else spoken
    arrays = {
        "features": np.concatenate(sounds).astype(np.float16),
        "frames": np.cumsum([0, *map(len, sounds)]),
        "spoken": np.array([place for each in places for place in (*each, (-1, -1))], dtype=np.int64),
        "costs": np.concatenate(costs) if costs is not None else np.full(sum(map(len, tokens)), np.nan),
        "speakers": np.zeros(len(texts), dtype=np.int64),
        "space": np.array([-1]),
    }
    starts = np.cumsum([0, *map(len, tokens)])[:-1].astype(np.int64)
    return Split(np.concatenate(tokens).astype(np.uint32), starts, arrays)


def corpus_of(train: Split, valid: Split, test: Split, types: int) -> Corpus:
    names = {"words": [f"w{index}" for index in range(types)], "unit": ["word"], "speakers": ["one"], "sets": []}
    return Corpus(train, valid, test, np.bincount(train.tokens, minlength=types), {}, "digest", {}, names)


def said(text: Sequence[int], words: int) -> tuple[Any, list[tuple[int, int]]]:
    """The sound of a text, [frames, words], and first and last frame of each word; a pause before, between, behind."""
    sound = np.zeros((PAUSE + len(text) * (FRAMES + PAUSE), words), dtype=np.float32)
    starts = [PAUSE + place * (FRAMES + PAUSE) for place in range(len(text))]
    for start, word in zip(starts, text, strict=True):
        sound[start : start + FRAMES, word - FIRST] = 2.0
    return sound, [(start, start + FRAMES - 1) for start in starts]


def speech_of(texts: Sequence[Sequence[int]], words: int, **arrays: Any) -> Split:
    every = [said(text, words) for text in texts]
    return split_of([sound for sound, _ in every], texts, spoken=[places for _, places in every], **arrays)


def drawn(count: int, lengths: tuple[int, int], words: int = 4, seed: int = 1) -> list[list[int]]:
    """So many texts of random words, as long as ``lengths``, least and most."""
    random = np.random.default_rng(seed)
    sizes = random.integers(lengths[0], lengths[1] + 1, count)
    return [random.integers(FIRST, FIRST + words, size).tolist() for size in sizes]


def random_speech(count: int, lengths: tuple[int, int], frames: tuple[int, int], *, types: int = 6, features: int = 4,
                  seed: int = 1) -> Split:  # fmt: skip
    """Texts beside sounds that have nothing to do with them, of so many frames."""
    random = np.random.default_rng(seed)
    sounds = [random.normal(size=(random.integers(frames[0], frames[1] + 1), features)) for _ in range(count)]
    return split_of(sounds, drawn(count, lengths, types - FIRST, seed))


def trained(train: Split, *, types: int, network: Any = None, **settings: Any) -> Network:
    """The network at the end of its training."""
    own = TRAIN | settings
    task, generator = Task(own), torch.Generator().manual_seed(own["seed"])
    sizes = {"vocabulary": types, "features": train.arrays["features"].shape[1]}
    training = Training(task, task.model(sizes, SMALL | (network or {}), generator), Options.of(own), generator)
    few = speech_of(drawn(2, (1, 2)), sizes["features"])  # no more than it takes: nothing hangs on it
    for _ in fit(training, train, few):
        pass
    model = training.model
    assert isinstance(model, Network)
    return model
