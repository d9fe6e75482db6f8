"""How far back the latest loss has reached, as a drop-in module keeps it."""

import torch
from torch import Tensor

from unrolled.recurrence.packing import Packing
from unrolled.recurrence.profile import Profile, norms_of_steps


class DistanceNorms(Profile):
    """The norms that the latest backward pass found, by how many time steps a layer read after each.

    Steps count from the token that each column reads last, wherever its padding begins. A module lives through many
    losses, so that nothing of a call is kept unless a backward pass comes by.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0
        self._found: dict[str, dict[int, Tensor]] = {}  # by layer and call

    @property
    def norms(self) -> dict[str, Tensor]:
        """By layer: element d is ||dL/dh||, Frobenius over [B, H], d steps before the last; calls one after another."""
        return {
            name: torch.cat([calls[call] for call in sorted(calls, reverse=True)])
            for name, calls in sorted(self._found.items())
        }

    def clear(self) -> None:
        self._found = {}

    def begin(self, name: str, bias: Tensor, reverse: bool, steps: int) -> int:
        self._calls += 1
        return self._calls

    def measured(self, packing: Packing, d_hidden: Tensor) -> Tensor:
        aligned = packing.aligned(d_hidden)
        norms = norms_of_steps(aligned)
        return norms if packing.reverse else norms.flip(0)

    def note(self, name: str, call: int, norms: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        current = torch._C._current_graph_task_id()  # as `Profile.note`
        if current != self._backward_pass:
            self._backward_pass, self._found = current, {}
        self._found.setdefault(name, {})[call] = norms[0]
