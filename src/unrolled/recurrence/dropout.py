"""Dropout with a generator of its own, so that a seed decides the masks whatever else draws random numbers.

They are drawn where the generator is, on the CPU, so that a seed draws the same masks for a network on any device.
"""

from typing import Any, Self

import torch
from torch import Tensor

from unrolled.recurrence.columns import drawn

DROPOUT_MASKS = ("step", "window")


class WindowMasks:
    """The masks of one window of ``steps`` time steps, for who reads it more than once: whole, or a part at a time.

    Each is drawn for all time steps when a layer first asks for it. So they are those that a window draws which is read
    once and whole, from the same state of ``generator``.
    """

    def __init__(self, steps: int, generator: torch.Generator) -> None:
        self._steps, self._generator = steps, generator
        self._drawn: list[Tensor] = []
        self._asked, self._part = 0, slice(0, steps)

    def of(self, part: slice) -> Self:
        """From now on for a reading of these time steps, which asks for the first mask again."""
        self._asked, self._part = 0, part
        return self

    def next(self, shape: torch.Size, share: float, *, of_steps: bool) -> Tensor:
        """As ``draw_kept``; ``of_steps``: the mask has a row a time step, of which those of the part are due."""
        if self._asked == len(self._drawn):
            whole = torch.Size((self._steps, *shape[1:])) if of_steps else shape
            self._drawn.append(_draw_kept(whole, share, self._generator))
        mask = self._drawn[self._asked]
        self._asked += 1
        return mask[self._part] if of_steps else mask


MaskSource = torch.Generator | WindowMasks  # what masks are taken from


def check_rate(argument: str, rate: float) -> None:
    """ValueError where ``rate`` is no share that can drop out."""
    if not 0 <= rate < 1:
        raise ValueError(f"{argument} must be at least 0 and below 1, not {rate}")


def dropout(values: Tensor, rate: float, generator: MaskSource | None, mask: str = "step") -> Tensor:
    """Zero elements of [T, B, F] with probability ``rate``, scale the rest by 1 / (1 - rate) (Srivastava et al. 2014).

    For the connections between layers, and for weights. ``mask``: "step" draws one for each time step (Zaremba et al.
    2014), "window" one for all steps, for each column another (Gal & Ghahramani 2016; Merity et al. 2018). Without a
    generator, as in evaluation, the values pass unchanged.
    """
    if rate == 0 or generator is None:
        return values
    shape = (values[:1] if mask == "window" else values).shape
    if isinstance(generator, WindowMasks):
        kept = generator.next(shape, 1 - rate, of_steps=mask == "step" and values.dim() == 3)
    else:
        kept = drawn_kept(shape, 1 - rate, generator, 1 if values.dim() == 3 else None)
    if values.dtype == torch.float32 and values.device.type == "cpu":
        dropped: Tensor = _Masked.apply(values, kept, values.new_ones(1).div_(1 - rate))
        return dropped
    return values * kept.to(values.device).to(values.dtype).div_(1 - rate)  # it travels as bytes


def drawn_kept(shape: torch.Size, share: float, generator: torch.Generator, axis: int | None) -> Tensor:
    """As ``draw_kept``; ``axis``: the one along which the shape has columns, if it has any."""
    return drawn(lambda whole: _draw_kept(whole, share, generator), shape, generator, axis)


def _draw_kept(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    from unrolled.recurrence.compiled.masks import draw_kept  # here, not above: see `compiled/dispatch.py`

    return draw_kept(shape, share, generator)


class _Masked(torch.autograd.Function):
    """The product with a mask that is kept as bytes, on one thread: to wake a second one would take longer."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: Tensor, scale: Tensor) -> Tensor:
        from unrolled.recurrence.compiled.masks import masked  # here, not above: see `compiled/dispatch.py`

        ctx.save_for_backward(kept, scale)
        return masked(values, kept, scale)

    @staticmethod
    def backward(ctx: Any, d_dropped: Tensor) -> tuple[Tensor, None, None]:
        return _Masked.apply(d_dropped, *ctx.saved_tensors), None, None


def dropped_types(types: int, rate: float, generator: MaskSource | None, like: Tensor) -> Tensor | None:
    """What to multiply each type's embedding with, [V]: 0 with probability ``rate``, else 1 / (1 - rate).

    Whole words drop out, wherever they stand in the window (Gal & Ghahramani 2016, section 4.2). None: nothing does.
    """
    if rate == 0 or generator is None:
        return None
    return dropout(like.new_ones(types), rate, generator)
