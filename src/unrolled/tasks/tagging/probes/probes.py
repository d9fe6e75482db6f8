"""What the probes need of a tagger: its stacks with the text that they read."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Split
from unrolled.probing.targets import TARGETS, lags_of_losses, most_dependent
from unrolled.recurrence.stack import Stack
from unrolled.tasks.tagging.model.batches import Sentences
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import predictions

BESIDE = 10  # words on either side of a target


def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, Tensor]]:
    """Each stack of words with what it reads of the split's first ``steps`` words, as if they were one sentence."""
    words = min(steps, len(split.tokens))
    sentences = Sentences.of(split)._replace(borders=np.array([0, words]))
    with torch.no_grad():
        text = network.embedded(sentences.batch(np.array([0])))
    return {name: (stack, text) for name, stack in network.stacks.items()}


def targets(network: Network, split: Split, given: None, probe: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """How far the gradient reaches to either side of the words whose tag costs more, by far, without their sentence.

    Of words with so many others on either side; their sentences are cut there. Nothing where no word has one.
    """
    sentences = Sentences.of(split)
    positions, beside = _amid(sentences.borders, split.arrays["tags"] < network.output.out_features)
    if not beside:
        return {}
    alone = predictions(network, split, sentences._replace(borders=np.arange(len(split.tokens) + 1))).nats
    falls = (alone[positions].astype(np.float64), predictions(network, split).nats[positions].astype(np.float64))
    chosen = most_dependent(positions, *falls)
    borders = np.stack([chosen - beside, chosen + beside + 1], axis=1).ravel()
    batch = sentences._replace(borders=borders).batch(np.arange(0, len(borders), 2))
    with torch.no_grad():
        inputs = network.embedded(batch)
        starts = {name: stack.initial_state(len(chosen)) for name, stack in network.stacks.items()}
        amid = {name: stack(inputs, starts[name])[0][beside] for name, stack in network.stacks.items()}
    frames = []
    for name, stack in network.stacks.items():
        read = inputs[beside:] if stack.layers[0].reverse else inputs[: beside + 1]
        loss = partial(_loss_at, network, amid, name, batch.tags[beside])
        frames.append(lags_of_losses(name, stack, read, starts[name], loss))
    return {"targets": pd.concat(frames, ignore_index=True)}


def _amid(borders: NDArray[np.int64], known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """The words of known tags with so many on either side in their sentence; so many: `BESIDE`, or fewer of few."""
    places, lengths = np.arange(len(known)), np.diff(borders)
    left = places - np.repeat(borders[:-1], lengths)
    nearest = np.where(known, np.minimum(left, np.repeat(borders[1:], lengths) - 1 - places), 0)
    beside = min(BESIDE, int(np.sort(nearest)[-min(TARGETS, len(nearest))]) or int(nearest.max(initial=0)))
    return np.flatnonzero(nearest >= beside), beside


def _loss_at(network: Network, amid: Mapping[str, Tensor], name: str, tags: Tensor, output: Tensor) -> Tensor:
    """Of the targets, [B]; ``output`` [B, H]: what the stack ``name`` says of them; ``amid``: what every stack does."""
    scores = network.output(torch.cat([output if each == name else amid[each] for each in amid], dim=-1))
    return cross_entropy(scores, tags, reduction="sum")


def context(network: Network, split: Split, units: Any, probe: Mapping[str, Any]) -> None:
    """No such probe: how much a tagger makes of its context shows in its accuracy by what stands to the right."""
