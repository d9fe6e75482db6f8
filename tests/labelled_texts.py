"""Labelled texts that a test makes up: as splits, as a corpus, and classifiers trained on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unrolled.ground.corpus import Corpus, Split
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.model.task import Task, label_probabilities
from unrolled.training.fit import fit
from unrolled.training.training import Options, Training

SMALL: dict[str, Any] = {"cell": "lstm", "bidirectional": False, "embedding": 8, "hidden": 16, "layers": 1}
TRAIN: dict[str, Any] = {
    "seed": 1, "epochs": 8, "texts": 32, "optimiser": "adam", "learning_rate": 0.02, "anneal_factor": 1.0,
    "anneal_after": None, "average_after": None, "weight_decay": 0.0, "profile_every": 1, "clip_norm": 1.0,
}  # fmt: skip


def split_of(texts: Sequence[Sequence[int]], labels: Sequence[int]) -> Split:
    """``texts``: the ids of each; each is spelled w<id>."""
    written = "".join(f"{word}\n" for text in texts for word in (*(f"w{index}" for index in text), ""))
    arrays = {
        "labels": np.array(labels, dtype=np.int64),
        "written": np.frombuffer(written.encode(), dtype=np.uint8),
    }
    starts = np.cumsum([0, *map(len, texts)][:-1]).astype(np.int64)
    return Split(np.concatenate([np.array(text, dtype=np.uint16) for text in texts]), starts, arrays)


def corpus_of(train: Split, valid: Split, test: Split, labels: Sequence[str], unit: str = "word") -> Corpus:
    types = max(int(split.tokens.max()) for split in (train, valid, test)) + 1
    counts = np.bincount(train.tokens, minlength=types).astype(np.int64)
    return Corpus(train, valid, test, counts, {}, "digest", {}, {"labels": list(labels), "unit": [unit]})


def drawn(rule: Any, *, count: int, lengths: tuple[int, int], types: int = 8, seed: int = 1) -> Split:
    """So many texts of random words 2, 3, ..., labelled by ``rule``, as long as ``lengths``, least and most."""
    random = np.random.default_rng(seed)
    texts = [random.integers(2, types, random.integers(lengths[0], lengths[1] + 1)) for _ in range(count)]
    return split_of([text.tolist() for text in texts], [int(rule(text)) for text in texts])


def trained(train: Split, *, types: int = 8, labels: int = 2, network: Any = None, **settings: Any) -> Network:
    """The network at the end of its training."""
    own = TRAIN | settings
    task, generator = Task(own), torch.Generator().manual_seed(own["seed"])
    model = task.model({"vocabulary": types, "labels": labels}, SMALL | (network or {}), generator)
    for _ in fit(Training(task, model, Options.of(own), generator), train, train):
        pass
    return model


def accuracy(network: Network, split: Split) -> float:
    return float((label_probabilities(network, split).argmax(1) == split.arrays["labels"]).mean())
