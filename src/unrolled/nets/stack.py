"""Recurrent layers one above the other."""

from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from unrolled.bptt import Profile
from unrolled.nets.cells import RecurrentLayer
from unrolled.nets.dropout import dropout

State = tuple[Tensor, ...]  # of one layer: h, or h and c, each [B, H]
Module = TypeVar("Module", bound=nn.Module)


class Stack(nn.Module):
    """``layers`` recurrent layers, all reading in one direction, with dropout before each and after the last.

    ``generator`` draws the layers' weights from the lowest up. ValueError names an argument that does not fit.
    """

    def __init__(
        self, name: str, cell: str, *, inputs: int, hidden: int, layers: int,
        dropout: float = 0.0, generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be at least 1, not {layers}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout}")
        self.dropout = dropout
        stacked = nn.ModuleList(
            RecurrentLayer(
                cell, size, hidden, reverse=name == "backward", name=f"{name}.{index}", generator=generator
            )
            for index, size in enumerate([inputs] + [hidden] * (layers - 1))
        )  # fmt: skip
        self.layers = cast(Sequence[RecurrentLayer], stacked)

    def forward(
        self, inputs: Tensor, state: tuple[State, ...],
        generator: torch.Generator | None = None, profile: Profile | None = None,
    ) -> tuple[Tensor, tuple[State, ...]]:  # fmt: skip
        """[T, B, E] -> [T, B, H] and the state after the last row read."""
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            inputs, carried = layer(dropout(inputs, self.dropout, generator), before, profile=profile)
            after.append(carried)
        return dropout(inputs, self.dropout, generator), tuple(after)

    def initial_state(self, columns: int) -> tuple[State, ...]:
        return tuple(layer.initial_state(columns) for layer in self.layers)

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by layer."""
        return {layer.name: list(layer.parameters()) for layer in self.layers}


def drawn(
    kind: type[Module], rows: int, width: int, bound: float, generator: torch.Generator | None, **options: bool
) -> Module:
    """A torch module of two sizes, its parameters drawn once, uniform in +-bound; ``options`` are the module's."""
    module: Module = skip_init(kind, rows, width, **options)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return module
