"""The loss around an explosion: training is run again up to the step before it, and the loss measured along its step.

                      |                      The wall that a gradient step runs into, or jumps off (Pascanu, Mikolov &
    loss         _____|                      Bengio 2013, figure 6). The norm is measured at the dot; a step of
            ____/                            learning_rate * norm lands far to the right, one of learning_rate *
     ______/ o --- clipped --- unclipped --> clip_norm near by.
             distance along -gradient

Training is deterministic, so the weights before any step can be had again, and none need be kept.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.training.fit import steps, upcoming
from unrolled.training.training import Training


class Cliff(NamedTuple):
    """The mean loss of one batch at each distance, L2 over all parameters, down its gradient."""

    norm: float  # of the gradient at distance 0
    distances: list[float]
    losses: list[float]


def cliff(training: Training, train: Split, *, step: int, distances: Iterable[float]) -> Cliff:
    """Train up to the step before number ``step``, then measure that step's batch, at distance 0 and ``distances``.

    ``training`` stands before its first step; ``step`` lies in its first epoch. Dropout is as it was in that step.
    """
    if step > 1:
        next(taken for taken in steps(training, train) if taken.number == step - 1)
    batch, entry = next(upcoming(training, train))
    model, random = training.model, training.generator.get_state()

    def mean_loss() -> Tensor:
        training.generator.set_state(random)
        total, terms, _ = training.task.loss(model, batch, entry, generator=training.generator)
        return total / terms

    training.optimiser.zero_grad()
    start = mean_loss()
    start.backward()
    reached = [parameter for parameter in model.parameters() if parameter.grad is not None]
    gradient = [parameter.grad.to_dense() for parameter in reached if parameter.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([each.double().norm() for each in gradient])).item()
    before = [parameter.detach().clone() for parameter in reached]
    places, losses = list(distances), [start.item()]
    with torch.no_grad():
        for distance in places:
            for parameter, old, direction in zip(reached, before, gradient, strict=True):
                parameter.copy_(old - distance / norm * direction)
            losses.append(mean_loss().item())
    return Cliff(norm, [0.0, *places], losses)
