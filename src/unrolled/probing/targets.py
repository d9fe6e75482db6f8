"""How far back the gradient reaches from the losses of chosen targets alone, through h and through c.

A lag profile over all losses is that of the many that hang on what stands beside them; what an LSTM remembers does not
show in it. And between an input and the loss that needs it the gradient may travel in c, where h holds next to nothing.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack, State

TARGETS = 64  # of those that were looked at
COLUMNS = ("stack", "layer", "distance", "norm", "cell_norm")
NO_TARGETS = pd.DataFrame(columns=list(COLUMNS), dtype=float)
NO_ARRIVAL = pd.DataFrame(columns=["distance", "targets", "arrival", "cell_arrival"], dtype=float)


def most_dependent(
    positions: NDArray[np.int64], short: NDArray[np.float64], whole: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Those of ``positions`` whose nats fall most from a ``short`` context to all of it; in the order of the text."""
    with np.errstate(invalid="ignore"):
        fall = np.nan_to_num(short - whole, nan=-np.inf)
    chosen = np.argsort(-fall, kind="stable")[:TARGETS]
    return np.sort(positions[chosen])


def lags_of_losses(
    name: str, stack: Stack, inputs: Tensor, state: tuple[State, ...], loss: Callable[[Tensor], Tensor]
) -> pd.DataFrame:
    """Of each layer of a stack called ``name``, by distance back from the last input that it reads, [T, B, E].

    ``state``: before the first that it reads; ``loss``: of the stack's output at the last, [B, H], summed over columns.
    `norm`: ||dL/dh||, over all columns together; `cell_norm`: of what comes back to c from the step after it, nan at
    distance 0 and of cells without one.
    """
    steps, profile, states = len(inputs), Profile(), []
    for row in inputs.flip(0) if stack.layers[0].reverse else inputs:
        # One step a call, so that what comes back to each state can be asked for.
        output, state = stack(row[None], state, profile=profile)
        states.append(state)
    cells = [state[layer][1] for state in states[:-1] for layer in range(len(state)) if len(state[layer]) > 1]
    parameters = [each for each in stack.parameters() if each.requires_grad]
    found = torch.autograd.grad(loss(output[0]), [*parameters, *cells], allow_unused=True)[len(parameters) :]
    layers, frames = len(stack.layers), []
    for number, layer in enumerate(stack.layers):
        norms = profile.norms[layer.name]  # in the order of the text
        back = [float("nan"), *(_norm(each) for each in found[number::layers][::-1])]
        columns = {
            "distance": range(steps),
            "norm": (norms if layer.reverse else norms.flip(0)).double().numpy(),
            "cell_norm": back if cells else float("nan"),
        }
        frames.append(pd.DataFrame(columns).assign(stack=name, layer=number))
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _norm(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
