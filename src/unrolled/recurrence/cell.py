"""What a recurrent cell is: one time step and its hand-derived adjoint, over a layer's shared weights."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

Parts = Sequence[Tensor]


class LayerWeights(NamedTuple):
    """The shared weights of one layer, used again at every time step."""

    weight_ih: Tensor  # [gates*H, E]
    weight_hh: Tensor  # [gates*H, H]; [0, H] where a cell has no recurrent product: what it adds is an empty sum
    bias: Tensor  # [gates*H]
    bias_hh: Tensor | None = None  # [H], only where a cell has a bias inside its recurrent product (GRU)


class Cell(Protocol):
    """One time step and its hand-derived adjoint, in place on slices [n, gates*H] and [n, H] of all N tokens' rows."""

    gates: int  # blocks of H rows in the weights, blocks of H columns in the activations
    extras: int  # blocks of H columns that a step keeps for its adjoint beside the activations
    states: int  # 1 (h) or 2 (h, c)
    recurrent: bool  # whether there is a recurrent product
    recurrent_bias: bool  # whether LayerWeights.bias_hh is there
    carries: bool  # whether the state before reaches the state after by another way than the recurrent product
    compiled_kind: int | None  # which of the compiled time loops is this cell's, if one is

    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        """The operands that `step` needs: weight_hh transposed to [H, gates*H], ...

        May change drive [N, gates*H] in place, and fill extra [N, extras*H] with what the drive alone decides.
        """

    def step(
        self, activations: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts
    ) -> None:
        """Write the next state into `after`; `activations` (`gates`: its views) come as W_ih x + b, the drive."""

    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """Everything in the adjoint that needs no gradient yet, for all time steps at once.

        First the gates' [N, gates*H] ([N, 0] where there is no recurrent product), in memory of its own; then, [N, H]
        each, whatever else `adjoint` and `drive_gradient` need.
        """

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        """From dL/dh [n, H] of one time step to dL/d(recurrent product), written over the gates' factors [n, H] each.

        `carried` [n, H] (None unless the cell carries) is the gradient that travels back past the recurrent product:
        to c of an LSTM, to h of a GRU. It comes from the later time step and leaves for the earlier one; where it
        belongs to h, `d_hidden` includes it already.
        """

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        """dL/d(W_ih x + b) of all time steps [N, gates*H], from those of the recurrent product."""
