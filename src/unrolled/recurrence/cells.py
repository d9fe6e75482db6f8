"""Recurrent cells: each one time step and its hand-derived adjoint.

`Cell`, in `cell.py`, is their contract; those without a recurrent product stand in `minimal_cells.py`. Gates stand in
torch's order, so that weights can be exchanged with the `torch.nn` twins. Where it is faster, tanh(x) is computed as
2 sigmoid(2x) - 1: torch's sigmoid takes a quarter of the time of its tanh, and the factor 2, exact in floating point,
goes into something that is multiplied anyway.
"""

import difflib
from collections.abc import Collection
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.recurrence.cell import Cell, LayerWeights, Parts
from unrolled.recurrence.compiled import dispatch
from unrolled.recurrence.minimal_cells import MinGRU, MinLSTM


class TanhRNN:
    """h' = tanh(W_ih x + W_hh h + b) (Elman 1990)."""

    gates, extras, states = 1, 0, 1
    recurrent, recurrent_bias, carries = True, False, False
    compiled_kind: int | None = dispatch.RNN

    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        drive.mul_(2)
        return (_transposed(weights.weight_hh).mul_(2),)

    def step(
        self, activations: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts
    ) -> None:
        activations.addmm_(before[0], operands[0]).sigmoid_()
        torch.add(_minus_one(activations.dtype, activations.device), activations, alpha=2, out=after[0])

    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        return (torch.addcmul(activations.new_ones(()), after[0], after[0], value=-1),)

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        gates[0].mul_(d_hidden)

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        return d_gates


class ReLURNN(TanhRNN):
    """h' = max(0, W_ih x + W_hh h + b), the cell of the IRNN (Le, Jaitly & Hinton 2015)."""

    compiled_kind: int | None = dispatch.RELU

    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        return (_transposed(weights.weight_hh),)

    def step(
        self, activations: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts
    ) -> None:
        torch.clamp(activations.addmm_(before[0], operands[0]), min=0, out=after[0])

    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        return ((activations <= 0).logical_not_().to(activations.dtype),)  # 1 where it is no number, as in torch

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        torch.where(gates[0] > 0, d_hidden, gates[0], out=gates[0])  # a product with 0 would make nan of infinity


class GRU:
    """Gated recurrent unit (Cho et al. 2014), reset gate after the recurrent product as in cuDNN and torch.

    r, z = sigmoid(..);  n = tanh(W_in x + b_n + r (W_hn h + bias_hh));  h' = n + z (h - n). Gates in the order r, z, n.
    """

    gates, extras, states = 3, 1, 1  # extra: W_hn h + bias_hh
    recurrent = recurrent_bias = carries = True
    compiled_kind: int | None = dispatch.GRU

    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        assert weights.bias_hh is not None
        return _transposed(weights.weight_hh), weights.bias_hh

    def step(
        self, activations: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts
    ) -> None:
        operand, bias_hh = operands
        size = len(bias_hh)
        activations[:, : 2 * size].addmm_(before[0], operand[:, : 2 * size]).sigmoid_()
        torch.addmm(bias_hh, before[0], operand[:, 2 * size :], out=extra)
        r, z, n = gates
        n.addcmul_(r, extra).tanh_()
        torch.lerp(n, before[0], z, out=after[0])

    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """Of the recurrent product's gates r, z, n; the update gate itself; of the candidate's drive."""
        r, z, n = activations.chunk(3, dim=-1)
        candidate = (1 - z) * (1 - n * n)
        gates = torch.cat((candidate * extra * (r - r * r), (before[0] - n) * (z - z * z), candidate * r), dim=-1)
        return gates, z, candidate

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        for gate in gates:
            gate.mul_(d_hidden)
        torch.mul(d_hidden, others[0], out=carried)

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        """The candidate's own drive is not scaled by the reset gate, its recurrent product is."""
        kept = d_gates[..., : -d_hidden.shape[-1]]
        return torch.cat((kept, d_hidden * others[1]), dim=-1)


class LSTM:
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(..), g = tanh(..);  c' = f c + i g;  h' = o tanh(c'). Gates in the order i, f, g, o; the
    activations are i, f, sigmoid(2 ..), o.
    """

    gates, extras, states = 4, 0, 2
    recurrent, recurrent_bias, carries = True, False, True
    compiled_kind: int | None = dispatch.LSTM

    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        transposed = _transposed(weights.weight_hh)
        for whole in (drive, transposed):
            whole.chunk(4, dim=-1)[2].mul_(2)
        return (transposed,)

    def step(
        self, activations: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts
    ) -> None:
        activations.addmm_(before[0], operands[0]).sigmoid_()
        i, f, s, o = gates
        h, c = after
        minus_one = _minus_one(activations.dtype, activations.device)
        torch.add(minus_one, s, alpha=2, out=h)  # g, for the moment
        torch.mul(f, before[1], out=c).addcmul_(i, h)
        torch.add(c, c, out=h).sigmoid_()
        torch.add(minus_one, h, alpha=2, out=h).mul_(o)

    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """Of the gates i, f, g, o; of dL/dc' through h'; the forget gate itself.

        A gate's factor is s (1 - s) times what the gate multiplies; g = 2 s - 1 with s = sigmoid(2 ..) makes its 4 i.
        """
        i, f, s, o = activations.chunk(4, dim=-1)
        minus_one = _minus_one(activations.dtype, activations.device)
        partners = torch.empty_like(activations)
        of_i, of_f, of_g, of_o = partners.chunk(4, dim=-1)
        torch.add(minus_one, s, alpha=2, out=of_i)
        of_f.copy_(before[1])
        torch.mul(i, 4, out=of_g)
        through_output = (after[1] + after[1]).sigmoid_()
        torch.add(minus_one, through_output, alpha=2, out=of_o)  # tanh(c')
        torch.ops.aten.tanh_backward.grad_input(o, of_o, grad_input=through_output)
        torch.ops.aten.sigmoid_backward.grad_input(partners, activations, grad_input=partners)
        return partners, through_output, f

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        i, f, g, o = gates
        through_output, forget = others
        assert carried is not None
        carried.addcmul_(d_hidden, through_output)
        i.mul_(carried)
        f.mul_(carried)
        g.mul_(carried)
        o.mul_(d_hidden)
        carried.mul_(forget)

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        return d_gates


def _transposed(weight_hh: Tensor) -> Tensor:
    """[H, gates*H], always a copy: `contiguous` makes none where H is 1."""
    return weight_hh.t().clone(memory_format=torch.contiguous_format)


@lru_cache
def _minus_one(dtype: torch.dtype, device: torch.device) -> Tensor:
    """A 0-dim tensor: made once, since making it costs more than the operation that uses it."""
    with torch.inference_mode(False):
        return torch.full((), -1.0, dtype=dtype, device=device)


CELLS: dict[str, Cell] = {
    "rnn": TanhRNN(),
    "relu": ReLURNN(),
    "gru": GRU(),
    "lstm": LSTM(),
    "mingru": MinGRU(),
    "minlstm": MinLSTM(),
}


def find_cell(name: str) -> Cell:
    """The cell of that name; ValueError naming the nearest one if there is none."""
    check_name("cell", name, CELLS)
    return CELLS[name]


def check_name(argument: str, name: str, names: Collection[str]) -> None:
    """ValueError naming the nearest of ``names`` if ``name`` is none of them."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(names)}"
        raise ValueError(f"{argument}: unknown name {name!r}; {hint}")
