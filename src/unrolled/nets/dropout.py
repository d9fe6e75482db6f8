"""Dropout with a generator of its own, so that a seed decides the masks whatever else draws random numbers."""

import torch
from torch import Tensor


def dropout(values: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Zero each element with probability ``rate`` and scale the rest by 1 / (1 - rate) (Srivastava et al. 2014).

    A mask a time step, on the connections between layers only (Zaremba et al. 2014). Without a generator, as in
    evaluation, the values pass unchanged.
    """
    if rate == 0 or generator is None:
        return values
    keep = torch.empty_like(values).bernoulli_(1 - rate, generator=generator)
    return values * keep.div_(1 - rate)
