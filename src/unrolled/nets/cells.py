"""Recurrent cells: each one time step, its hand-derived adjoint and its initial state; and the layer that owns weights.

Gates stand in torch's order, so that weights can be exchanged with the `torch.nn` twins. Slices are hidden-major
`[..., H, B]`; see `bptt.Cell` for the contract.
"""

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unrolled.bptt import Cell, LayerWeights, Profile, unroll


class TanhRNN:
    """h' = tanh(W_ih x + W_hh h + b) (Elman 1990)."""

    gates, kept, states = 1, 1, 1
    recurrent_bias = carries = False

    def step(self, stash: Tensor, weights: LayerWeights, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        torch.addmm(stash[0], weights.weight_hh, before[0], out=after[0])
        after[0].tanh_()

    def factors(self, stash: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (torch.addcmul(after[0].new_ones(()), after[0], after[0], value=-1),)

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        torch.mul(d_hidden, factors[0], out=d_gates[0])

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        return d_gates


class ReLURNN(TanhRNN):
    """h' = max(0, W_ih x + W_hh h + b), the cell of the IRNN (Le, Jaitly & Hinton 2015)."""

    def step(self, stash: Tensor, weights: LayerWeights, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        torch.addmm(stash[0], weights.weight_hh, before[0], out=after[0])
        after[0].relu_()

    def factors(self, stash: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return ((after[0] > 0).to(after[0].dtype),)


class GRU:
    """Gated recurrent unit (Cho et al. 2014), reset gate after the recurrent product as in cuDNN and torch.

    r, z = sigmoid(..);  n = tanh(W_in x + b_n + r (W_hn h + bias_hh));  h' = n + z (h - n). Gates in the order r, z, n.
    """

    gates, kept, states = 3, 4, 1  # the fourth block kept is W_hn h + bias_hh
    recurrent_bias = carries = True

    def step(self, stash: Tensor, weights: LayerWeights, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        assert weights.bias_hh is not None
        r, z, n, u = stash.unbind()
        size = len(u)
        stash[:2].view(2 * size, -1).addmm_(weights.weight_hh[: 2 * size], before[0]).sigmoid_()
        torch.addmm(weights.bias_hh[:, None], weights.weight_hh[2 * size :], before[0], out=u)
        n.addcmul_(r, u).tanh_()
        torch.lerp(n, before[0], z, out=after[0])

    def factors(self, stash: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Of the recurrent product's gates [T, 3, H, B]; the update gate z [T, H, B]; of the candidate [T, H, B]."""
        r, z, n, u = stash.unbind(1)
        candidate = (1 - z) * (1 - n * n)
        gates = torch.stack((candidate * u * (r - r * r), (before[0] - n) * (z - z * z), candidate * r), dim=1)
        return gates, z, candidate

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        gates, z, _ = factors
        assert carried is not None
        d_hidden.add_(carried)
        torch.mul(gates, d_hidden, out=d_gates)
        torch.mul(d_hidden, z, out=carried)

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        """The candidate's own drive is not scaled by the reset gate, its recurrent product is."""
        return torch.cat((d_gates[:, :2], (d_hidden * factors[2])[:, None]), dim=1)


class LSTM:
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(..), g = tanh(..);  c' = f c + i g;  h' = o tanh(c'). Gates in the order i, f, g, o.
    """

    gates, kept, states = 4, 4, 2
    recurrent_bias, carries = False, True

    def step(self, stash: Tensor, weights: LayerWeights, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        stash.view(-1, stash.shape[-1]).addmm_(weights.weight_hh, before[0])
        i, f, g, o = stash.unbind()
        stash[:2].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        torch.mul(f, before[1], out=after[1])
        after[1].addcmul_(i, g)
        torch.tanh(after[1], out=after[0])
        after[0].mul_(o)

    def factors(self, stash: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Of dL/dc' through h' [T, H, B]; of the gates i, f, g [T, 3, H, B]; of the gate o; the forget gate itself."""
        i, f, g, o = stash.unbind(1)
        squashed = after[1].tanh()
        one = stash.new_ones(())
        through_output = torch.addcmul(one, squashed, squashed, value=-1).mul_(o)
        gates = torch.stack((g * (i - i * i), before[1] * (f - f * f), i - i * g * g), dim=1)
        return through_output, gates, squashed.mul_(o - o * o), f

    def adjoint(self, factors: Sequence[Tensor], d_hidden: Tensor, carried: Tensor | None, d_gates: Tensor) -> None:
        through_output, gates, output_gate, forget = factors
        assert carried is not None
        carried.addcmul_(d_hidden, through_output)
        torch.mul(gates, carried, out=d_gates[:3])
        torch.mul(output_gate, d_hidden, out=d_gates[3])
        carried.mul_(forget)

    def drive_gradient(self, factors: Sequence[Tensor], d_hidden: Tensor, d_gates: Tensor) -> Tensor:
        return d_gates


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
        self, inputs: Tensor, state: tuple[Tensor, ...], profile: Profile | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Inputs [T, B, E] and state to outputs [T, B, H] and the final state."""
        weights = LayerWeights(self.weight_ih, self.weight_hh, self.bias, self.bias_hh)
        return unroll(self.cell, inputs, weights, state, reverse=self.reverse, profile=profile, name=self.name)
