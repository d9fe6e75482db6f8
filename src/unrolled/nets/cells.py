"""Recurrent cells: each one time step, its hand-derived adjoint and its initial state; and the layer that owns weights.

Gates stand in torch's order, so that weights can be exchanged with the `torch.nn` twins; see `bptt.Cell` for the
contract. Where it is faster, tanh(x) is computed as 2 sigmoid(2x) - 1: torch's sigmoid takes a quarter of the time of
its tanh, and the factor 2, exact in floating point, goes into what is multiplied anyway.
"""

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unrolled.bptt import Cell, LayerWeights, Profile, unroll


class TanhRNN:
    """h' = tanh(W_ih x + W_hh h + b) (Elman 1990)."""

    gates, extras, states = 1, 0, 1
    recurrent_bias = carries = False

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Tensor:
        drive.mul_(2)
        return weights.weight_hh.t().contiguous().mul_(2)

    def step(
        self, stash: Tensor, extra: Tensor, operand: Tensor, bias_hh: Tensor | None,
        before: Sequence[Tensor], after: Sequence[Tensor],
    ) -> None:  # fmt: skip
        stash.addmm_(before[0], operand).sigmoid_()
        torch.add(_minus_one(stash), stash, alpha=2, out=after[0])

    def factors(
        self, stash: Tensor, extra: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        return (torch.addcmul(-_minus_one(stash), after[0], after[0], value=-1),)

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        torch.mul(d_hidden, factors[0], out=d_gates)

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        return d_gates


class ReLURNN(TanhRNN):
    """h' = max(0, W_ih x + W_hh h + b), the cell of the IRNN (Le, Jaitly & Hinton 2015)."""

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Tensor:
        return weights.weight_hh.t().contiguous()

    def step(
        self, stash: Tensor, extra: Tensor, operand: Tensor, bias_hh: Tensor | None,
        before: Sequence[Tensor], after: Sequence[Tensor],
    ) -> None:  # fmt: skip
        torch.clamp(stash.addmm_(before[0], operand), min=0, out=after[0])

    def factors(
        self, stash: Tensor, extra: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        return ((stash > 0).to(stash.dtype),)


class GRU:
    """Gated recurrent unit (Cho et al. 2014), reset gate after the recurrent product as in cuDNN and torch.

    r, z = sigmoid(..);  n = tanh(W_in x + b_n + r (W_hn h + bias_hh));  h' = n + z (h - n). Gates in the order r, z, n.
    """

    gates, extras, states = 3, 1, 1  # extra: W_hn h + bias_hh
    recurrent_bias = carries = True

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Tensor:
        return weights.weight_hh.t().contiguous()

    def step(
        self, stash: Tensor, extra: Tensor, operand: Tensor, bias_hh: Tensor | None,
        before: Sequence[Tensor], after: Sequence[Tensor],
    ) -> None:  # fmt: skip
        assert bias_hh is not None
        size = len(bias_hh)
        sigmoids, n = stash.split([2 * size, size], dim=-1)
        sigmoids.addmm_(before[0], operand[:, : 2 * size]).sigmoid_()
        torch.addmm(bias_hh, before[0], operand[:, 2 * size :], out=extra)
        r, z = sigmoids.chunk(2, dim=-1)
        n.addcmul_(r, extra).tanh_()
        torch.lerp(n, before[0], z, out=after[0])

    def factors(
        self, stash: Tensor, extra: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Of the recurrent product's gates [T, B, 3, H]; the update gate z [T, B, H]; of the candidate [T, B, H]."""
        r, z, n = stash.chunk(3, dim=-1)
        candidate = (1 - z) * (1 - n * n)
        gates = torch.stack((candidate * extra * (r - r * r), (before[0] - n) * (z - z * z), candidate * r), dim=2)
        return gates, z, candidate

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        gates, z, _ = factors
        torch.mul(gates, d_hidden.unsqueeze(1), out=d_gates.view(gates.shape))
        torch.mul(d_hidden, z, out=carried)

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        """The candidate's own drive is not scaled by the reset gate, its recurrent product is."""
        kept = d_gates[..., : -d_hidden.shape[-1]]
        return torch.cat((kept, d_hidden * factors[2]), dim=-1)


class LSTM:
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(..), g = tanh(..);  c' = f c + i g;  h' = o tanh(c'). Gates in the order i, f, g, o; the stash
    holds i, f, sigmoid(2 ..), o, the extras g and tanh(c').
    """

    gates, extras, states = 4, 2, 2
    recurrent_bias, carries = False, True

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Tensor:
        operand = weights.weight_hh.t().contiguous()
        for whole in (drive, operand):
            whole.chunk(4, dim=-1)[2].mul_(2)
        return operand

    def step(
        self, stash: Tensor, extra: Tensor, operand: Tensor, bias_hh: Tensor | None,
        before: Sequence[Tensor], after: Sequence[Tensor],
    ) -> None:  # fmt: skip
        i, f, s, o = stash.addmm_(before[0], operand).sigmoid_().chunk(4, dim=-1)
        g, squashed = extra.chunk(2, dim=-1)
        torch.add(_minus_one(s), s, alpha=2, out=g)
        torch.mul(f, before[1], out=after[1]).addcmul_(i, g)
        torch.mul(after[1], 2, out=after[0]).sigmoid_()
        torch.add(_minus_one(s), after[0], alpha=2, out=squashed)
        torch.mul(o, squashed, out=after[0])

    def factors(
        self, stash: Tensor, extra: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Of dL/dc' through h' [T, B, H]; of the gates i, f, g [T, B, 3, H]; of the gate o; the forget gate itself.

        A gate's factor is s (1 - s) times what the gate multiplies; g = 2 s - 1 with s = sigmoid(2 ..) makes its 4 i.
        """
        i, f, _, o = stash.chunk(4, dim=-1)
        g, squashed = extra.chunk(2, dim=-1)
        partners = torch.cat((g, before[1], i * 4, squashed), dim=-1)
        gates = torch.ops.aten.sigmoid_backward(partners, stash).unflatten(-1, (4, -1))
        return torch.ops.aten.tanh_backward(o, squashed), gates[:, :, :3], gates[:, :, 3], f

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        through_output, gates, output_gate, forget = factors
        assert carried is not None
        carried.addcmul_(d_hidden, through_output)
        d_gates = d_gates.view(len(d_gates), 4, -1)
        torch.mul(gates, carried.unsqueeze(1), out=d_gates[:, :3])
        torch.mul(output_gate, d_hidden, out=d_gates[:, 3])
        carried.mul_(forget)

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        return d_gates


def _minus_one(like: Tensor) -> Tensor:
    return like.new_tensor(-1.0)


CELLS: dict[str, Cell] = {"rnn": TanhRNN(), "relu": ReLURNN(), "gru": GRU(), "lstm": LSTM()}


def find_cell(name: str) -> Cell:
    """The cell of that name; ValueError naming the nearest one if there is none."""
    if name not in CELLS:
        near = difflib.get_close_matches(name, CELLS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(CELLS)}"
        raise ValueError(f"cell: unknown name {name!r}; {hint}")
    return CELLS[name]


class RecurrentLayer(nn.Module):
    """One recurrent layer: weight_ih [gates*H, E], weight_hh [gates*H, H], bias [gates*H].

    Weights start uniform in +-1/sqrt(H), as torch's do. `forget_bias`, for an LSTM, then sets the forget gate's bias
    (1 in Jozefowicz, Zaremba & Sutskever 2015).
    """

    def __init__(
        self, cell: str, inputs: int, hidden: int, *, reverse: bool = False, name: str = "forward.0",
        forget_bias: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = find_cell(cell)
        for argument, size in (("inputs", inputs), ("hidden", hidden)):
            if size < 1:
                raise ValueError(f"{argument} must be at least 1, not {size}")
        if forget_bias is not None and not isinstance(self.cell, LSTM):
            raise ValueError(f"forget_bias is for cell 'lstm', not {cell!r}")
        self.hidden, self.reverse, self.name = hidden, reverse, name
        gates = self.cell.gates
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(gates * hidden))
        self.bias_hh = nn.Parameter(torch.empty(hidden)) if self.cell.recurrent_bias else None
        bound = hidden**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        if forget_bias is not None:
            with torch.no_grad():
                self.bias[hidden : 2 * hidden] = forget_bias

    def initial_state(self, columns: int) -> tuple[Tensor, ...]:
        """Zeros, [B, H] for each part of the cell's state."""
        return tuple(self.weight_hh.new_zeros(columns, self.hidden) for _ in range(self.cell.states))

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, ...], profile: Profile | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Inputs [T, B, E] and state to outputs [T, B, H] and the final state; `mask` as in `unroll`."""
        weights = LayerWeights(self.weight_ih, self.weight_hh, self.bias, self.bias_hh)
        return unroll(
            self.cell, inputs, weights, state, reverse=self.reverse, mask=mask, profile=profile, name=self.name
        )
