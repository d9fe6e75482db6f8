"""Gradient descent without momentum or decay: torch.optim.SGD's bits, without its imports.

Making any of torch's optimisers imports torch's compiler, which takes 1.8 s: of every training, and of every probe that
trains again up to an explosion.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


class GradientDescent:
    """parameter <- parameter - lr gradient; the part of torch.optim.Optimizer that a training uses."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]

    def zero_grad(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Parameters without a gradient stay as they are; a sparse one moves the rows that it has."""
        (group,) = self.param_groups
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-group["lr"])

    def state_dict(self) -> dict[str, Any]:
        """It keeps nothing of the past but its rate."""
        return {"state": {}, "param_groups": [{"lr": self.param_groups[0]["lr"]}]}

    def load_state_dict(self, content: Mapping[str, Any]) -> None:
        self.param_groups[0]["lr"] = content["param_groups"][0]["lr"]
