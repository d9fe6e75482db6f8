"""Dropout with a generator of its own, so that a seed decides the masks whatever else draws random numbers.

They are drawn where the generator is, on the CPU, so that a seed draws the same masks for a network on any device.
"""

import torch
from torch import Tensor

DROPOUT_MASKS = ("step", "window")


def check_rate(argument: str, rate: float) -> None:
    """ValueError where ``rate`` is no share that can drop out."""
    if not 0 <= rate < 1:
        raise ValueError(f"{argument} must be at least 0 and below 1, not {rate}")


def dropout(values: Tensor, rate: float, generator: torch.Generator | None, mask: str = "step") -> Tensor:
    """Zero elements of [T, B, F] with probability ``rate``, scale the rest by 1 / (1 - rate) (Srivastava et al. 2014).

    For the connections between layers, and for weights. ``mask``: "step" draws one for each time step (Zaremba et al.
    2014), "window" one for all steps, for each column another (Gal & Ghahramani 2016; Merity et al. 2018). Without a
    generator, as in evaluation, the values pass unchanged.
    """
    if rate == 0 or generator is None:
        return values
    like = values[:1] if mask == "window" else values
    keep = torch.empty_like(like, device=generator.device).bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    return values * keep.to(values.device)


def dropped_types(types: int, rate: float, generator: torch.Generator | None, like: Tensor) -> Tensor | None:
    """What to multiply each type's embedding with, [V]: 0 with probability ``rate``, else 1 / (1 - rate).

    Whole words drop out, wherever they stand in the window (Gal & Ghahramani 2016, section 4.2). None: nothing does.
    """
    if rate == 0 or generator is None:
        return None
    return dropout(like.new_ones(types), rate, generator)
