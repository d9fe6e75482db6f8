"""How far back the gradient of a language model reaches from chosen tokens."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Tokens
from unrolled.probing.targets import NO_TARGETS, lags_of_losses
from unrolled.tasks.language_model.model.network import Network

STEPS = 100  # back from the target


def lags_of_targets(network: Network, tokens: Tokens, positions: NDArray[np.int64], steps: int = STEPS) -> pd.DataFrame:
    """Of each layer of the forward stack, by distance back from the losses of the tokens at ``positions`` alone.

    ``steps`` at most. As `lags_of_losses`. The state is warm: as many tokens before are read without gradient. Empty
    where a target stands too near to the beginning.
    """
    steps = min(steps, int(positions[0]) // 2) if len(positions) else 0
    if not steps:
        return NO_TARGETS
    rows = torch.from_numpy(tokens[positions + np.arange(-2 * steps, 0)[:, None]].astype(np.int64)).to(network.device)
    targets = torch.from_numpy(tokens[positions].astype(np.int64)).to(network.device)
    with torch.no_grad():
        _, state = network.read("forward", rows[:steps], network.initial_state(len(positions)).forward)
        inputs = network.embedding(rows[steps:])

    def loss(hidden: Tensor) -> Tensor:
        return cross_entropy(network.logits(hidden), targets, reduction="sum")

    return lags_of_losses("forward", network.forward_stack, inputs, state, loss)
