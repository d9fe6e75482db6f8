"""Recurrent cells: each one time step, its hand-derived adjoint and its initial state; and the layer that owns weights.

Gates stand in torch's order, so that weights can be exchanged with the `torch.nn` twins; see `bptt.Cell` for the
contract. Where it is faster, tanh(x) is computed as 2 sigmoid(2x) - 1: torch's sigmoid takes a quarter of the time of
its tanh, and the factor 2, exact in floating point, goes into what is multiplied anyway.
"""

import difflib
from collections.abc import Collection
from functools import lru_cache

import torch
from torch import Tensor, nn

from unrolled.bptt import Cell, LayerWeights, Parts, Profile, unroll
from unrolled.compiled import walks
from unrolled.nets.dropout import check_rate, dropout


class TanhRNN:
    """h' = tanh(W_ih x + W_hh h + b) (Elman 1990)."""

    gates, extras, states = 1, 0, 1
    recurrent_bias = carries = False
    walk: int | None = walks.RNN

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Parts:
        drive.mul_(2)
        return (_turned(weights.weight_hh).mul_(2),)

    def step(self, stash: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts) -> None:
        stash.addmm_(before[0], operands[0]).sigmoid_()
        torch.add(_minus_one(stash.dtype, stash.device), stash, alpha=2, out=after[0])

    def factors(self, stash: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        return (torch.addcmul(stash.new_ones(()), after[0], after[0], value=-1),)

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        gates[0].mul_(d_hidden)

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        return d_gates


class ReLURNN(TanhRNN):
    """h' = max(0, W_ih x + W_hh h + b), the cell of the IRNN (Le, Jaitly & Hinton 2015)."""

    walk: int | None = walks.RELU

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Parts:
        return (_turned(weights.weight_hh),)

    def step(self, stash: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts) -> None:
        torch.clamp(stash.addmm_(before[0], operands[0]), min=0, out=after[0])

    def factors(self, stash: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        return ((stash > 0).to(stash.dtype),)


class GRU:
    """Gated recurrent unit (Cho et al. 2014), reset gate after the recurrent product as in cuDNN and torch.

    r, z = sigmoid(..);  n = tanh(W_in x + b_n + r (W_hn h + bias_hh));  h' = n + z (h - n). Gates in the order r, z, n.
    """

    gates, extras, states = 3, 1, 1  # extra: W_hn h + bias_hh
    recurrent_bias = carries = True
    walk: int | None = None

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Parts:
        assert weights.bias_hh is not None
        return _turned(weights.weight_hh), weights.bias_hh

    def step(self, stash: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts) -> None:
        operand, bias_hh = operands
        size = len(bias_hh)
        stash[:, : 2 * size].addmm_(before[0], operand[:, : 2 * size]).sigmoid_()
        torch.addmm(bias_hh, before[0], operand[:, 2 * size :], out=extra)
        r, z, n = gates
        n.addcmul_(r, extra).tanh_()
        torch.lerp(n, before[0], z, out=after[0])

    def factors(self, stash: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """Of the recurrent product's gates r, z, n; the update gate itself; of the candidate's drive."""
        r, z, n = stash.chunk(3, dim=-1)
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

    i, f, o = sigmoid(..), g = tanh(..);  c' = f c + i g;  h' = o tanh(c'). Gates in the order i, f, g, o; the stash
    holds i, f, sigmoid(2 ..), o.
    """

    gates, extras, states = 4, 0, 2
    recurrent_bias, carries = False, True
    walk: int | None = walks.LSTM

    def prepare(self, drive: Tensor, weights: LayerWeights) -> Parts:
        turned = _turned(weights.weight_hh)
        for whole in (drive, turned):
            whole.chunk(4, dim=-1)[2].mul_(2)
        return (turned,)

    def step(self, stash: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts) -> None:
        stash.addmm_(before[0], operands[0]).sigmoid_()
        i, f, s, o = gates
        h, c = after
        minus_one = _minus_one(stash.dtype, stash.device)
        torch.add(minus_one, s, alpha=2, out=h)  # g, for the moment
        torch.mul(f, before[1], out=c).addcmul_(i, h)
        torch.add(c, c, out=h).sigmoid_()
        torch.add(minus_one, h, alpha=2, out=h).mul_(o)

    def factors(self, stash: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """Of the gates i, f, g, o; of dL/dc' through h'; the forget gate itself.

        A gate's factor is s (1 - s) times what the gate multiplies; g = 2 s - 1 with s = sigmoid(2 ..) makes its 4 i.
        """
        i, f, s, o = stash.chunk(4, dim=-1)
        minus_one = _minus_one(stash.dtype, stash.device)
        partners = torch.empty_like(stash)
        of_i, of_f, of_g, of_o = partners.chunk(4, dim=-1)
        torch.add(minus_one, s, alpha=2, out=of_i)
        of_f.copy_(before[1])
        torch.mul(i, 4, out=of_g)
        through_output = (after[1] + after[1]).sigmoid_()
        torch.add(minus_one, through_output, alpha=2, out=of_o)  # tanh(c')
        torch.ops.aten.tanh_backward.grad_input(o, of_o, grad_input=through_output)
        torch.ops.aten.sigmoid_backward.grad_input(partners, stash, grad_input=partners)
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


def _turned(weight_hh: Tensor) -> Tensor:
    """[H, gates*H], always a copy: `contiguous` makes none where H is 1."""
    return weight_hh.t().clone(memory_format=torch.contiguous_format)


@lru_cache
def _minus_one(dtype: torch.dtype, device: torch.device) -> Tensor:
    """A 0-dim tensor: made once, since making it costs more than the operation that it stands in."""
    with torch.inference_mode(False):
        return torch.full((), -1.0, dtype=dtype, device=device)


CELLS: dict[str, Cell] = {"rnn": TanhRNN(), "relu": ReLURNN(), "gru": GRU(), "lstm": LSTM()}
INITIALISATIONS = ("uniform", "orthogonal", "identity", "chrono")


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


class RecurrentLayer(nn.Module):
    """One recurrent layer: weight_ih [gates*H, E], weight_hh [gates*H, H], bias [gates*H].

    Its weights start as `initialise` says. ``weight_dropout`` is the share of weight_hh that drops out in training
    (DropConnect: Merity, Keskar & Socher 2018, section 2).
    """

    def __init__(
        self, cell: str, inputs: int, hidden: int, *, reverse: bool = False, name: str = "forward.0",
        initialisation: str = "uniform", initial_range: float | None = None,
        forget_bias: float | None = None, longest: int | None = None, weight_dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = find_cell(cell)
        for argument, size in (("inputs", inputs), ("hidden", hidden)):
            if size < 1:
                raise ValueError(f"{argument} must be at least 1, not {size}")
        check_rate("weight_dropout", weight_dropout)
        self.hidden, self.reverse, self.name, self.weight_dropout = hidden, reverse, name, weight_dropout
        gates = self.cell.gates
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(gates * hidden))
        self.bias_hh = nn.Parameter(torch.empty(hidden)) if self.cell.recurrent_bias else None
        self.initialise(
            initialisation, initial_range=initial_range, forget_bias=forget_bias, longest=longest, generator=generator
        )

    @torch.no_grad()
    def initialise(
        self, how: str = "uniform", *, initial_range: float | None = None,
        forget_bias: float | None = None, longest: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        """Draw the weights anew.

        - uniform: all in +-`initial_range`; None is 1/sqrt(H), as torch's layers.
        - orthogonal: the recurrent matrix of each gate (Saxe, McClelland & Ganguli 2014), the rest uniform.
        - identity: the recurrent matrix; input weights of deviation 0.001, biases 0 (IRNN: Le, Jaitly & Hinton 2015).
          For cells without gates.
        - chrono: uniform, but gates that forget at times drawn from 1 to `longest` steps: the forget gate's bias is
          log U(1, longest - 1), the input gate's its negative (Tallec & Ollivier 2018). For lstm and gru (its z).

        `forget_bias`, for an LSTM, then sets the forget gate's bias (1 in Jozefowicz, Zaremba & Sutskever 2015).
        """
        check_name("initialisation", how, INITIALISATIONS)
        cell, size = type(self.cell).__name__, self.hidden
        if how == "identity" and self.cell.gates > 1:
            raise ValueError(f"initialisation 'identity' is for cells without gates, not {cell}")
        if how == "chrono" and (self.cell.gates == 1 or longest is None or longest < 3):
            raise ValueError(f"initialisation 'chrono' wants a cell with gates and longest >= 3, not {cell}, {longest}")
        if forget_bias is not None and not isinstance(self.cell, LSTM):
            raise ValueError(f"forget_bias is for LSTM, not {cell}")
        bound = size**-0.5 if initial_range is None else initial_range
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        if how == "orthogonal":
            for gate in self.weight_hh.split(size):
                nn.init.orthogonal_(gate, generator=generator)
        elif how == "identity":
            nn.init.normal_(self.weight_ih, std=1e-3, generator=generator)
            nn.init.eye_(self.weight_hh)
            nn.init.zeros_(self.bias)
        elif how == "chrono" and longest is not None:
            gates = self.bias.split(size)
            nn.init.uniform_(gates[1], 1, longest - 1, generator=generator).log_()
            if isinstance(self.cell, LSTM):
                gates[0].copy_(-gates[1])
        if forget_bias is not None:
            nn.init.constant_(self.bias[size : 2 * size], forget_bias)

    def initial_state(self, columns: int) -> tuple[Tensor, ...]:
        """Zeros, [B, H] for each part of the cell's state."""
        return tuple(self.weight_hh.new_zeros(columns, self.hidden) for _ in range(self.cell.states))

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, ...], profile: Profile | None = None, mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """Inputs [T, B, E] and state to outputs [T, B, H] and the final state; `mask` as in `unroll`.

        ``generator`` draws which recurrent weights drop out, the same at all time steps; without one none does.
        """
        self._check(inputs, state, mask)
        weight_hh = dropout(self.weight_hh, self.weight_dropout, generator)
        weights = LayerWeights(self.weight_ih, weight_hh, self.bias, self.bias_hh)
        return unroll(
            self.cell, inputs, weights, state, reverse=self.reverse, mask=mask, profile=profile, name=self.name
        )

    def _check(self, inputs: Tensor, state: tuple[Tensor, ...], mask: Tensor | None) -> None:
        """Name the first argument that does not fit, in one line."""
        dtype, features = self.weight_ih.dtype, self.weight_ih.shape[1]
        if inputs.dim() != 3 or 0 in inputs.shape[:2] or inputs.shape[2] != features:
            raise ValueError(f"inputs must be [T, B, {features}], T and B at least 1, not {list(inputs.shape)}")
        if len(state) != self.cell.states:
            raise ValueError(f"state must have {self.cell.states} part(s), not {len(state)}")
        columns = [inputs.shape[1], self.hidden]
        named = [("inputs", inputs, list(inputs.shape))]
        named += [(f"state[{index}]", part, columns) for index, part in enumerate(state)]
        for argument, tensor, shape in named:
            if list(tensor.shape) != shape:
                raise ValueError(f"{argument} must be {shape} beside inputs {named[0][2]}, not {list(tensor.shape)}")
            if tensor.dtype != dtype:
                raise ValueError(f"{argument} must be {dtype} as the layer's weights are, not {tensor.dtype}")
        if not dtype.is_floating_point or (inputs.device.type == "cpu" and dtype.itemsize < 4):
            raise ValueError(f"inputs and weights must be float32 or float64 on the CPU, not {dtype}")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != inputs.shape[:2]):
            raise ValueError(f"mask must be bool {list(inputs.shape[:2])}, not {mask.dtype} {list(mask.shape)}")
