"""Back-propagation through time: the only module that knows about time.

A cell (`nets/cells.py`) is one time step and its adjoint. `unroll` applies it along a window, walks back through it and
notes on the way the norm of dL/dh_t at every time step, which a fused layer computes too but never shows.

Inside, arrays are hidden-major: `[T, gates, H, B]` and `[T + 1, H, B]`. So every gate of a time step is one contiguous
block, and the recurrent product is `W [gates*H, H] @ h [H, B]`, the faster way round for few columns.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class LayerWeights(NamedTuple):
    """The shared weights of one layer, used again at every time step."""

    weight_ih: Tensor  # [gates*H, E]
    weight_hh: Tensor  # [gates*H, H]
    bias: Tensor  # [gates*H]
    bias_hh: Tensor | None = None  # [H], only where a cell has a bias inside its recurrent product (GRU)


class Cell(Protocol):
    """One time step and its hand-derived adjoint; all slices hidden-major, `[..., H, B]`."""

    gates: int  # blocks of H rows in the weights
    kept: int  # blocks of H rows that a step keeps for its adjoint: the gates first
    states: int  # 1 (h) or 2 (h, c)
    recurrent_bias: bool  # whether bias_hh is there
    carries: bool  # whether the state before reaches the state after by another way than the recurrent product

    def step(self, stash: Tensor, weights: LayerWeights, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        """Write the next state into `after`; stash[:gates] comes as W_ih x + b; stash leaves as the adjoint needs."""
        ...

    def factors(self, stash: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Everything of the adjoint that needs no gradient yet, for all time steps at once; each [T, ..., H, B]."""
        ...

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        """Write dL/d(recurrent product) of one time step into `d_gates` [gates, H, B].

        `carried` (None unless the cell carries) is the gradient that travels back past the recurrent product, to c of
        an LSTM, to h of a GRU: it comes from the later time step and leaves for the earlier one. Where it belongs to h,
        it is added into `d_hidden`, which then is all of dL/dh.
        """
        ...

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        """dL/d(W_ih x + b) of all time steps [T, gates, H, B], from those of the recurrent product."""
        ...


class Addends(NamedTuple):
    """The weight gradient is a sum over time steps; these are its addends' Frobenius norms beside the sum's."""

    weight_ih: Tensor  # [T]
    weight_hh: Tensor  # [T]
    sum_ih: Tensor  # scalar
    sum_hh: Tensor  # scalar


@dataclass
class Profile:
    """Filled by the backward pass, in window order: `norms[name][t]` = ||dL/dh_t||, Frobenius over [B, H]."""

    addends_wanted: bool = False
    norms: dict[str, Tensor] = field(default_factory=dict)
    addends: dict[str, Addends] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)


class Norms(NamedTuple):
    """Global L2 norm of the gradient before and after clipping, and of each group before."""

    before: float
    after: float
    groups: dict[str, float]


def unroll(
    cell: Cell,
    inputs: Tensor,
    weights: LayerWeights,
    state: tuple[Tensor, ...],
    *,
    reverse: bool = False,
    profile: Profile | None = None,
    name: str = "",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `cell` over inputs [T, B, E] from `state` (each [B, H]); outputs [T, B, H] and the final state.

    `reverse` runs from t = T-1 down to 0; outputs stay aligned with their inputs. The final state is detached from
    nothing: truncation is the caller's choice. Raises ValueError where shapes or types do not fit.
    """
    _check(cell, inputs, weights, state)
    tensors = (inputs, *weights, *state)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        outputs, *final = _Unroll.apply(cell, reverse, profile, name, *tensors)
        return outputs, tuple(final)
    _, hidden, others = _forward(cell, inputs, weights, state, reverse)
    return _outputs(hidden, others, reverse)


def _forward(
    cell: Cell, inputs: Tensor, weights: LayerWeights, state: Sequence[Tensor], reverse: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Stash [T, gates, H, B], hidden states and the cell's other states [T+1, H, B], each with the initial one."""
    steps, columns, _ = inputs.shape
    size = weights.weight_hh.shape[1]
    with torch.no_grad():
        drive = torch.addmm(weights.bias, inputs.reshape(steps * columns, -1), weights.weight_ih.t())
        stash = drive.new_empty(steps, cell.kept, size, columns)
        stash[:, : cell.gates] = drive.view(steps, columns, cell.gates, size).permute(0, 2, 3, 1)
        states = [initial.new_empty(steps + 1, size, columns) for initial in state]
        for whole, initial in zip(states, state, strict=True):
            whole[steps if reverse else 0] = initial.t()
        rows = list(zip(*(whole.unbind() for whole in states), strict=True))
        slices = stash.unbind()
        for t in range(steps - 1, -1, -1) if reverse else range(steps):
            before, after = (rows[t + 1], rows[t]) if reverse else (rows[t], rows[t + 1])
            cell.step(slices[t], weights, before, after)
    return stash, states[0], tuple(states[1:])


def _outputs(hidden: Tensor, others: Sequence[Tensor], reverse: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs [T, B, H] and final state [B, H], as arrays of their own: who writes into them harms no stash."""
    rows, last = (hidden[:-1], 0) if reverse else (hidden[1:], -1)
    final = tuple(whole[last].t().clone(memory_format=torch.contiguous_format) for whole in (hidden, *others))
    return rows.transpose(1, 2).clone(memory_format=torch.contiguous_format), final


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, reverse: bool, profile: Profile | None, name: str, inputs: Tensor,
        weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, bias_hh: Tensor | None, *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        weights = LayerWeights(weight_ih, weight_hh, bias, bias_hh)
        stash, hidden, others = _forward(cell, inputs, weights, state, reverse)
        outputs, final = _outputs(hidden, others, reverse)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, stash, hidden, *others)
        ctx.cell, ctx.reverse, ctx.profile, ctx.name = cell, reverse, profile, name
        return outputs, *final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_final: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, stash, *states = ctx.saved_tensors
        cell, rows = ctx.cell, len(stash)
        before = [whole[1:] if ctx.reverse else whole[:-1] for whole in states]
        after = [whole[:-1] if ctx.reverse else whole[1:] for whole in states]
        factors = cell.factors(stash, before, after)
        d_hidden, d_gates, d_state = _walk_back(cell, factors, weight_hh, d_outputs, d_final, ctx.reverse)
        d_drive = cell.drive_gradient(factors, d_hidden, d_gates)

        flat_gates = _time_by_column(d_gates)
        flat_drive = flat_gates if d_drive is d_gates else _time_by_column(d_drive)
        flat_inputs = inputs.reshape(flat_drive.shape[0], -1)
        d_weight_hh = flat_gates.t() @ _time_by_column(before[0])
        d_weight_ih = flat_drive.t() @ flat_inputs
        d_bias = flat_drive.sum(0)
        d_bias_hh = flat_gates[:, -states[0].shape[1] :].sum(0) if cell.recurrent_bias else None
        d_inputs = (flat_drive @ weight_ih).view(inputs.shape) if ctx.needs_input_grad[4] else None
        if ctx.profile is not None:
            ctx.profile.norms[ctx.name] = torch.linalg.vector_norm(d_hidden.view(rows, -1), dim=1)
            (ctx.profile.reversed.add if ctx.reverse else ctx.profile.reversed.discard)(ctx.name)
            if ctx.profile.addends_wanted:
                ctx.profile.addends[ctx.name] = Addends(
                    _addend_norms(d_drive.flatten(1, 2), inputs.transpose(1, 2)),
                    _addend_norms(d_gates.flatten(1, 2), before[0]),
                    torch.linalg.vector_norm(d_weight_ih),
                    torch.linalg.vector_norm(d_weight_hh),
                )
        return None, None, None, None, d_inputs, d_weight_ih, d_weight_hh, d_bias, d_bias_hh, *d_state


def _walk_back(
    cell: Cell, factors: Sequence[Tensor], weight_hh: Tensor, d_outputs: Tensor, d_final: Sequence[Tensor],
    reverse: bool,
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """dL/dh_t [T, H, B], dL/d(recurrent product) [T, gates, H, B] and dL/d(initial state), each [B, H]."""
    steps, columns, size = d_outputs.shape
    d_hidden = d_outputs.transpose(1, 2).clone(memory_format=torch.contiguous_format)
    d_gates = d_outputs.new_empty(steps, cell.gates, size, columns)
    back = weight_hh.t()
    d_hidden[0 if reverse else -1] += d_final[0].t()
    carried = None
    if cell.carries:
        carried = d_final[1].t().contiguous().clone() if cell.states > 1 else torch.zeros_like(d_hidden[0])
    slices = list(zip(*(factor.unbind() for factor in factors), strict=True))
    hidden_rows, gate_rows = d_hidden.unbind(), d_gates.unbind()
    flat_rows = d_gates.flatten(1, 2).unbind()
    order = range(steps) if reverse else range(steps - 1, -1, -1)
    for place, t in enumerate(order):
        if place:
            hidden_rows[t].addmm_(back, flat_rows[order[place - 1]])
        cell.adjoint(slices[t], hidden_rows[t], carried, gate_rows[t])
    d_initial = back @ flat_rows[order[-1]]
    if carried is None or cell.states > 1:
        return d_hidden, d_gates, tuple(part.t() for part in (d_initial, carried) if part is not None)
    return d_hidden, d_gates, (d_initial.add_(carried).t(),)


def _time_by_column(rows: Tensor) -> Tensor:
    """[T, ..., B] hidden-major to [T*B, features]."""
    steps, columns = rows.shape[0], rows.shape[-1]
    return rows.reshape(steps, -1, columns).transpose(1, 2).reshape(steps * columns, -1)


def _addend_norms(gradients: Tensor, uses: Tensor) -> Tensor:
    """Frobenius norm of `gradients[t] @ uses[t].T` for each t, from [T, G, B] and [T, F, B].

    ||D U^T||^2 = sum((D^T D) * (U^T U)): two B x B products a time step, no G x F matrix kept. In float64, since the
    sum cancels where columns disagree.
    """
    gradients, uses = gradients.double(), uses.double()
    squares = (gradients.transpose(1, 2) @ gradients) * (uses.transpose(1, 2) @ uses)
    return squares.sum((1, 2)).clamp(min=0).sqrt()


def lag_profile(last_loss: Callable[[Profile], Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """||dL/dh|| of each layer by distance back from one loss at the last step: element 0 is the last step itself.

    `last_loss(profile)` runs the network with that profile and returns the scalar loss of the last step alone. The
    parameters' `.grad` is left as it was. A layer that runs in reverse ends at t = 0: its distances count from there.
    """
    profile = Profile()
    torch.autograd.grad(last_loss(profile), list(parameters), allow_unused=True)
    return {name: norms if name in profile.reversed else norms.flip(0) for name, norms in profile.norms.items()}


def clip(groups: Mapping[str, Sequence[Tensor]], clip_norm: float | None) -> Norms:
    """Measure the gradients of the parameters in `groups`; scale them in place to `clip_norm` if it is given.

    The norm is always measured. A gradient whose norm is not finite is left alone: a divergence should show, not be
    turned into zeros. Scale and its 1e-6 as in `torch.nn.utils.clip_grad_norm_` (Pascanu, Mikolov & Bengio 2013).
    """
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be a positive number or null (measure only), not {clip_norm}")
    found = {name: [part for part in map(_gradient, group) if part is not None] for name, group in groups.items()}
    if len({id(parameter) for group in groups.values() for parameter in group}) < sum(map(len, groups.values())):
        raise ValueError("a parameter stands in two groups: it would be measured and clipped twice")
    gradients = [gradient for group in found.values() for gradient in group]
    each = iter(torch.stack(torch._foreach_norm(gradients)).tolist() if gradients else [])
    parts = {name: math.hypot(*(next(each) for _ in group)) for name, group in found.items()}
    before = math.hypot(*parts.values())
    scale = 1.0 if clip_norm is None or not math.isfinite(before) else min(1.0, clip_norm / (before + 1e-6))
    if scale < 1.0:
        torch._foreach_mul_(gradients, scale)
    return Norms(before, before * scale, parts)


def _gradient(parameter: Tensor) -> Tensor | None:
    """The dense gradient, or the values of a sparse one (rows that were hit twice are summed first)."""
    if parameter.grad is None or not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad.values()


def _check(cell: Cell, inputs: Tensor, weights: LayerWeights, state: Sequence[Tensor]) -> None:
    """Name the first argument that does not fit, in one line."""
    if inputs.dim() != 3 or 0 in inputs.shape[:2]:
        raise ValueError(f"inputs must be [T, B, E] with at least one time step and column, not {list(inputs.shape)}")
    columns, features = inputs.shape[1:]
    size = weights.weight_hh.shape[-1]
    expected: list[tuple[str, Tensor | None, list[int]]] = [
        ("weight_ih", weights.weight_ih, [cell.gates * size, features]),
        ("weight_hh", weights.weight_hh, [cell.gates * size, size]),
        ("bias", weights.bias, [cell.gates * size]),
    ]
    if cell.recurrent_bias != (weights.bias_hh is not None):
        raise ValueError(f"bias_hh must be {'[H]' if cell.recurrent_bias else 'None'} for {type(cell).__name__}")
    if len(state) != cell.states:
        raise ValueError(f"state of {type(cell).__name__} must have {cell.states} part(s), not {len(state)}")
    expected += [("bias_hh", weights.bias_hh, [size])]
    expected += [(f"state[{part}]", tensor, [columns, size]) for part, tensor in enumerate(state)]
    for argument, tensor, shape in expected:
        if tensor is not None and list(tensor.shape) != shape:
            raise ValueError(f"{argument} must be {shape} beside inputs {list(inputs.shape)}, not {list(tensor.shape)}")
        if tensor is not None and tensor.dtype != inputs.dtype:
            raise ValueError(f"{argument} must be {inputs.dtype} as inputs are, not {tensor.dtype}")
    if not inputs.dtype.is_floating_point or (inputs.device.type == "cpu" and inputs.element_size() < 4):
        raise ValueError(f"inputs must be float32 or float64 on the CPU, not {inputs.dtype}")
