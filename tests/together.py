"""Trainings of every cell and task, whose steps two processes take together: `together.py FOLDER` is the second."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.distributed import init_process_group

import labelled_texts
import made_up_speech
import miniature
import tagging_corpora
from unrolled.ground.corpus import Split
from unrolled.ground.special_tokens import END_ID
from unrolled.training.fit import Step, fit
from unrolled.training.processes import Processes
from unrolled.training.training import Training

STEPS = 6  # of each training
DROPOUT = {"dropout": 0.2, "weight_dropout": 0.3, "embedding_dropout": 0.2, "layers": 2}
WORDS = ("da", "be", "co", "du", "ef")
TEXT = miniature.text_of(170)
STREAM, VALID = miniature.split_of(TEXT), miniature.split_of(miniature.text_of(40, seed=1))
LINES = miniature.split_of(np.where(TEXT % 7, TEXT, END_ID).astype(np.uint16))
LANGUAGE: dict[str, dict[str, Any]] = {
    **{cell: {"cell": cell} for cell in ("rnn", "relu", "gru", "mingru", "minlstm")},
    "lstm of three columns": {"columns": 3, "clip_norm": None},
    "dropout": DROPOUT | {"columns": 5, "reset": 0.3, "profile_every": 4},
    "untied": DROPOUT | {"tied": False, "dropout_mask": "window", "weight_dropout": 0.0},
    "bilstm": {"bidirectional": True, "dropout": 0.2},
    "bilstm, dense": {"bidirectional": True, "tied": False, "layers": 2, "connection": "dense", "optimiser": "adam"},
    "adaptive": {"tied": False, "softmax": "adaptive", "cutoffs": [8], "average_after": 0},
    "awd": {
        "layers": 2, "hidden": [8, 6], "dropout": {"input": 0.3, "between": 0.1, "output": 0.3}, "columns": 3,
        "dropout_mask": "window", "weight_dropout": 0.3, "embedding_dropout": 0.1, "weight_decay": 1e-4,
        "window_varies": True, "activation_regularisation": 2.0, "temporal_activation_regularisation": 1.0,
    },
    "diverges": {"cell": "relu", "clip_norm": None, "learning_rate": 1e20},
    "sentences": {"reset": "sentence", "dropout": 0.2, "columns": 3},
    "sentences, bilstm": {"reset": "sentence", "bidirectional": True, "optimiser": "adamw"},
}


def language_arm(name: str) -> dict[str, Any]:
    changes = LANGUAGE[name]
    rate = 0.01 if "optimiser" in changes else 1.0
    arm = miniature.arm_of("lstm-clipped-1", **({"learning_rate": rate, "hidden": 6, "epochs": 2} | changes))
    arm["train"]["seed"] = 1
    return arm


@cache
def tagged() -> Any:
    def tag(words: Any, place: int) -> str:
        return f"T{WORDS.index(words[place]) % 3}"

    made = (tagging_corpora.drawn(count, WORDS, tag, seed=seed) for seed, count in enumerate((41, 8, 8)))
    return tagging_corpora.encoded(*made)


def of_other_tasks() -> dict[str, tuple[dict[str, Any], dict[str, int], Split]]:
    """Arm, sizes and split of each; none has a number of sequences that batches of its size share out evenly."""
    texts = labelled_texts.drawn(lambda text: int(text[0] > 4), count=41, lengths=(2, 9))
    words = {"words": len(tagged().counts), "tags": 3, "given": 0, "letters": len(tagged().names["letters"])}
    heard = made_up_speech.random_speech(17, (1, 4), (28, 60))
    bilstm = {"bidirectional": True, "dropout": 0.2}
    return {
        "tagging": (
            arm("tagging", tagging_corpora, **bilstm, word_dropout=0.5, chain=True, sentences=8), words, tagged().train
        ),
        "classification": (
            arm("classification", labelled_texts, **bilstm, word_dropout=0.2, read_out="max", skip=True, texts=8),
            {"vocabulary": 8, "labels": 2}, texts,
        ),
        "speech": (
            arm("speech", made_up_speech, **bilstm, pyramid=True, utterances=4), {"vocabulary": 6, "features": 4}, heard
        ),
    }  # fmt: skip


def arm(task: str, small: Any, **changes: Any) -> dict[str, Any]:
    network = getattr(small, "SMALL", None) or small.NETWORK
    train = small.TRAIN | {"epochs": 2, "seed": 1} | {name: changes[name] for name in changes if name in small.TRAIN}
    return {"task": task, "network": network | {n: c for n, c in changes.items() if n not in train}, "train": train}


def trainings() -> Iterator[tuple[str, Training, Split, Split]]:
    """A fresh one of each, with what it is trained on and, where it reaches an epoch's end, scored on."""
    for name in LANGUAGE:
        train = LINES if "sentences" in name else STREAM
        yield name, Training.of(language_arm(name), miniature.SIZES), train, VALID
    for name, (settings, sizes, split) in of_other_tasks().items():
        yield name, Training.of(settings, sizes), split, split


def steps(training: Training, train: Split, valid: Split, count: int = STEPS) -> Iterator[Step]:
    """The next ones, with what else is due on their way."""
    yield from islice((each for each in fit(training, train, valid) if isinstance(each, Step)), count)


def meet(folder: str, rank: int) -> Processes:
    init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    return Processes(rank, 2)


def main(folder: str) -> None:
    processes = meet(folder, 1)
    for _, training, train, valid in trainings():
        training.processes = processes
        for _ in steps(training, train, valid):
            pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
