"""Back-propagation through time.

A cell (`cell.py`) is one time step and its adjoint. `unroll` applies it along a window; the backward pass goes back
through the window and notes the norm of dL/dh_t at every time step, which a fused layer computes too but never shows.
The loop over time is spelled out in `time_loops.py`; in float32 on the CPU its twin in `compiled/` runs instead, with
the same results but for rounding (unless UNROLLED_COMPILED=0 is in the environment). So does torch's fused layer on a
GPU (`fused.py`) where no profile is asked for.

Inside, a window is N rows in order of time, [N, features], so that each product over the window is one product of two
matrices. N is T B, or where columns have different lengths the number of tokens (`packing.py`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.recurrence import time_loops
from unrolled.recurrence.cell import Cell, LayerWeights, Parts
from unrolled.recurrence.compiled.dispatch import runs_compiled
from unrolled.recurrence.fused import fused, runs_fused
from unrolled.recurrence.packing import Packing, pack


class Addends(NamedTuple):
    """The weight gradient is a sum over time steps; these are its addends' Frobenius norms beside the sum's."""

    weight_ih: Tensor  # [T]
    weight_hh: Tensor  # [T]; [0] where the cell has no recurrent product
    sum_ih: Tensor  # scalar
    sum_hh: Tensor  # scalar


@dataclass
class _Calls:
    """The calls of one layer, and what the latest backward pass found at them."""

    bias: Tensor  # whose identity is the layer's
    reverse: bool
    steps: list[int] = field(default_factory=list)  # of each call, in the order of the calls
    norms: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)  # by call: of dL/dh and of the addends, [T] each
    gradients: list[Tensor] = field(default_factory=list)  # of weight_ih and weight_hh, float64, summed over calls

    def joined(self, which: int) -> Tensor:
        """One kind of norm in window order; 0 where the loss does not reach a call."""
        some = next(iter(self.norms.values()))[which]
        if not len(some):
            return some
        parts = [
            self.norms[call][which] if call in self.norms else some.new_zeros(steps)
            for call, steps in enumerate(self.steps)
        ]
        return torch.cat(parts[::-1] if self.reverse else parts)


@dataclass
class Profile:
    """Filled by a backward pass: the gradient norms of every layer on its way, in window order.

    A layer may be called several times in one graph, by an encoder and a decoder, say, or one time step at a time. Its
    calls are joined in the order in which they were made; those of a reverse layer in the opposite order, as each one
    reads what lies to the left of the call before it. A later backward pass replaces what an earlier one filled in.
    """

    addends_wanted: bool = False
    _layers: dict[str, _Calls] = field(default_factory=dict, repr=False)
    _reached: dict[str, _Calls] = field(default_factory=dict, repr=False)  # by the latest backward pass
    _backward_pass: int = -1

    @property
    def norms(self) -> dict[str, Tensor]:
        """By layer: element t is ||dL/dh_t||, Frobenius over [B, H]."""
        return {name: calls.joined(0) for name, calls in self._reached.items()}

    @property
    def addends(self) -> dict[str, Addends]:
        """By layer, the sums over all its calls; empty unless `addends_wanted`."""
        return {
            name: Addends(calls.joined(1), calls.joined(2), *(gradient.norm() for gradient in calls.gradients))
            for name, calls in self._reached.items()
            if calls.gradients
        }

    @property
    def reversed(self) -> set[str]:
        """The layers that run in reverse."""
        return {name for name, calls in self._layers.items() if calls.reverse}

    def begin(self, name: str, bias: Tensor, reverse: bool, steps: int) -> int:
        """Count one more call of a layer; returns its number. ValueError if the name is taken by another layer."""
        calls = self._layers.setdefault(name, _Calls(bias, reverse))
        if calls.bias is not bias or calls.reverse != reverse:
            raise ValueError(f"in a profile every layer needs a name of its own, and two are called {name!r}")
        calls.steps.append(steps)
        return len(calls.steps) - 1

    def measured(self, packing: Packing, d_hidden: Tensor) -> Tensor:
        """What is noted of one call's dL/dh [N, H]: its norm at every time step, [T]."""
        return norms_of_steps(packing.padded(d_hidden))

    def note(self, name: str, call: int, norms: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        """Keep one call's `norms`, and add its weight gradients (none unless addends are wanted) to the sums."""
        current = torch._C._current_graph_task_id()  # of this backward pass, as torch.autograd.graph tells them apart
        if current != self._backward_pass:
            self._backward_pass, self._reached = current, {}
        calls = self._layers[name]
        if name not in self._reached:
            self._reached[name] = calls
            calls.norms, calls.gradients = {}, [torch.zeros_like(each, dtype=torch.float64) for each in gradients]
        calls.norms[call] = norms
        for whole, gradient in zip(calls.gradients, gradients, strict=True):
            whole += gradient


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
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        call = -1 if profile is None else profile.begin(name, weights.bias, reverse, len(inputs))
        outputs, *final = _Unroll.apply(cell, packing, profile, name, call, *tensors)
        return outputs, tuple(final)
    _, _, states = _forward(cell, _compiled(cell, inputs), packing.packed(inputs), weights, state, packing)
    return _outputs(states, packing)


def _compiled(cell: Cell, inputs: Tensor) -> int | None:
    """Which compiled loop runs this cell over such inputs, if one can."""
    return cell.compiled_kind if runs_compiled(inputs) else None


def _forward(
    cell: Cell, compiled: int | None, read: Tensor, weights: LayerWeights, state: Parts, packing: Packing
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Activations [N, gates*H], extras [N, extras*H] and all states [N + B, H], from what is `read`, [N, E]."""
    size = weights.weight_hh.shape[1]
    with torch.no_grad():
        activations = torch.addmm(weights.bias, read, weights.weight_ih.t())
        extra = activations.new_empty(len(read), cell.extras * size)
        states = [initial.new_empty(len(read) + packing.columns, size) for initial in state]
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


def _outputs(states: Parts, packing: Packing) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs [T, B, H] and a copy of the final state [B, H].

    Without padding the outputs are the hidden states themselves, not a copy: if someone writes into them, autograd
    refuses the backward pass.
    """
    return packing.padded(states[0][packing.after]), tuple(whole[packing.final].clone() for whole in states)


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, packing: Packing, profile: Profile | None, name: str, call: int,
        inputs: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, bias_hh: Tensor | None, *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        weights, compiled = LayerWeights(weight_ih, weight_hh, bias, bias_hh), _compiled(cell, inputs)
        read = packing.packed(inputs)
        activations, extra, states = _forward(cell, compiled, read, weights, state, packing)
        outputs, final = _outputs(states, packing)
        ctx.save_for_backward(read, weight_ih, weight_hh, activations, extra, *states)
        ctx.cell, ctx.compiled, ctx.packing = cell, compiled, packing
        ctx.profile, ctx.name, ctx.call = profile, name, call
        return outputs, *final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_final: Tensor) -> tuple[Tensor | None, ...]:
        read, weight_ih, weight_hh, activations, extra, *states = ctx.saved_tensors
        cell, packing = ctx.cell, ctx.packing
        d_hidden = packing.packed(d_outputs)
        if not packing.ragged:  # else it is a copy already
            d_hidden = d_hidden.clone(memory_format=torch.contiguous_format)
        d_hidden[packing.last] += d_final[0]
        carried = None
        if cell.carries:  # an LSTM's c starts from the gradient of the final c; a GRU's h has it in d_hidden
            given = d_final[1][packing.order] if cell.states > 1 else torch.zeros_like(d_final[0])
            carried = given.clone(memory_format=torch.contiguous_format)
        if ctx.compiled is not None:
            from unrolled.recurrence.compiled import time_loops as compiled_loops  # here: see its `dispatch.py`

            d_gates, d_drive = compiled_loops.backward(
                ctx.compiled, weight_hh, activations, extra, states, d_hidden, carried, packing.offsets, packing.reverse
            )
        else:
            d_gates, d_drive = time_loops.backward(
                cell, weight_hh, activations, extra, states, d_hidden, carried, packing
            )
        d_state = _initial_gradient(cell, d_gates[packing.first], weight_hh, carried, packing)

        before = states[0][packing.before]
        d_weight_hh, d_weight_ih = _sum_over_time(d_gates, before), _sum_over_time(d_drive, read)
        d_bias_hh = d_gates[:, -weight_hh.shape[1] :].sum(0) if cell.recurrent_bias else None
        d_inputs = packing.padded(d_drive @ weight_ih) if ctx.needs_input_grad[5] else None
        if ctx.profile is not None:
            wanted = ctx.profile.addends_wanted
            uses = [(d_drive, read), (d_gates, before)] if wanted else []
            norms = [_addend_norms(packing, *each) for each in uses]
            gradients = (d_weight_ih, d_weight_hh) if wanted else ()
            ctx.profile.note(ctx.name, ctx.call, (ctx.profile.measured(packing, d_hidden), *norms), gradients)
        return (None,) * 5 + (d_inputs, d_weight_ih, d_weight_hh, d_drive.sum(0), d_bias_hh, *d_state)


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


def norms_of_steps(gradients: Tensor) -> Tensor:
    """Frobenius norms [T] of [T, B, H]; in double precision where single precision's squares would overflow."""
    flat = gradients.flatten(1)
    norms = torch.linalg.vector_norm(flat, dim=1)
    there = norms.is_meta or norms.isfinite().all()
    return norms if there else torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)


def _addend_norms(packing: Packing, gradients: Tensor, uses: Tensor) -> Tensor:
    """Frobenius norm of `gradients[t].T @ uses[t]` for each t, [T]; from [N, G] and [N, F].

    ||D^T U||^2 = sum((D D^T) * (U U^T)): two B x B products, no G x F matrix; in float64, as the sum may cancel.
    Where the weight has no rows (G = 0) nothing is added, and there are no norms: [0].
    """
    if not gradients.shape[1]:
        return gradients.new_empty(0, dtype=torch.float64)
    gradients, uses = packing.padded(gradients).double(), packing.padded(uses).double()
    squares = (gradients @ gradients.transpose(1, 2)) * (uses @ uses.transpose(1, 2))
    return squares.sum((1, 2)).clamp(min=0).sqrt()


def lag_profile(last_loss: Callable[[Profile], Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """||dL/dh|| of each layer by distance back from one loss at the last step: element 0 is the last step itself.

    `last_loss(profile)` runs the network with that profile and returns the scalar loss of the last step alone. The
    parameters' `.grad` is left untouched. A reverse layer's last step is t = 0, so its distances count from there.
    """
    profile = Profile()
    torch.autograd.grad(last_loss(profile), list(parameters), allow_unused=True)
    return {name: norms if name in profile.reversed else norms.flip(0) for name, norms in profile.norms.items()}
