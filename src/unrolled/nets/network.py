"""The network of a language model: embedding, one or two stacks of recurrent layers, heads over one output matrix.

causal                    bidirectional: the stacks stay apart, so that neither carries the other's reading

logits                    logits    logits             logits
  |                         |         |                  |        one output matrix, one bias, for all heads
forward                  forward    joined            backward
  |                         |      /      \\               |
stack of layers          forward stack    backward stack
  |                         |                    |
left                      left                 right              the target itself is read by neither
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled.bptt import Profile
from unrolled.nets.cells import RecurrentLayer
from unrolled.nets.dropout import dropout

State = tuple[Tensor, ...]  # of one layer: h, or h and c, each [B, H]


class States(NamedTuple):
    """The carried state of both stacks, a State a layer; ``backward`` is empty in a causal network."""

    forward: tuple[State, ...]
    backward: tuple[State, ...] = ()

    def detach(self) -> "States":
        """Cut the graph: gradients stop at the window's edge, the state goes on."""
        return States(*(tuple(tuple(part.detach() for part in state) for state in stack) for stack in self))


class Stack(nn.Module):
    """``layers`` recurrent layers one above the other, all reading in one direction, dropout between them."""

    def __init__(self, name: str, cell: str, *, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        sizes = [inputs] + [hidden] * (layers - 1)
        stacked = nn.ModuleList(
            RecurrentLayer(cell, size, hidden, reverse=name == "backward", name=f"{name}.{index}")
            for index, size in enumerate(sizes)
        )
        self.layers = cast(Sequence[RecurrentLayer], stacked)

    def forward(
        self, inputs: Tensor, state: tuple[State, ...], generator: torch.Generator | None, profile: Profile | None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """[T, B, E] -> [T, B, H] and the state after the last row read."""
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            inputs, carried = layer(dropout(inputs, self.dropout, generator), before, profile=profile)
            after.append(carried)
        return dropout(inputs, self.dropout, generator), tuple(after)

    def initial_state(self, columns: int) -> tuple[State, ...]:
        return tuple(layer.initial_state(columns) for layer in self.layers)


class Network(nn.Module):
    """Embedding, stacks and heads; see the picture above.

    The bidirectional network is trained as ELMo's two language models (Peters et al. 2018, section 3.1): a forward and
    a backward head share the embedding and the output matrix, here with a joined head beside them.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        cell: str,
        bidirectional: bool,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        tied: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if tied and embedding != hidden:
            raise ValueError(f"tied weights need embedding = hidden, not {embedding} and {hidden}")
        self.embedding = nn.Embedding(vocabulary, embedding)
        sizes = {"inputs": embedding, "hidden": hidden, "layers": layers}
        self.forward_stack = Stack("forward", cell, dropout=dropout, **sizes)
        self.backward_stack = Stack("backward", cell, dropout=dropout, **sizes) if bidirectional else None
        self.join = nn.Linear(2 * hidden, hidden) if bidirectional else None
        self.output = None if tied else nn.Linear(hidden, vocabulary, bias=False)
        self.output_bias = nn.Parameter(torch.empty(vocabulary))
        self._initialise(hidden, generator)

    @property
    def bidirectional(self) -> bool:
        return self.join is not None

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by the name of the head above each."""
        pair = {"forward": self.forward_stack, "backward": self.backward_stack}
        return {name: stack for name, stack in pair.items() if stack is not None}

    @property
    def output_weight(self) -> Tensor:
        """[V, H]: the embedding itself where weights are tied (Press and Wolf 2017; Inan et al. 2017)."""
        return self.embedding.weight if self.output is None else self.output.weight

    def initial_state(self, columns: int) -> States:
        return States(*(stack.initial_state(columns) for stack in self.stacks.values()))

    def hidden(
        self,
        left: Tensor,
        right: Tensor,
        state: States,
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[dict[str, Tensor], States]:
        """What each head sees at each target: {head: [T, B, H]}, and the state after the window.

        left, right: int64 [T, B]. The backward stack's state is the one *after* the window, to its right; what comes
        back for it is the state before the window, to its left. ``generator`` draws the dropout masks; without one
        nothing is dropped.
        """
        forward, forward_state = self.read("forward", left, state.forward, generator, profile)
        if self.join is None:
            return {"forward": forward}, States(forward_state)
        backward, backward_state = self.read("backward", right, state.backward, generator, profile)
        joined = torch.tanh(self.join(torch.cat([forward, backward], dim=-1)))
        heads = {"forward": forward, "backward": backward, "joined": joined}
        return heads, States(forward_state, backward_state)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] -> [..., V]."""
        return nn.functional.linear(hidden, self.output_weight, self.output_bias)

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by the part of the network they belong to, as gradient norms are reported."""
        named: dict[str, list[Tensor]] = {"embedding": [self.embedding.weight]}
        for stack in self.stacks.values():
            named |= {layer.name: list(layer.parameters()) for layer in stack.layers}
        named["head"] = [self.output_bias]
        for part in (self.output, self.join):
            named["head"] += [] if part is None else list(part.parameters())
        return named

    def read(
        self,
        name: str,
        tokens: Tensor,
        state: tuple[State, ...],
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, tuple[State, ...]]:
        """One stack alone, ``forward`` or ``backward``, over tokens [T, B]: outputs [T, B, H] and the state after."""
        outputs, after = self.stacks[name](self.embedding(tokens), state, generator, profile)
        return outputs, after

    def _initialise(self, hidden: int, generator: torch.Generator | None) -> None:
        """Recurrent and joining weights uniform in +-1/sqrt(H) as torch's, embedding and output in +-0.1, biases 0."""
        bound = hidden**-0.5
        for name, parameter in self.named_parameters():
            with torch.no_grad():
                if name == "output_bias":
                    parameter.zero_()
                elif name.startswith(("embedding", "output")):
                    parameter.uniform_(-0.1, 0.1, generator=generator)
                else:
                    parameter.uniform_(-bound, bound, generator=generator)
