"""How far back the gradient reaches from the tokens that need their context most, through h and through c.

A lag profile over all losses is that of the many tokens that hang on the word before; what an LSTM remembers does not
show in it. And between a word and the one that needs it the gradient may travel in c, where h holds next to nothing.
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Tokens
from unrolled.recurrence.bptt import Profile
from unrolled.tasks.language_model.model.network import Network

STEPS = 100  # back from the target
TARGETS = 64  # of the tokens that were looked at
COLUMNS = ("layer", "distance", "norm", "cell_norm")


def most_dependent(
    positions: NDArray[np.int64], short: NDArray[np.float64], whole: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Those of ``positions`` whose nats fall most from a ``short`` context to all of it; in the order of the text."""
    with np.errstate(invalid="ignore"):
        fall = np.nan_to_num(short - whole, nan=-np.inf)
    chosen = np.argsort(-fall, kind="stable")[:TARGETS]
    return np.sort(positions[chosen])


def lags_of_targets(network: Network, tokens: Tokens, positions: NDArray[np.int64]) -> pd.DataFrame:
    """Of each layer of the forward stack, by distance back from the losses of the tokens at ``positions`` alone.

    `norm`: ||dL/dh||, over all targets together; `cell_norm`: of what comes back to c from the steps after it, nan at
    distance 0 and of cells without one. The state is warm: as many tokens before are read without gradient. Empty where
    a target stands too near to the beginning.
    """
    steps = min(STEPS, int(positions[0]) // 2) if len(positions) else 0
    if not steps:
        return pd.DataFrame(columns=list(COLUMNS), dtype=float)
    rows = torch.from_numpy(tokens[positions + np.arange(-2 * steps, 0)[:, None]].astype(np.int64)).to(network.device)
    with torch.no_grad():
        _, state = network.read("forward", rows[:steps], network.initial_state(len(positions)).forward)
    profile, states = Profile(), []
    for row in rows[steps:]:  # one step a call, so that what comes back to each state can be asked for
        hidden, state = network.read("forward", row[None], state, profile=profile)
        states.append(state)
    targets = torch.from_numpy(tokens[positions].astype(np.int64)).to(network.device)
    loss = cross_entropy(network.logits(hidden[0]), targets, reduction="sum")
    cells = [state[layer][1] for state in states[:-1] for layer in range(len(state)) if len(state[layer]) > 1]
    parameters = [each for each in network.parameters() if each.requires_grad]
    found = torch.autograd.grad(loss, [*parameters, *cells], allow_unused=True)[len(parameters) :]
    layers = len(network.forward_stack.layers)
    frames = []
    for number, layer in enumerate(network.forward_stack.layers):
        norms = profile.norms[layer.name].flip(0)
        back = [float("nan"), *(_norm(each) for each in found[number::layers][::-1])]
        columns = {
            "distance": range(steps),
            "norm": norms.double().numpy(),
            "cell_norm": back if cells else float("nan"),
        }
        frames.append(pd.DataFrame(columns).assign(layer=number))
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _norm(gradient: torch.Tensor | None) -> float:
    return 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
