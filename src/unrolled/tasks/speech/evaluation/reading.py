"""One set read by a network: what it writes, and what it pays for the true text, with its own audio or another."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.tasks.speech.model.batches import Batch, read_together
from unrolled.tasks.speech.model.encoder import Encoded
from unrolled.tasks.speech.model.network import Network, before
from unrolled.tasks.speech.model.search import Found, search

Floats = NDArray[np.float64]


class Forced(NamedTuple):
    """Of each token of a set, the true ones before it being read: its nats, whether another was likelier."""

    nats: Floats
    wrong: NDArray[np.bool_]


@torch.inference_mode()
def forced(network: Network, split: Split, *, wrong_audio: bool = False) -> Forced:
    """``wrong_audio``: each text beside the audio of another, of about the same length.

    nan for a text that stands alone, and where the other utterance says the same.
    """
    nats, wrong = np.full(len(split.tokens), np.nan), np.ones(len(split.tokens), dtype=bool)
    starts = np.asarray(split.documents)
    for chosen, batch in read_together(split, network.device):
        if wrong_audio and len(chosen) < 2:
            continue
        encoded = network.encode(batch.features, batch.frames)
        found = of_tokens(network, rolled(encoded) if wrong_audio else encoded, batch)
        same = (batch.targets == batch.targets.roll(1, 1)).all(0).tolist()
        for column, index in enumerate(chosen.tolist()):
            if wrong_audio and same[column]:
                continue
            length = int(batch.lengths[column])
            place = slice(int(starts[index]), int(starts[index]) + length)
            nats[place], wrong[place] = (each[:length, column].cpu().numpy() for each in found)
    return Forced(nats, wrong)


def of_tokens(network: Network, encoded: Encoded, batch: Batch) -> tuple[Tensor, Tensor]:
    """Nats, float64, and whether another token was likelier, both [L, B]."""
    hidden, _ = network.write(before(batch.targets), network.begin(encoded))
    scores = network.logits(hidden).double().log_softmax(-1)
    own = -scores.gather(-1, batch.targets[..., None])[..., 0]
    return own, (scores.argmax(-1) != batch.targets) | ~own.isfinite()


def rolled(encoded: Encoded) -> Encoded:
    """Each column's audio is that of the one before."""
    return Encoded(encoded.outputs.roll(1, 1), encoded.lengths.roll(1), encoded.ends.roll(1, 0))


@torch.inference_mode()
def found_in(network: Network, split: Split, *, beam: int, ctc_share: float) -> list[Found]:
    """What the network writes of each utterance; see `search`. A network without a CTC head is asked alone."""
    share = ctc_share if network.ctc is not None else 0.0
    found: dict[int, Found] = {}
    for chosen, batch in read_together(split, network.device):
        every = search(network, network.encode(batch.features, batch.frames), beam=beam, ctc_share=share)
        found |= dict(zip(chosen.tolist(), every, strict=True))
    return [found[index] for index in range(len(split.documents))]
