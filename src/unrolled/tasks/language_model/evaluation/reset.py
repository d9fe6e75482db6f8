"""The forward head without what stands before a sentence: its state starts anew at each."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from unrolled.ground.corpus import Tokens
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network


@torch.inference_mode()
def reset_nats(network: Network, tokens: Tokens, *, columns: int = 32, window: int = 16) -> Tensor:
    """-log p of every token [N], in order, of the forward head that starts anew at each sentence: after each ``<eos>``.

    Sentences of about one length stand side by side, ``columns`` of them, ``window`` steps at a time; the figures
    depend on neither. What stands below a shorter one is read, but counts nowhere.
    """
    text = torch.from_numpy(np.asarray(tokens, dtype=np.int64))
    ends = (torch.nonzero(text == END_ID)[:, 0] + 1).tolist()
    bounds = [0, *ends] + [len(text)] * (not ends or ends[-1] < len(text))
    sentences = sorted(pairwise(bounds), key=lambda each: each[0] - each[1])  # the longest first
    nats = torch.empty(len(text))
    for batch in (sentences[first : first + columns] for first in range(0, len(sentences), columns)):
        places = torch.arange(batch[0][1] - batch[0][0])[:, None] + torch.tensor([start for start, _ in batch])
        inside = places < torch.tensor([end for _, end in batch])
        places = places.clamp(max=len(text) - 1)
        left = torch.cat([torch.full((1, len(batch)), END_ID), text[places[:-1]]])
        state = network.initial_state(len(batch)).forward
        for read, targets, scored in zip(left.split(window), places.split(window), inside.split(window), strict=True):
            hidden, state = network.read("forward", read, state)
            own = text[targets][..., None]
            of_tokens = -log_softmax(network.logits(hidden), dim=-1).gather(2, own)[..., 0]
            nats[targets[scored]] = of_tokens[scored]
    return nats.nan_to_num(nan=torch.inf, posinf=torch.inf)
