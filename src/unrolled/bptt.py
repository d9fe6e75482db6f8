"""Back-propagation through time: the only module that knows about time, but for its compiled twin.

A cell (`nets/cells.py`) is one time step and its adjoint. `unroll` applies it along a window, walks back through it and
notes on the way the norm of dL/dh_t at every time step, which a fused layer computes too but never shows. The two walks
stand here step by step; in float32 on the CPU `compiled/walks.py` takes them, with the same results but for rounding.

Arrays are [T, B, features], so that every product over the window reads and writes them as they lie.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.compiled import walks

Parts = Sequence[Tensor]


class LayerWeights(NamedTuple):
    """The shared weights of one layer, used again at every time step."""

    weight_ih: Tensor  # [gates*H, E]
    weight_hh: Tensor  # [gates*H, H]
    bias: Tensor  # [gates*H]
    bias_hh: Tensor | None = None  # [H], only where a cell has a bias inside its recurrent product (GRU)


class Cell(Protocol):
    """One time step and its hand-derived adjoint, in place on slices [..., B, gates*H] and [..., B, H]."""

    gates: int  # blocks of H rows in the weights, blocks of H columns in the stash
    extras: int  # blocks of H columns that a step keeps for its adjoint beside the gates
    states: int  # 1 (h) or 2 (h, c)
    recurrent_bias: bool  # whether LayerWeights.bias_hh is there
    carries: bool  # whether the state before reaches the state after by another way than the recurrent product
    walk: int | None  # its kind among the compiled walks, if it is there

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Parts:
        """The operands that `step` wants: weight_hh turned to [H, gates*H], ...; may scale drive [T, B, gates*H]."""

    def step(self, stash: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts) -> None:
        """Write the next state into `after`; stash (`gates`: its views) comes as W_ih x + b."""

    def factors(self, stash: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """Everything of the adjoint that needs no gradient yet, for all time steps at once.

        First the gates' [T, B, gates*H], in room that is ours; then, [T, B, H] each, what else `adjoint` wants.
        """

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        """From dL/dh [B, H] of one time step to dL/d(recurrent product), written over the gates' factors [B, H] each.

        `carried` [B, H] (None unless the cell carries) is the gradient that travels back past the recurrent product:
        to c of an LSTM, to h of a GRU. It comes from the later time step and leaves for the earlier one; where it
        belongs to h, it stands in `d_hidden` already.
        """

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        """dL/d(W_ih x + b) of all time steps [T, B, gates*H], from those of the recurrent product."""


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


def unroll(
    cell: Cell, inputs: Tensor, weights: LayerWeights, state: tuple[Tensor, ...],
    *, reverse: bool = False, mask: Tensor | None = None, profile: Profile | None = None, name: str = "",
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """Run `cell` over inputs [T, B, E] from `state` (each [B, H]); outputs [T, B, H] and the final state.

    `reverse` runs from t = T-1 down to 0; outputs stay aligned with their inputs. `mask` [T, B] is true where a column
    has a token: elsewhere the state stands still and the output is 0. The final state is detached from nothing:
    truncation is the caller's choice. Shapes and types must fit, which `RecurrentLayer` sees to.
    """
    tensors = (inputs, *weights, *state)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        outputs, *final = _Unroll.apply(cell, reverse, mask, profile, name, *tensors)
        return outputs, tuple(final)
    _, _, states = _forward(cell, inputs, weights, state, reverse, mask)
    return _outputs(states, reverse, mask)


def _forward(
    cell: Cell, inputs: Tensor, weights: LayerWeights, state: Parts, reverse: bool, mask: Tensor | None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Stash [T, B, gates*H], extras [T, B, extras*H], and each state with the initial one among them, [T+1, B, H]."""
    steps, columns, _ = inputs.shape
    size = weights.weight_hh.shape[1]
    with torch.no_grad():
        drive = torch.addmm(weights.bias, inputs.reshape(steps * columns, -1), weights.weight_ih.t())
        stash = drive.view(steps, columns, -1)
        extra = drive.new_empty(steps, columns, cell.extras * size)
        states = [initial.new_empty(steps + 1, columns, size) for initial in state]
        for whole, initial in zip(states, state, strict=True):
            whole[steps if reverse else 0] = initial
        if (kind := _compiled(cell, inputs, mask)) is not None:
            walks.forward(kind, weights.weight_hh, stash, states, reverse)
            return stash, extra, states
        operands = cell.prepare(stash, weights)
        rows = list(zip(*(whole.unbind() for whole in states), strict=True))
        stashes, gates, extras = stash.unbind(), _gate_views(stash, size), extra.unbind()
        idle = None if mask is None else ~mask.unsqueeze(-1)
        for t in range(steps - 1, -1, -1) if reverse else range(steps):
            before, after = (rows[t + 1], rows[t]) if reverse else (rows[t], rows[t + 1])
            cell.step(stashes[t], gates[t], extras[t], operands, before, after)
            if idle is not None:
                for old, new in zip(before, after, strict=True):
                    torch.where(idle[t], old, new, out=new)
    return stash, extra, states


def _compiled(cell: Cell, inputs: Tensor, mask: Tensor | None) -> int | None:
    """Which compiled walk does this window's work, if one can."""
    fits = mask is None and inputs.dtype == torch.float32 and inputs.device.type == "cpu"
    return cell.walk if fits else None


def _gate_views(whole: Tensor, size: int) -> list[tuple[Tensor, ...]]:
    """The gates' views [B, H] into [T, B, gates*H], by time step; cut all at once, which is cheaper."""
    return list(zip(*(gate.unbind() for gate in whole.split(size, dim=-1)), strict=True))


def _outputs(states: Parts, reverse: bool, mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs [T, B, H], which without a mask are the hidden states themselves, and a copy of the final state [B, H].

    No window is copied: if someone writes into the outputs, autograd refuses the backward pass.
    """
    rows, last = (states[0][:-1], 0) if reverse else (states[0][1:], -1)
    outputs = rows if mask is None else rows * mask.unsqueeze(-1)
    return outputs, tuple(whole[last].clone() for whole in states)


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, reverse: bool, mask: Tensor | None, profile: Profile | None, name: str, inputs: Tensor,
        weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, bias_hh: Tensor | None, *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        weights = LayerWeights(weight_ih, weight_hh, bias, bias_hh)
        stash, extra, states = _forward(cell, inputs, weights, state, reverse, mask)
        outputs, final = _outputs(states, reverse, mask)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, mask, stash, extra, *states)
        ctx.cell, ctx.reverse, ctx.profile, ctx.name = cell, reverse, profile, name
        return outputs, *final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_final: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, mask, stash, extra, *states = ctx.saved_tensors
        cell = ctx.cell
        before = [whole[1:] if ctx.reverse else whole[:-1] for whole in states]
        if (kind := _compiled(cell, inputs, mask)) is not None:
            d_gates, d_hidden, d_cell = _walk_back_compiled(
                kind, stash, states, weight_hh, d_outputs, d_final, ctx.reverse
            )
            d_drive, d_state = d_gates, (d_gates[-1 if ctx.reverse else 0] @ weight_hh, d_cell)[: cell.states]
        else:
            after = [whole[:-1] if ctx.reverse else whole[1:] for whole in states]
            d_gates, *others = cell.factors(stash, extra, before, after)
            d_hidden, d_state = _walk_back(cell, d_gates, others, weight_hh, d_outputs, d_final, ctx.reverse, mask)
            d_drive = cell.drive_gradient(d_gates, others, d_hidden)

        flat_gates, flat_drive = d_gates.flatten(0, 1), d_drive.flatten(0, 1)
        d_weight_hh = _sum_over_time(flat_gates, before[0].flatten(0, 1))
        d_weight_ih = _sum_over_time(flat_drive, inputs.reshape(len(flat_drive), -1))
        d_bias_hh = flat_gates[:, -weight_hh.shape[1] :].sum(0) if cell.recurrent_bias else None
        d_inputs = (flat_drive @ weight_ih).view(inputs.shape) if ctx.needs_input_grad[5] else None
        if ctx.profile is not None:
            ctx.profile.norms[ctx.name] = _norms(d_hidden)
            (ctx.profile.reversed.add if ctx.reverse else ctx.profile.reversed.discard)(ctx.name)
            if ctx.profile.addends_wanted:
                each = _addend_norms(d_drive, inputs), _addend_norms(d_gates, before[0])
                ctx.profile.addends[ctx.name] = Addends(*each, d_weight_ih.double().norm(), d_weight_hh.double().norm())
        return (None,) * 5 + (d_inputs, d_weight_ih, d_weight_hh, flat_drive.sum(0), d_bias_hh, *d_state)


def _walk_back(
    cell: Cell, d_gates: Tensor, others: Parts, weight_hh: Tensor, d_outputs: Tensor, d_final: Parts,
    reverse: bool, mask: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """dL/dh_t [T, B, H] and dL/d(initial state), each [B, H].

    `d_gates` [T, B, gates*H] comes as the gates' factors and leaves as dL/d(recurrent product).
    """
    steps, _, size = d_outputs.shape
    live = None if mask is None else mask.unsqueeze(-1)
    d_hidden = d_outputs.clone(memory_format=torch.contiguous_format) if live is None else d_outputs * live
    order = range(steps) if reverse else range(steps - 1, -1, -1)
    d_hidden[order[0]] += d_final[0]
    carried = d_final[1].clone() if cell.states > 1 else torch.zeros_like(d_final[0]) if cell.carries else None
    past_h = carried if cell.states == 1 else None  # what reaches h without the recurrent product
    slices = list(zip(*(other.unbind() for other in others), strict=True)) if others else [()] * steps
    hidden_rows, gate_rows, gates = d_hidden.unbind(), d_gates.unbind(), _gate_views(d_gates, size)
    later: Tensor | None = None
    for t in order:
        row = hidden_rows[t]
        if later is not None:
            row.addmm_(later, weight_hh)
        if past_h is not None:
            row.add_(past_h)
        later = gate_rows[t]
        if live is None:
            cell.adjoint(gates[t], slices[t], row, carried)
        else:
            past_h = _adjoint_where_live(cell, gates[t], slices[t], row, carried, live[t])
    assert later is not None
    d_initial = later @ weight_hh if past_h is None else torch.addmm(past_h, later, weight_hh)
    return d_hidden, (d_initial, carried) if carried is not None and cell.states > 1 else (d_initial,)


def _walk_back_compiled(
    kind: int, stash: Tensor, states: Parts, weight_hh: Tensor, d_outputs: Tensor, d_final: Parts, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/d(recurrent product) [T, B, gates*H], dL/dh_t [T, B, H] and dL/d(initial c) [B, H] (of an LSTM)."""
    d_hidden = d_outputs.clone(memory_format=torch.contiguous_format)
    d_hidden[0 if reverse else -1] += d_final[0]
    d_cell = d_final[-1].clone(memory_format=torch.contiguous_format)
    return walks.backward(kind, weight_hh, stash, states, d_hidden, d_cell, reverse), d_hidden, d_cell


def _adjoint_where_live(
    cell: Cell, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None, live: Tensor
) -> Tensor:
    """The adjoint of a step that some columns sat out: theirs passes by untouched. Returns what reaches h that way."""
    idle = ~live
    past_h, past_carried = d_hidden * idle, None if carried is None else carried * idle
    d_hidden.mul_(live)
    if carried is not None:
        carried.mul_(live)
    cell.adjoint(gates, others, d_hidden, carried)
    if carried is None or past_carried is None:
        return past_h
    if cell.states == 1:
        return past_h.add_(carried)
    carried.add_(past_carried)
    return past_h


def _sum_over_time(gradients: Tensor, uses: Tensor) -> Tensor:
    """gradients.T @ uses, from [T*B, G] and [T*B, F]: what each use of a weight contributes, summed in one product.

    MKL writes rows that begin on 32-byte boundaries up to a fifth faster, so it gets such rows and they are copied.
    """
    width = uses.shape[1]
    if width % 8 == 0:
        return gradients.t() @ uses
    padded = uses.new_empty(gradients.shape[1], width + -width % 8)[:, :width]
    return torch.mm(gradients.t(), uses, out=padded).contiguous()


def _norms(gradients: Tensor) -> Tensor:
    """Frobenius norms [T] of [T, B, H]; in double precision where single precision's squares would overflow."""
    flat = gradients.flatten(1)
    norms = torch.linalg.vector_norm(flat, dim=1)
    return norms if norms.isfinite().all() else torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)


def _addend_norms(gradients: Tensor, uses: Tensor) -> Tensor:
    """Frobenius norm of `gradients[t].T @ uses[t]` for each t, from [T, B, G] and [T, B, F].

    ||D^T U||^2 = sum((D D^T) * (U U^T)): two B x B products, no G x F matrix; in float64, for the sum may cancel.
    """
    gradients, uses = gradients.double(), uses.double()
    squares = (gradients @ gradients.transpose(1, 2)) * (uses @ uses.transpose(1, 2))
    return squares.sum((1, 2)).clamp(min=0).sqrt()


def lag_profile(last_loss: Callable[[Profile], Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """||dL/dh|| of each layer by distance back from one loss at the last step: element 0 is the last step itself.

    `last_loss(profile)` runs the network with that profile and returns the scalar loss of the last step alone. The
    parameters' `.grad` is left as it was. A layer that runs in reverse ends at t = 0: its distances count from there.
    """
    profile = Profile()
    torch.autograd.grad(last_loss(profile), list(parameters), allow_unused=True)
    return {name: norms if name in profile.reversed else norms.flip(0) for name, norms in profile.norms.items()}
