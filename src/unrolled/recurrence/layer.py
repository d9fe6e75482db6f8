"""A recurrent layer: a cell's shared weights, how they are initialised, and the checks on what the layer is given."""

import torch
from torch import Tensor, nn

from unrolled.recurrence.bptt import unroll, unroll_table
from unrolled.recurrence.cell import LayerWeights
from unrolled.recurrence.cells import LSTM, check_name, find_cell
from unrolled.recurrence.dropout import MaskSource, check_rate, dropout
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.threads import one_thread

EXPLODED = 1e6  # of a weight: products of smaller ones overflow in no sum
INITIALISATIONS = ("uniform", "orthogonal", "identity", "chrono")


class RecurrentLayer(nn.Module):
    """One recurrent layer: weight_ih [gates*H, E], weight_hh [gates*H, H], bias [gates*H].

    Of a cell without a recurrent product weight_hh has no rows, [0, H].

    `initialise` says how its weights start. ``weight_dropout`` is the share of weight_hh that drops out in training
    (DropConnect: Merity, Keskar & Socher 2018, section 2). ``name`` is what a profile calls the layer. Where
    ``by_torch`` is set, torch's own layer runs when no profile is asked for, where that is as fast.
    """

    by_torch = False

    def __init__(
        self, cell: str, inputs: int, hidden: int, *, reverse: bool = False, name: str = "layer",
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
        if weight_dropout and not self.cell.recurrent:
            raise ValueError(f"weight_dropout is for cells with a recurrent matrix, not {type(self.cell).__name__}")
        self.hidden, self.reverse, self.name, self.weight_dropout = hidden, reverse, name, weight_dropout
        gates = self.cell.gates
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden * self.cell.recurrent, hidden))
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
        - chrono: uniform, but with gates that forget after times drawn from 1 to `longest` steps: the forget gate's
          bias is log U(1, longest - 1), the input gate's its negative (Tallec & Ollivier 2018). For lstm and gru
          (its z).

        A cell without a recurrent matrix starts uniform. `forget_bias`, for an LSTM, then sets the forget gate's bias
        (1 in Jozefowicz, Zaremba & Sutskever 2015).
        """
        check_name("initialisation", how, INITIALISATIONS)
        cell, size = type(self.cell).__name__, self.hidden
        if how != "uniform" and not self.cell.recurrent:
            raise ValueError(f"initialisation {how!r} is for cells with a recurrent matrix, not {cell}")
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
            with one_thread():
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
        self, inputs: Tensor, state: tuple[Tensor, ...], profile: Profile | None = None,
        lengths: Tensor | None = None, generator: MaskSource | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """Inputs [T, B, E] and state to outputs [T, B, H] and the final state; `lengths` as in `unroll`.

        ``generator`` draws which recurrent weights drop out, the same ones at all time steps; without it none do.
        ValueError names the first argument that does not fit.
        """
        self._check(inputs, state, lengths)
        weight_hh = dropout(self.weight_hh, self.weight_dropout, generator)
        weights = LayerWeights(self.weight_ih, weight_hh, self.bias, self.bias_hh)
        return unroll(
            self.cell, inputs, weights, state, reverse=self.reverse, lengths=lengths, profile=profile, name=self.name,
            by_torch=self.by_torch,
        )  # fmt: skip

    def last_state(
        self, table: Tensor, ids: Tensor, state: tuple[Tensor, ...], lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The state after what each column reads last: of a table [R, E] the row of each id, int64 [T, B].

        As `forward` of table[ids] gives it, faster where the window is longer than the table. ValueError as there.
        """
        if ids.dtype != torch.int64 or ids.dim() != 2 or table.dim() != 2:
            raise ValueError(f"ids must be int64 [T, B] beside a table [R, E], not {ids.dtype} {list(ids.shape)}")
        self._check(table[:1, None].expand(len(ids), ids.shape[1], -1), state, lengths)
        weights = LayerWeights(self.weight_ih, self.weight_hh, self.bias, self.bias_hh)
        return unroll_table(
            self.cell, table, ids, weights, state, reverse=self.reverse, lengths=lengths, by_torch=self.by_torch
        )

    def _check(self, inputs: Tensor, state: tuple[Tensor, ...], lengths: Tensor | None) -> None:
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
        if lengths is None:
            return
        if lengths.dtype != torch.int64 or list(lengths.shape) != columns[:1]:
            raise ValueError(f"lengths must be int64 {columns[:1]}, not {lengths.dtype} {list(lengths.shape)}")
        bad = lengths[(lengths < 1) | (lengths > len(inputs))]
        if len(bad):
            raise ValueError(f"lengths must be between 1 and {len(inputs)}, the inputs' time steps, not {int(bad[0])}")


def read_by_torch(network: nn.Module) -> None:
    """Set ``by_torch`` in all recurrent layers of a network that is no longer trained.

    Not in one that exploded: of numbers that overflow, torch's LSTM on the CPU makes gates where ours has none to show.
    """
    if all(bool(parameter.abs().amax() < EXPLODED) for parameter in network.parameters() if parameter.numel()):
        for module in network.modules():
            if isinstance(module, RecurrentLayer):
                module.by_torch = True
