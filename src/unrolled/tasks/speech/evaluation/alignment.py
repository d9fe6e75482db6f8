"""Where a network hears a word: which share of its attention, and of its gradient, lies where the word was spoken.

Where the words of an utterance were joined, their boundaries are known to the frame, and what alignment is usually only
looked at for can be counted. A time step of several frames counts by the share of them that lies within.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.speech.model.batches import Batch, Utterance, batch_of, utterance
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.rereading import reread
from unrolled.tasks.speech.model.task import word_nats

UTTERANCES = 96  # whose gradients are taken

Floats = NDArray[np.float64]


class Shares(NamedTuple):
    """The mean over words; nan where the network attends to nothing, or nobody knows where the words are."""

    attention: float
    gradient: float


def shares(network: Network, split: Split) -> Shares:
    """Of the first utterances of a split whose words' places are known."""
    every = [utterance(split, index) for index in range(min(UTTERANCES, len(split.documents)))]
    known = [each for each in every if (each.spoken[:-1, 0] >= 0).all()]
    if not known or network.encoder is None:
        return Shares(float("nan"), float("nan"))
    attended, sloped = [], []
    for first in range(0, len(known), 32):
        some = known[first : first + 32]
        batch = batch_of(some, network.device)
        weights, slopes = attention_of(network, batch), gradient_of(network, batch)
        for column, each in enumerate(some):
            inside = within(each)
            sloped += _shares(slopes[: len(inside), : len(each.sound), column], inside)
            if weights is not None:
                per_step = network.encoder.frames_per_output
                frames = np.repeat(weights[: len(inside), :, column], per_step, axis=1)[:, : len(each.sound)]
                attended += _shares(frames, inside)
    return Shares(*(float(np.mean(each)) if each else float("nan") for each in (attended, sloped)))


def within(each: Utterance) -> NDArray[np.bool_]:
    """[words, frames]: which frames belong to which word."""
    frames = np.arange(len(each.sound))
    spoken = each.spoken[each.words != END_ID]
    return (frames >= spoken[:, :1]) & (frames <= spoken[:, 1:])


def _shares(measured: Floats, inside: NDArray[np.bool_]) -> list[float]:
    whole = measured.sum(1)
    return [float(share) for share in (measured * inside).sum(1)[whole > 0] / whole[whole > 0]]


@torch.inference_mode()
def attention_of(network: Network, batch: Batch) -> Floats | None:
    """The weights that each true word is written with: [L, T, B]; None where there is no attention."""
    if network.attention is None:
        return None
    _, weights = reread(network, network.encode(batch.features, batch.frames), batch.targets)
    assert weights is not None
    found: Floats = weights.transpose(1, 2).double().cpu().numpy()
    return found


def gradient_of(network: Network, batch: Batch) -> Floats:
    """||d nats of a word / d features of a frame||, [L, T, B]: of each word the gradient of its own loss alone."""
    features: Tensor = batch.features.clone().requires_grad_(True)
    encoded = network.encode(features, batch.frames)
    nats = word_nats(network, encoded, batch)
    rows = []
    for row in nats:  # the columns are apart: the gradient of their sum is of each its own
        (slope,) = torch.autograd.grad(row.sum(), features, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros_like(features[..., 0]) if slope is None else slope.norm(dim=-1))
    found: Floats = torch.stack(rows).double().cpu().numpy()
    return found


def attention_table(network: Network, split: Split, count: int) -> pd.DataFrame:
    """The weights of each word of the first utterances by frame: a row a place where they are above 1 in 1,000."""
    rows = []
    for index in range(min(count, len(split.documents))):
        each = utterance(split, index)
        weights = attention_of(network, batch_of([each], network.device))
        if weights is None:
            break
        steps = weights[:, :, 0]
        rows += [
            (index, word, step, round(float(steps[word, step]), 4)) for word, step in np.argwhere(steps > 1e-3).tolist()
        ]
    return pd.DataFrame(rows, columns=["utterance", "word", "step", "weight"])
