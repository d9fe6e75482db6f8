"""The Lyapunov exponents of a stack as it reads a text: by what factor a step makes a gradient grow, in logarithms.

    dL/ds_t = J_t^T dL/ds_t+1,     J_t = d s_t+1 / d s_t,     s = the states of all layers, h and c, in one row of S

    exponent i = lim 1/T log (i-th singular value of J_1^T ... J_T^T)

The first says what back-propagation through time does: above 0 gradients explode, below 0 they vanish, by a factor
exp(exponent) a step. The product would overflow or lose all directions but one, so its columns are made orthonormal
again after every step (Benettin et al. 1980; for recurrent networks Vogt et al. 2020, Engelken et al. 2023).

In a stack of minGRU or minLSTM layers no unit of a layer reads another's state, and no layer one above it: the J_t are
triangular, and the exponents are the time means of what stands on their diagonals, log f for the share f that a unit
keeps. They are taken from there, exactly, with nothing to settle.
"""

import copy

import torch
from torch import Tensor

from unrolled.probing.gates import gate_values_of_stack
from unrolled.recurrence.stack import Stack, State
from unrolled.recurrence.threads import one_thread


@one_thread()
def lyapunov_exponents(stack: Stack, inputs: Tensor, state: tuple[State, ...], *, count: int, settle: int) -> Tensor:
    """The ``count`` largest exponents in nats a step, float64, the largest first; fewer where there are fewer states.

    inputs [T, 1, E] in the order in which the stack reads them, from ``state`` (B = 1). The directions are let settle
    for ``settle`` of the T steps. nan where a state is not finite; -inf for a direction that a step wipes out.
    """
    if not 0 <= settle < len(inputs):
        raise ValueError(f"settle must leave at least one of {len(inputs)} steps, not be {settle}")
    stack, inputs = copy.deepcopy(stack).double(), inputs.detach().double()
    parts = torch.cat([part.detach().double() for layer in state for part in layer], dim=-1)
    count = min(count, parts.shape[1])
    before = []
    with torch.no_grad():
        for row in inputs.split(1):
            before.append(parts)
            parts = _flat(stack(row, _states(stack, parts))[1])
    if not parts.isfinite().all():
        return torch.full((count,), torch.nan, dtype=torch.float64)
    if not any(layer.cell.recurrent for layer in stack.layers):
        return _of_shares_kept(stack, inputs, state)[:count]
    random = torch.Generator().manual_seed(1)  # no direction is left out, as those of a higher layer must not be
    directions = torch.linalg.qr(torch.randn(parts.shape[1], count, dtype=torch.float64, generator=random))[0]
    growth = torch.zeros(count, dtype=torch.float64)
    for number, (row, parts) in enumerate(zip(reversed(inputs.split(1)), reversed(before), strict=True)):
        # One column a direction: they share a state, and each brings its own gradient back through the step.
        columns = parts.expand(count, -1).clone().requires_grad_()
        after = _flat(stack(row.expand(1, count, -1), _states(stack, columns))[1])
        (gradients,) = torch.autograd.grad(after, columns, directions.t())
        directions, triangle = torch.linalg.qr(gradients.t())
        if number >= settle:
            growth += triangle.diagonal().abs().log()
    return (growth / (len(inputs) - settle)).sort(descending=True).values


def _of_shares_kept(stack: Stack, inputs: Tensor, state: tuple[State, ...]) -> Tensor:
    """Of a stack without recurrent products: mean log f over time, of every unit of every layer, the largest first."""
    read = inputs.flip(0) if stack.layers[0].reverse else inputs
    double = tuple(tuple(part.detach().double() for part in layer) for layer in state)
    kept = [each for values in gate_values_of_stack(stack, read, double) for each in values.values()]
    return torch.cat([share.log().mean((0, 1)) for share in kept]).sort(descending=True).values


def _flat(states: tuple[State, ...]) -> Tensor:
    """[B, S]: the states of all layers side by side."""
    return torch.cat([part for layer in states for part in layer], dim=-1)


def _states(stack: Stack, flat: Tensor) -> tuple[State, ...]:
    """Undo `_flat`."""
    widths = [layer.hidden for layer in stack.layers for _ in range(layer.cell.states)]
    parts = iter(flat.split(widths, dim=-1))
    return tuple(tuple(next(parts) for _ in range(layer.cell.states)) for layer in stack.layers)
