"""A text as a network was trained to read it: as one stream, or each sentence anew, from a zero state."""

import numpy as np
import torch
from torch import Tensor

from unrolled.ground.corpus import Tokens
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions

WINDOW = 512  # tokens at a time; no figure depends on it


def forward_nats(network: Network, tokens: Tokens) -> Tensor:
    """-log p of each token by the forward head, [N]."""
    ends: list[int] = (np.flatnonzero(tokens == END_ID) + 1).tolist() if network.anew else []
    parts = [part for part in np.split(tokens, ends) if len(part)]
    scored = (each for part in parts for each in predictions(network, part, window=WINDOW, heads="forward"))
    return torch.cat([each.nats("forward") for each in scored])


def last_sentence(network: Network, ids: list[int]) -> list[int]:
    """What is read of a text that goes on: all of it, or of its last sentence what there is."""
    return ids[len(ids) - ids[::-1].index(END_ID) :] if network.anew and END_ID in ids else ids
