"""How much of what stands before a token a network makes use of: its loss when it is given only so much of it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Tokens
from unrolled.tasks.language_model.model.network import Network

COLUMNS, STEPS = 256, 32  # positions and time steps at a time: memory, not the figures, hangs on them


@torch.inference_mode()
def context_nats(
    network: Network, tokens: Tokens, positions: NDArray[np.int64], contexts: Sequence[int]
) -> dict[int, Tensor]:
    """-log p of the tokens at ``positions`` [N] when the forward stack starts anew so many tokens before each.

    {context: nats [N]}. Positions must lie at least as far into the text as the longest context. With context 1 the
    network is a bigram model; what longer contexts gain is what its state remembers. (Khandelwal et al. 2018 do so.)
    """
    if len(positions) and not max(contexts) <= positions.min() <= positions.max() < len(tokens):
        raise ValueError(f"positions must be {max(contexts)} to {len(tokens) - 1}, to have their contexts in the text")
    nats: dict[int, list[Tensor]] = {context: [] for context in contexts}
    for columns in (positions[first : first + COLUMNS] for first in range(0, len(positions), COLUMNS)):
        targets = torch.from_numpy(tokens[columns].astype(np.int64))
        for context, of_context in nats.items():
            rows = torch.from_numpy(tokens[columns + np.arange(-context, 0)[:, None]].astype(np.int64))
            state = network.initial_state(len(columns)).forward
            for part in rows.split(STEPS):
                read, state = network.read("forward", part, state)
            of_context.append(cross_entropy(network.logits(read[-1]), targets, reduction="none"))
    return {
        context: torch.cat(parts).nan_to_num(nan=torch.inf, posinf=torch.inf) if parts else torch.empty(0)
        for context, parts in nats.items()
    }
