"""The encoder: recurrent layers over the features of a sound, from left to right or from both sides.

features   [T, B, F]     hundredths of a second
   |                     so many frames side by side make a time step
steps      [T/s, B, sF]
   |
stacks     left to right, and right to left where the audio may be read from both sides: it is all there before a word
   |       is written, and holds no target
outputs    [T/s, B, D]

A pyramid halves time again below each further layer (Chan et al. 2016, section 3.1): each layer reads two outputs of
the one below it side by side.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled.recurrence.dropout import MaskSource, dropout
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack


class Encoded(NamedTuple):
    """A batch of sounds as it was read: outputs [T, B, D], 0 in the padding; lengths int64 [B].

    ``ends`` [B, D]: of each stack its output at the last time step that it reads.
    """

    outputs: Tensor
    lengths: Tensor
    ends: Tensor

    def column(self, index: int) -> "Encoded":
        """One sound alone, without padding."""
        length = int(self.lengths[index])
        part = slice(index, index + 1)
        return Encoded(self.outputs[:length, part], self.lengths[part], self.ends[part])


class Floor(NamedTuple):
    """What the stacks of one floor read, [T, B, F], of so many time steps each, [B], and say, {name: [T, B, H]}."""

    read: Tensor
    steps: Tensor
    outputs: dict[str, Tensor]


class Encoder(nn.Module):
    """``floors``: of a pyramid, one a layer; else one of all layers. Each has a stack a direction."""

    def __init__(
        self, features: int, *, cell: str, bidirectional: bool, hidden: int, layers: int, frames_per_step: int,
        pyramid: bool, dropout: float, generator: torch.Generator | None = None, **initialise: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.frames_per_step, self.pyramid, self.dropout = frames_per_step, pyramid, dropout
        names = ["left_to_right", "right_to_left"][: 1 + bidirectional]
        self.width = len(names) * hidden
        inputs = features * frames_per_step
        floors = []
        for floor in range(layers if pyramid else 1):
            floors.append(
                nn.ModuleDict(
                    {
                        name: Stack(
                            name if floor == 0 else f"{name}_{floor + 1}", cell, inputs=inputs, hidden=hidden,
                            layers=1 if pyramid else layers, reverse=name == "right_to_left", dropout=0.0,
                            generator=generator, **initialise,
                        )
                        for name in names
                    }
                )
            )  # fmt: skip
            inputs = 2 * self.width
        self.floors = cast(Sequence[nn.ModuleDict], nn.ModuleList(floors))

    @property
    def frames_per_output(self) -> int:
        """Of the topmost layers' time steps, which a pyramid makes longer than the lowest ones'."""
        return int(self.frames_per_step * 2 ** (len(self.floors) - 1))

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by name, the lowest first."""
        every = [cast(Stack, stack) for floor in self.floors for stack in floor.values()]
        return {_name(stack): stack for stack in every}

    def forward(
        self, features: Tensor, lengths: Tensor, generator: MaskSource | None = None, profile: Profile | None = None
    ) -> Encoded:
        """Of features [T, B, F], 0 in the padding, of so many frames each, int64 [B]."""
        *_, top = self.climb(features, lengths, generator, profile)
        columns, stacks = torch.arange(len(lengths), device=lengths.device), self.stacks
        ends = [
            outputs[0] if stacks[name].layers[0].reverse else outputs[top.steps - 1, columns]
            for name, outputs in top.outputs.items()
        ]
        whole = torch.cat(list(top.outputs.values()), dim=-1)
        return Encoded(dropout(whole, self.dropout, generator), top.steps, torch.cat(ends, dim=-1))

    def climb(
        self, features: Tensor, lengths: Tensor, generator: MaskSource | None = None, profile: Profile | None = None
    ) -> Iterator[Floor]:
        """The floors from the lowest up; arguments as `forward`."""
        read, steps = features, lengths
        for number, stacks in enumerate(self.floors):
            read, steps = side_by_side(read, steps, 2 if number else self.frames_per_step)
            read, outputs = dropout(read, self.dropout, generator), {}
            for stack in map(lambda each: cast(Stack, each), stacks.values()):
                found, _ = stack(read, stack.initial_state(read.shape[1]), generator, profile, lengths=steps)
                outputs[_name(stack)] = found
            yield Floor(read, steps, outputs)
            read = torch.cat(list(outputs.values()), dim=-1)


def _name(stack: Stack) -> str:
    return stack.layers[0].name.rpartition(".")[0]


def side_by_side(values: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[T, B, F] to [ceil(T / count), B, count F], and the lengths to match; what is missing at an end is 0."""
    if count == 1:
        return values, lengths
    steps, columns, features = values.shape
    missing = -steps % count
    whole = torch.cat([values, values.new_zeros(missing, columns, features)]) if missing else values
    joined = whole.view(-1, count, columns, features).transpose(1, 2).reshape(-1, columns, count * features)
    return joined, -(-lengths // count)
