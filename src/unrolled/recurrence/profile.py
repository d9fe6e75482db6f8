"""What a backward pass through time leaves: the norm of dL/dh at every time step, and of what each adds to a weight.

A fused layer computes both and shows neither; `bptt.py` notes them here on its way back.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.recurrence.packing import Packing


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


def norms_of_steps(gradients: Tensor) -> Tensor:
    """Frobenius norms [T] of [T, B, H]; in double precision where single precision's squares would overflow."""
    flat = gradients.flatten(1)
    norms = torch.linalg.vector_norm(flat, dim=1)
    there = norms.is_meta or norms.isfinite().all()
    return norms if there else torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)


def norms_of_addends(packing: Packing, gradients: Tensor, uses: Tensor) -> Tensor:
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
