"""Recurrent layers one above the other, and the connections that lead around them.

With x what comes up from below, a layer above the first passes on
  plain       layer(x)
  residual    x + layer(x)                                   He et al. 2016; between LSTM layers Wu et al. 2016
  highway     g layer(x) + (1 - g) x, g = sigmoid(W x + b)   Srivastava, Greff & Schmidhuber 2015
  dense       layer(x), where x is the stack's input and the outputs of all layers below, side by side
              (Huang et al. 2017)
The first layer passes on layer(x) whatever the connection, so the stack's input need not be of width H; its output is
[T, B, H] with every connection. With the plain one each layer may have a width of its own, and H is the last one's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from unrolled.ground.layers import PLACES, sizes_of
from unrolled.recurrence.cells import check_name
from unrolled.recurrence.dropout import DROPOUT_MASKS, MaskSource, check_rate, dropout
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.threads import one_thread

CONNECTIONS = ("plain", "residual", "highway", "dense")
CARRY_BIAS = -2.0  # a highway's gate starts about an eighth open and carries the rest (Kim et al. 2016)

State = tuple[Tensor, ...]  # of one layer: h, or h and c, each [B, H]
Module = TypeVar("Module", bound=nn.Module)
Value = TypeVar("Value", float, str)


class Stack(nn.Module):
    """``layers`` recurrent layers, all reading in one direction, with dropout before each and after the last.

    ``hidden`` is the width of all layers or a list with that of each, from the lowest up.
    ``dropout`` and ``dropout_mask``, as in `dropout.dropout`, are one for all PLACES or one for each. ``name`` is a
    label for profiles, where the layers are ``name.0``, ``name.1``, ... from the lowest up. ``weight_dropout`` as in
    ``RecurrentLayer``, from ``initialisation`` to ``longest`` as in its `initialise`; ``generator`` draws the layers'
    weights from the lowest up, then the highways'. ValueError names an argument that does not fit.
    """

    def __init__(
        self, name: str, cell: str, *, inputs: int, hidden: int | Sequence[int], layers: int, reverse: bool = False,
        connection: str = "plain", dropout: float | Mapping[str, float] = 0.0,
        dropout_mask: str | Mapping[str, str] = "step", weight_dropout: float = 0.0,
        initialisation: str = "uniform", initial_range: float | None = None,
        forget_bias: float | None = None, longest: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_name("connection", connection, CONNECTIONS)
        self.connection = connection
        self.dropout = by_place("dropout", dropout, check_rate)
        self.dropout_mask = by_place("dropout_mask", dropout_mask, partial(check_name, names=DROPOUT_MASKS))
        self.sizes = sizes_of(hidden, layers)
        *_, last = self.sizes
        if connection != "plain" and set(self.sizes) != {last}:
            raise ValueError(f"connection {connection!r} needs layers of one size, not {self.sizes}")
        dense = [inputs + below * last for below in range(1, layers)]
        reads = [inputs, *(dense if connection == "dense" else self.sizes[:-1])]
        stacked = nn.ModuleList(
            RecurrentLayer(
                cell, read, size, reverse=reverse, name=f"{name}.{index}",
                initialisation=initialisation, initial_range=initial_range,
                forget_bias=forget_bias, longest=longest, weight_dropout=weight_dropout, generator=generator,
            )
            for index, (read, size) in enumerate(zip(reads, self.sizes, strict=True))
        )  # fmt: skip
        self.layers = cast(Sequence[RecurrentLayer], stacked)
        highways = layers - 1 if connection == "highway" else 0  # the first of them leads around the second layer
        bound = last**-0.5 if initial_range is None else initial_range
        gates = nn.ModuleList(drawn(nn.Linear, last, last, bound, generator) for _ in range(highways))
        self.gates = cast(Sequence[nn.Linear], gates)
        for gate in self.gates:
            nn.init.constant_(gate.bias, CARRY_BIAS)

    def forward(
        self, inputs: Tensor, state: tuple[State, ...],
        generator: MaskSource | None = None, profile: Profile | None = None, lengths: Tensor | None = None,
        noted: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, tuple[State, ...]]:  # fmt: skip
        """[T, B, E] -> [T, B, H] and the state after the last row read; `lengths` as in `unroll`.

        Dropout applies to what a layer and its highway's gate read; what a connection carries past them stays whole.
        What comes out is ``noted`` as it is before the last dropout, and after it.
        """
        after, passed = [], inputs
        for index, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            read = self._dropped("between" if index else "input", passed, generator)
            outputs, carried = layer(read, before, profile, lengths, generator)
            after.append(carried)
            passed = self.connected(index, passed, read, outputs)
        dropped = self._dropped("output", passed, generator)
        if noted is not None:
            noted.append((passed, dropped))
        return dropped, tuple(after)

    def initial_state(self, columns: int) -> tuple[State, ...]:
        return tuple(layer.initial_state(columns) for layer in self.layers)

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by layer; the gate of a highway belongs to the layer that it leads around."""
        named: dict[str, list[Tensor]] = {layer.name: list(layer.parameters()) for layer in self.layers}
        for layer, gate in zip(self.layers[1:], self.gates, strict=False):
            named[layer.name] += gate.parameters()
        return named

    def _dropped(self, place: str, values: Tensor, generator: MaskSource | None) -> Tensor:
        return dropout(values, self.dropout[place], generator, self.dropout_mask[place])

    def connected(self, index: int, below: Tensor, read: Tensor, outputs: Tensor) -> Tensor:
        """What layer ``index`` passes on, having made ``outputs`` of ``below``, which it ``read`` after dropout."""
        if self.connection == "dense":
            return torch.cat((below, outputs), dim=-1) if index + 1 < len(self.layers) else outputs
        if self.connection == "plain" or index == 0:
            return outputs
        if self.connection == "residual":
            return below + outputs
        drive = self.gates[index - 1](read)
        with one_thread():
            share = torch.sigmoid(drive)
        return torch.lerp(below, outputs, share)


def by_place(
    argument: str, given: Value | Mapping[str, Value], check: Callable[[str, Value], None]
) -> dict[str, Value]:
    """One value for each of PLACES, which ``check`` has passed; ValueError where a mapping has other keys."""
    if not isinstance(given, Mapping):
        check(argument, given)
        return dict.fromkeys(PLACES, given)
    if set(given) != set(PLACES):
        raise ValueError(f"{argument} must be one or have the keys {', '.join(PLACES)}, not {', '.join(given)}")
    for place, value in given.items():
        check(f"{argument}.{place}", value)
    return dict(given)


def drawn(
    kind: type[Module], rows: int, width: int, bound: float, generator: torch.Generator | None, **options: bool
) -> Module:
    """A torch module of two sizes, its parameters uniform in +-bound; ``options`` are the module's.

    `skip_init` would do, but its first use imports torch's compiler, which would cost every stage three seconds. What
    torch draws is overwritten, and must not advance the caller's random numbers.
    """
    with torch.random.fork_rng(devices=[]):
        module = kind(rows, width, **options)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return module
