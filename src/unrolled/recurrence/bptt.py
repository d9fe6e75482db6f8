"""Back-propagation through time.

A cell (`cell.py`) is one time step and its adjoint. `unroll` applies it along a window; the backward pass goes back
through the window and notes the norm of dL/dh_t at every time step, which a fused layer computes too but never shows.
The loop over time is spelled out in `time_loops.py`; in float32 on the CPU its twin in `compiled/` runs instead, with
the same results but for rounding (unless UNROLLED_COMPILED=0 is in the environment). So does torch's fused layer on a
GPU (`fused.py`) where no profile is asked for.

Inside, a window is N rows in order of time, [N, features], so that each product over the window is one product of two
matrices. N is T B, or where columns have different lengths the number of tokens (`packing.py`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from unrolled.recurrence import time_loops
from unrolled.recurrence.cell import Cell, LayerWeights, Parts
from unrolled.recurrence.compiled.dispatch import runs_compiled
from unrolled.recurrence.fused import fused, runs_fused
from unrolled.recurrence.packing import Packing, pack, select
from unrolled.recurrence.profile import Profile, norms_of_addends

embedding_dense_backward = (
    torch.ops.aten.embedding_dense_backward
)  # the sum of the rows that each id has, as autograd's


def unroll(
    cell: Cell, inputs: Tensor, weights: LayerWeights, state: tuple[Tensor, ...],
    *, reverse: bool = False, lengths: Tensor | None = None, profile: Profile | None = None, name: str = "",
    by_torch: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """Run `cell` over inputs [T, B, E] from `state` (each [B, H]); outputs [T, B, H] and the final state.

    `reverse` runs from t = T-1 down to 0; outputs stay aligned with their inputs. `lengths` (int64 [B], each from 1 to
    T) says how many tokens each column has before its padding, where the output is 0 and the state stands still: a
    forward layer's final state is the one after each column's last token, and a reverse layer starts at that token.
    The final state is not detached: truncation is up to the caller. ``by_torch``: without a profile, by torch's own
    layer on a CPU too, where that is as fast. Shapes and types are not checked here, but in `RecurrentLayer`.
    """
    if profile is None and runs_fused(cell, inputs, by_torch):
        return fused(cell, inputs, weights, state, reverse, lengths)
    packing = pack(len(inputs), inputs.shape[1], lengths, reverse, inputs.device)
    tensors = (inputs, *weights, *state)
    if _wants_gradient(*tensors):
        call = -1 if profile is None else profile.begin(name, weights.bias, reverse, len(inputs))
        outputs, *final = _Unroll.apply(cell, packing, None, profile, name, call, *tensors)
        return outputs, tuple(final)
    _, _, states = _forward(cell, _compiled(cell, inputs), packing.packed(inputs), None, weights, state, packing)
    return _outputs(states, packing), _final(states, packing)


def unroll_table(
    cell: Cell, table: Tensor, ids: Tensor, weights: LayerWeights, state: tuple[Tensor, ...],
    *, reverse: bool = False, lengths: Tensor | None = None, by_torch: bool = False,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The final state, as of `unroll` over the inputs table[ids]: of a table [R, E], the row of each id, int64 [T, B].

    A row's product with W_ih is made once, and no outputs are, which is faster where the window is longer than the
    table, as one of letters is.
    """
    if runs_fused(cell, table, by_torch):
        return fused(cell, embedding(ids, table), weights, state, reverse, lengths)[1]
    packing = pack(len(ids), ids.shape[1], lengths, reverse, table.device)
    rows, tensors = packing.packed(ids[:, :, None])[:, 0], (table, *weights, *state)
    if _wants_gradient(*tensors):
        return tuple(_Unroll.apply(cell, packing, rows, None, "", -1, *tensors)[1:])
    return _final(_forward(cell, _compiled(cell, table), table, rows, weights, state, packing)[2], packing)


def _wants_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _compiled(cell: Cell, inputs: Tensor) -> int | None:
    """Which compiled loop runs this cell over such inputs, if one can."""
    return cell.compiled_kind if runs_compiled(inputs) else None


def _forward(
    cell: Cell, compiled: int | None, read: Tensor, rows: Tensor | None,
    weights: LayerWeights, state: Parts, packing: Packing,
) -> tuple[Tensor, Tensor, list[Tensor]]:  # fmt: skip
    """Activations [N, gates*H], extras [N, extras*H] and all states [N + B, H], from what is `read`.

    That is [N, E], or a table [R, E] of whose `rows` [N] each token reads one.
    """
    size = weights.weight_hh.shape[1]
    with torch.no_grad():
        activations = torch.addmm(weights.bias, read, weights.weight_ih.t())
        if rows is not None:
            activations = select(activations, rows)
        tokens = len(activations)
        extra = activations.new_empty(tokens, cell.extras * size)
        states = [initial.new_empty(tokens + packing.columns, size) for initial in state]
        for whole, initial in zip(states, state, strict=True):
            whole[packing.initial] = initial
        if compiled is not None:
            from unrolled.recurrence.compiled import time_loops as compiled_loops  # here: see its `dispatch.py`

            compiled_loops.forward(
                compiled, weights.weight_hh, weights.bias_hh, activations, extra, states,
                packing.offsets, packing.reverse,
            )  # fmt: skip
        else:
            time_loops.forward(cell, weights, activations, extra, states, packing)
    return activations, extra, states


def _outputs(states: Parts, packing: Packing) -> Tensor:
    """[T, B, H]. Without padding the hidden states themselves, not a copy.

    If someone writes into them, autograd refuses the backward pass.
    """
    return packing.padded(select(states[0], packing.after))


def _final(states: Parts, packing: Packing) -> tuple[Tensor, ...]:
    """A copy of the final state, each [B, H]."""
    return tuple(whole[packing.final].clone() for whole in states)


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, packing: Packing, rows: Tensor | None, profile: Profile | None, name: str, call: int,
        inputs: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, bias_hh: Tensor | None, *state: Tensor,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        weights, compiled = LayerWeights(weight_ih, weight_hh, bias, bias_hh), _compiled(cell, inputs)
        read = packing.packed(inputs) if rows is None else inputs
        activations, extra, states = _forward(cell, compiled, read, rows, weights, state, packing)
        outputs = _outputs(states, packing) if rows is None else None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(read, rows, weight_ih, weight_hh, activations, extra, *states)
        ctx.cell, ctx.compiled, ctx.packing = cell, compiled, packing
        ctx.profile, ctx.name, ctx.call = profile, name, call
        return outputs, *_final(states, packing)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor | None, *d_final: Tensor | None) -> tuple[Tensor | None, ...]:
        read, rows, weight_ih, weight_hh, activations, extra, *states = ctx.saved_tensors
        cell, packing = ctx.cell, ctx.packing
        d_hidden, carried = _arriving(cell, d_outputs, d_final, states[0], packing)
        if ctx.compiled is not None:
            from unrolled.recurrence.compiled import time_loops as compiled_loops  # here: see its `dispatch.py`

            d_gates, d_drive = compiled_loops.backward(
                ctx.compiled, weight_hh, activations, extra, states, d_hidden, carried, packing.offsets, packing.reverse
            )
        else:
            d_gates, d_drive = time_loops.backward(
                cell, weight_hh, activations, extra, states, d_hidden, carried, packing
            )
        d_state: tuple[Tensor | None, ...] = (None,) * cell.states
        if any(ctx.needs_input_grad[11:]):
            d_state = _initial_gradient(cell, d_gates[packing.first], weight_hh, carried, packing)

        before = select(states[0], packing.before)
        d_read = d_drive if rows is None else embedding_dense_backward(d_drive, rows, len(read), -1, False)
        d_weight_hh, d_weight_ih = _sum_over_time(d_gates, before), _sum_over_time(d_read, read)
        d_bias_hh = d_gates[:, -weight_hh.shape[1] :].sum(0) if cell.recurrent_bias else None
        d_inputs = d_read @ weight_ih if ctx.needs_input_grad[6] else None
        if d_inputs is not None and rows is None:
            d_inputs = packing.padded(d_inputs)
        if ctx.profile is not None:
            wanted = ctx.profile.addends_wanted
            uses = [(d_drive, read), (d_gates, before)] if wanted else []
            norms = [norms_of_addends(packing, *each) for each in uses]
            gradients = (d_weight_ih, d_weight_hh) if wanted else ()
            ctx.profile.note(ctx.name, ctx.call, (ctx.profile.measured(packing, d_hidden), *norms), gradients)
        return (None,) * 6 + (d_inputs, d_weight_ih, d_weight_hh, d_read.sum(0), d_bias_hh, *d_state)


def _arriving(
    cell: Cell, d_outputs: Tensor | None, d_final: tuple[Tensor | None, ...], hidden: Tensor, packing: Packing
) -> tuple[Tensor, Tensor | None]:
    """What a loss sends into the loop: dL/d(outputs) [N, H] and, where the cell carries one, dL/dc [B, H], as copies.

    None is for what no loss depends on. An LSTM's c starts from the gradient of the final c; a GRU's h has it in the
    first.
    """
    if d_outputs is None:
        d_hidden = hidden.new_zeros(len(hidden) - packing.columns, hidden.shape[1])
    else:
        d_hidden = packing.packed(d_outputs)
        if not packing.ragged:  # else it is a copy already
            d_hidden = d_hidden.clone(memory_format=torch.contiguous_format)
    if d_final[0] is not None:
        d_hidden[packing.last] += d_final[0]
    if not cell.carries:
        return d_hidden, None
    given = d_final[1] if cell.states > 1 else None
    if given is None:
        return d_hidden, hidden.new_zeros(packing.columns, hidden.shape[1])
    return d_hidden, given[packing.order].clone(memory_format=torch.contiguous_format)


def _initial_gradient(
    cell: Cell, d_gates: Tensor, weight_hh: Tensor, carried: Tensor | None, packing: Packing
) -> tuple[Tensor, ...]:
    """dL/d(initial state), each [B, H], from dL/d(recurrent product) [B, gates*H] of what each column reads first."""
    if carried is None:
        return (d_gates @ weight_hh,)
    passing = carried[packing.ranks]
    return (torch.addmm(passing, d_gates, weight_hh),) if cell.states == 1 else (d_gates @ weight_hh, passing)


def _sum_over_time(gradients: Tensor, uses: Tensor) -> Tensor:
    """gradients.T @ uses, from [N, G] and [N, F]: the contributions of every use of a weight, summed in one product.

    MKL is up to a fifth faster at writing rows that begin on 32-byte boundaries, so it gets such rows, and they are
    copied.
    """
    width = uses.shape[1]
    if width % 8 == 0:
        return gradients.t() @ uses
    padded = uses.new_empty(gradients.shape[1], width + -width % 8)[:, :width]
    return torch.mm(gradients.t(), uses, out=padded).contiguous()
