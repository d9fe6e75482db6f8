"""A text read word by word beside its sound: how likely each word is, given those before it, and where it is heard."""

import torch
from torch import Tensor

from unrolled.tasks.speech.model.encoder import Encoded
from unrolled.tasks.speech.model.network import Network, before


@torch.inference_mode()
def reread(network: Network, encoded: Encoded, targets: Tensor) -> tuple[Tensor, Tensor | None]:
    """Of texts [L, B], one a sound: the logits of each word [L, B, V], and the weights that it is heard with [L, B, T].

    The second is None for a network without attention.
    """
    writing = network.begin(encoded)
    logits, weights = [], []
    for words in before(targets):
        hidden, writing = network.write(words[None], writing)
        logits.append(network.logits(hidden[0]))
        if writing.weights is not None:
            weights.append(writing.weights[:, 0])
    return torch.stack(logits), torch.stack(weights) if weights else None
