"""Dropout with a generator of its own, so that a seed decides the masks whatever else draws random numbers."""

import torch
from torch import Tensor

DROPOUT_MASKS = ("step", "window")


def dropout(values: Tensor, rate: float, generator: torch.Generator | None, mask: str = "step") -> Tensor:
    """Zero elements of [T, B, F] with probability ``rate``, scale the rest by 1 / (1 - rate) (Srivastava et al. 2014).

    For the connections between layers, never within one. ``mask``: "step" draws one for each time step (Zaremba et al.
    2014), "window" one for all steps, for each column another (Gal & Ghahramani 2016; Merity et al. 2018). Without a
    generator, as in evaluation, the values pass unchanged.
    """
    if rate == 0 or generator is None:
        return values
    keep = torch.empty_like(values[:1] if mask == "window" else values).bernoulli_(1 - rate, generator=generator)
    return values * keep.div_(1 - rate)
