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

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolled.ground.layers import sizes_of
from unrolled.ground.task import Model
from unrolled.recurrence.cells import check_name
from unrolled.recurrence.dropout import MaskSource, check_rate, dropped_types
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.softmax_loss import softmax_nats
from unrolled.recurrence.stack import Stack, State, drawn
from unrolled.tasks.language_model.model.adaptive_softmax import AdaptiveSoftmax

SOFTMAXES = ("full", "adaptive")


class States(NamedTuple):
    """The carried state of both stacks, a State a layer; ``backward`` is empty in a causal network."""

    forward: tuple[State, ...]
    backward: tuple[State, ...] = ()

    def detach(self) -> "States":
        """Cut the graph: gradients stop at the window's edge, the state goes on."""
        return States(*(tuple(tuple(part.detach() for part in state) for state in stack) for stack in self))


class Network(Model):
    """Embedding, stacks and heads; see the picture above.

    The bidirectional network is trained as ELMo's two language models (Peters et al. 2018, section 3.1): a forward and
    a backward head share the embedding and the output matrix, here with a joined head beside them.

    From ``connection`` to ``longest`` as in ``Stack``, for both stacks alike; ``embedding_dropout`` is the share of
    types whose embedding is zero throughout a window in training, for each stack others. ``softmax``: "full", one
    output matrix, or "adaptive", parted at the ``cutoffs``, as `AdaptiveSoftmax`. ``generator`` draws every weight, in
    the order embedding (uniform in +-0.1), forward stack, backward stack, join (+-1/sqrt(H)), output (+-0.1, its bias
    0); an ``initial_range`` takes the place of all these bounds, and the bias of a full softmax is drawn too (Zaremba
    et al. 2014).
    ValueError names an argument that does not fit.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        cell: str,
        bidirectional: bool,
        embedding: int,
        hidden: int | Sequence[int],
        layers: int,
        tied: bool,
        softmax: str = "full",
        cutoffs: Sequence[int] = (),
        connection: str = "plain",
        dropout: float | Mapping[str, float] = 0.0,
        dropout_mask: str | Mapping[str, str] = "step",
        weight_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        initialisation: str = "uniform",
        initial_range: float | None = None,
        forget_bias: float | None = None,
        longest: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        *_, last = sizes_of(hidden, layers)
        if tied and embedding != last:
            raise ValueError(f"tied weights need embedding = hidden of the last layer, not {embedding} and {last}")
        check_name("softmax", softmax, SOFTMAXES)
        if tied and softmax == "adaptive":
            raise ValueError("an adaptive softmax cannot be tied: it has no row of the embedding's width for each type")
        check_rate("embedding_dropout", embedding_dropout)
        self.embedding_dropout = embedding_dropout
        self.anew = False  # whether training shows it each sentence from a zero state, and what stands before it never
        stack = partial(
            Stack, cell=cell, inputs=embedding, hidden=hidden, layers=layers,
            connection=connection, dropout=dropout, dropout_mask=dropout_mask, weight_dropout=weight_dropout,
            initialisation=initialisation, initial_range=initial_range,
            forget_bias=forget_bias, longest=longest, generator=generator,
        )  # fmt: skip
        rows, inner = (0.1, last**-0.5) if initial_range is None else (initial_range, initial_range)
        self.embedding = drawn(nn.Embedding, vocabulary, embedding, rows, generator)
        self.forward_stack = stack("forward")
        self.backward_stack = stack("backward", reverse=True) if bidirectional else None
        self.join = drawn(nn.Linear, 2 * last, last, inner, generator) if bidirectional else None
        self.adaptive: AdaptiveSoftmax | None = None
        self.output: nn.Linear | None = None
        self.output_bias: nn.Parameter | None = None
        if softmax == "adaptive":
            self.adaptive = AdaptiveSoftmax(last, vocabulary, cutoffs, rows, inner, generator)
            return
        self.output = None if tied else drawn(nn.Linear, last, vocabulary, rows, generator, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary))
        if initial_range is not None:
            nn.init.uniform_(self.output_bias, -rows, rows, generator=generator)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and all that it reads must be."""
        return self.embedding.weight.device

    @property
    def bidirectional(self) -> bool:
        return self.join is not None

    @property
    def tied(self) -> bool:
        return self.output is None and self.adaptive is None

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by the name of the head above each."""
        pair = {"forward": self.forward_stack, "backward": self.backward_stack}
        return {name: stack for name, stack in pair.items() if stack is not None}

    @property
    def output_weight(self) -> Tensor:
        """[V, H], of a full softmax: the embedding itself where weights are tied (Press and Wolf 2017; Inan et al.
        2017)."""
        return self.embedding.weight if self.output is None else self.output.weight

    @property
    def output_parameters(self) -> list[Tensor]:
        """Those of the output, but for an embedding that it is tied to."""
        if self.adaptive is not None:
            return list(self.adaptive.parameters())
        assert self.output_bias is not None
        return [*([] if self.output is None else [self.output.weight]), self.output_bias]

    def initial_state(self, columns: int) -> States:
        return States(*(stack.initial_state(columns) for stack in self.stacks.values()))

    def hidden(
        self,
        left: Tensor,
        right: Tensor,
        state: States,
        *,
        generator: MaskSource | None = None,
        profile: Profile | None = None,
        lengths: Tensor | None = None,
        noted: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[dict[str, Tensor], States]:
        """What each head sees at each target: {head: [T, B, H]}, and the state after the window.

        left, right: int64 [T, B]. The backward stack's state is the one *after* the window, to its right; what comes
        back for it is the state before the window, to its left. ``generator`` draws the dropout masks; without one
        nothing is dropped. ``lengths`` as in `unroll`, for columns that end before the window does; ``noted`` as in
        ``Stack``.
        """
        forward, forward_state = self.read("forward", left, state.forward, generator, profile, lengths, noted)
        if self.join is None:
            return {"forward": forward}, States(forward_state)
        backward, backward_state = self.read("backward", right, state.backward, generator, profile, lengths, noted)
        joined = torch.tanh(self.join(torch.cat([forward, backward], dim=-1)))
        heads = {"forward": forward, "backward": backward, "joined": joined}
        return heads, States(forward_state, backward_state)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] -> [..., V]: what the softmax is over; of an adaptive one ln p, whose softmax is p itself."""
        if self.adaptive is not None:
            return self.adaptive.log_probabilities(hidden)
        return nn.functional.linear(hidden, self.output_weight, self.output_bias)

    def nats(self, hidden: Tensor, targets: Tensor, factors: Tensor | None = None) -> Tensor:
        """Summed -ln p of targets [N] given hidden [N, H], each times its factor [N], where there are such."""
        if self.adaptive is not None:
            return self.adaptive.nats(hidden, targets, factors)
        assert self.output_bias is not None
        return softmax_nats(hidden, self.output_weight, self.output_bias, targets, factors=factors)

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by the part of the network they belong to, as gradient norms are reported."""
        named: dict[str, list[Tensor]] = {"embedding": [self.embedding.weight]}
        for stack in self.stacks.values():
            named |= stack.groups()
        named["head"] = self.output_parameters[::-1] + ([] if self.join is None else list(self.join.parameters()))
        return named

    def rows(self) -> dict[str, str]:
        """Of an adaptive softmax none: which cluster a type falls into is a matter of its own text."""
        if self.adaptive is not None:
            return {}
        names = ["embedding.weight", "output_bias", *([] if self.output is None else ["output.weight"])]
        return dict.fromkeys(names, "types")

    def read(
        self,
        name: str,
        tokens: Tensor,
        state: tuple[State, ...],
        generator: MaskSource | None = None,
        profile: Profile | None = None,
        lengths: Tensor | None = None,
        noted: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, tuple[State, ...]]:
        """One stack alone, ``forward`` or ``backward``, over tokens [T, B]: outputs [T, B, H] and the state after."""
        embedded = self.embedding(tokens)
        kept = dropped_types(len(self.embedding.weight), self.embedding_dropout, generator, embedded)
        outputs, after = self.stacks[name](
            embedded if kept is None else embedded * kept[tokens, None], state, generator, profile, lengths, noted
        )
        return outputs, after
