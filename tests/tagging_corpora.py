"""Tagged sentences made up for tests, encoded in memory as the vocabulary stage encodes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from unrolled.ground.corpus import Corpus, read_corpus
from unrolled.tasks.tagging.corpus.corpus import encode
from unrolled.tasks.tagging.corpus.sentences import Sentence, write_text
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import Task
from unrolled.training.fit import fit
from unrolled.training.training import Training

Drawn = list[tuple[list[str], ...]]  # the words and the tags of sentences; third, what is given of the words
NETWORK: dict[str, Any] = {
    "cell": "lstm", "bidirectional": False, "embedding": 8, "hidden": 16, "layers": 1, "letter_embedding": 4,
    "letter_hidden": 3, "given_embedding": 3, "dropout": 0.0, "dropout_mask": "step", "word_dropout": 0.0,
    "chain": False,
}  # fmt: skip
TRAIN: dict[str, Any] = {
    "seed": 1, "epochs": 1, "sentences": 8, "optimiser": "adam", "learning_rate": 0.01, "anneal_factor": 1.0,
    "anneal_after": None, "average_after": None, "weight_decay": 0.0, "profile_every": 1, "clip_norm": 1.0,
}  # fmt: skip


def encoded(train: Drawn, valid: Drawn, test: Drawn) -> Corpus:
    splits = {"train": train, "valid": valid, "test": test}
    sentences = {split: [Sentence(*each[:2], "d", *each[2:]) for each in drawn] for split, drawn in splits.items()}
    with TemporaryDirectory() as folder:
        place = Path(folder)
        write_text(place / "text", sentences, how="by hand", facts={"corpus": "made up", "settings": {}})
        vocabulary = {"vocabulary": {"lowercase": False, "min_count": 1}}
        encode(vocabulary, place / "text", place / "encoded", place / "c.json")
        corpus = read_corpus(place / "encoded")
        return corpus._replace(
            **{split: held(getattr(corpus, split)) for split in splits}, counts=np.array(corpus.counts)
        )


def told(sentences: Drawn, of: Callable[[Sequence[str], int], str]) -> Drawn:
    """The same, and beside each word what ``of`` gives of the word at a place."""
    return [(words, tags, [of(words, place) for place in range(len(words))]) for words, tags, *_ in sentences]


def held(split: Any) -> Any:
    """In memory, as the files do not stay."""
    return split._replace(
        tokens=np.array(split.tokens),
        documents=np.array(split.documents),
        arrays={name: np.array(each) for name, each in split.arrays.items()},
    )


def drawn(
    sentences: int, words: Sequence[str], tag: Callable[[Sequence[str], int], str], *, seed: int, longest: int = 9
) -> Drawn:
    """Sentences of words drawn alike and independently; ``tag`` gives the tag of the word at a place."""
    random = np.random.default_rng(seed)
    made = []
    for length in random.integers(1, longest + 1, sentences):
        chosen = [str(each) for each in random.choice(list(words), length)]
        made.append((chosen, [tag(chosen, place) for place in range(length)]))
    return made


def trained(corpus: Corpus, network: Mapping[str, Any], **train: Any) -> tuple[Network, Task]:
    arm = {"task": "tagging", "arm": "arm", "network": NETWORK | network, "train": TRAIN | train}
    training = Training.of(arm, Task(arm["train"]).sizes(corpus))
    for _ in fit(training, corpus.train, corpus.valid):
        pass
    assert isinstance(training.model, Network) and isinstance(training.task, Task)
    return training.model, training.task


def untrained(corpus: Corpus, **network: Any) -> Network:
    task = Task(TRAIN)
    return task.model(task.sizes(corpus), NETWORK | network, torch.Generator().manual_seed(1))
