"""The gradient's norm, always measured; and the gradient scaled down to it, where that is asked for."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

ROW = 4096  # numbers whose squares are summed in single precision
SAFE = (1e-15, 1e15)  # norms whose squares, and those of all that matters beside them, single precision holds


class Norms(NamedTuple):
    """Global L2 norm of the gradient before and after clipping, and of each group before."""

    before: float
    after: float
    groups: dict[str, float]


def clip(groups: Mapping[str, Sequence[Tensor]], clip_norm: float | None) -> Norms:
    """Measure the gradients of the parameters in `groups`; scale them in place to `clip_norm` if it is given.

    A gradient whose norm is not finite is left alone: a divergence should show, not be turned into zeros. Scale, 1e-6
    too, as in `torch.nn.utils.clip_grad_norm_` (Pascanu, Mikolov & Bengio 2013).
    """
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be a positive number or null (measure only), not {clip_norm}")
    if len({id(parameter) for group in groups.values() for parameter in group}) < sum(map(len, groups.values())):
        raise ValueError("a parameter stands in two groups: it would be measured and clipped twice")
    found = {name: [part for part in map(_gradient, group) if part is not None] for name, group in groups.items()}
    norms = iter(_norms([gradient for group in found.values() for gradient in group]))
    parts = {name: math.hypot(*(next(norms) for _ in group)) for name, group in found.items()}
    before = math.hypot(*parts.values())
    scale = 1.0 if clip_norm is None or not math.isfinite(before) else min(1.0, clip_norm / (before + 1e-6))
    if scale < 1.0:
        torch._foreach_mul_([gradient for group in found.values() for gradient in group], scale)
    return Norms(before, before * scale, parts)


def is_clipped(norms: ArrayLike, clip_norm: float | None) -> NDArray[np.bool_]:
    """Which steps' gradients were scaled down, from their norms before clipping, [steps].

    Those above ``clip_norm`` (None: none) that are finite: a divergence is left alone.
    """
    before = np.asarray(norms, dtype=np.float64)
    return np.isfinite(before) & (before > (math.inf if clip_norm is None else clip_norm))


def _gradient(parameter: Tensor) -> Tensor | None:
    """The dense gradient, or the values of a sparse one (rows that were hit twice are summed first)."""
    if parameter.grad is None or not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad.values()


def _norms(gradients: Sequence[Tensor]) -> list[float]:
    """L2 norms, the same whatever the number of threads, for each row is summed by one of them.

    In double precision only where single precision's squares would not do: a copy in it takes twenty times as long, but
    a gradient of norm 1e20 has not diverged, and one of norm 1e-20 is not zero.
    """
    if not gradients:
        return []
    if gradients[0].device.type == "cpu":
        parts = [_rows_and_rest(gradient.flatten()) for gradient in gradients]
        numbers = iter(torch.cat(parts).tolist())
        norms = [math.hypot(*islice(numbers, len(part))) for part in parts]
    else:  # all at once, for a GPU stands still for each number that is asked for
        norms = torch.stack(torch._foreach_norm(list(gradients))).tolist()
    return [
        norm if SAFE[0] < norm < SAFE[1] else torch.linalg.vector_norm(gradient, dtype=torch.float64).item()
        for norm, gradient in zip(norms, gradients, strict=True)
    ]


def _rows_and_rest(flat: Tensor) -> Tensor:
    """The norm of each row of ROW numbers, and that of those that are left over."""
    whole = len(flat) - len(flat) % ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, ROW), dim=1)
    return torch.cat([rows, torch.linalg.vector_norm(flat[whole:])[None]])
