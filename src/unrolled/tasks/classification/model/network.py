"""The network of a text classifier: embedding, one or two stacks of recurrent layers, a read-out over time, a head.

    logits            [B, L]
      |
    read-out          last, mean or max over the text's own time steps, of all that leads to it side by side
      |      \\         \\
    left to   right to    |      each stack reads the whole text, which is fair from both sides: a text is no target
    right     left        skip   leads around the stacks
      |      /           /
    embedding         [T, B, E]
"""

from functools import partial

import torch
from torch import Tensor, nn

from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.ground.task import Model
from unrolled.recurrence.cells import check_name
from unrolled.recurrence.dropout import check_rate, drawn_kept, dropout
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack, drawn
from unrolled.recurrence.threads import one_thread

READ_OUTS = ("last", "mean", "max")


class Network(Model):
    """Embedding, stacks, read-out and head; see the picture above.

    ``read_out``: one of READ_OUTS, see `pooled`. ``skip``: it reads the embedded words too, beside what the stacks say
    of them (Lai, Xu, Liu & Zhao 2015, with max). ``dropout`` is the share of the embedded words' numbers and of the
    read-out's that drop out in training, and between layers; ``word_dropout`` the share of the words that are read as
    ``<unk>``, which also trains its vector. ``embedding_range``: the embedding starts uniform in +- it. From
    ``initialisation`` to ``forget_bias`` as in ``RecurrentLayer.initialise``, ``weight_dropout`` as there.
    ``neutral_words``: so many words that say nothing, ``<eos>``, which stands in no text, are read after each text, and
    so the words that decide lie further from its end.
    ``generator`` draws every weight, in the order embedding, stacks, head (+- 1/sqrt of its inputs, its bias 0).
    ValueError names an argument that does not fit.
    """

    def __init__(
        self,
        vocabulary: int,
        labels: int,
        *,
        cell: str,
        bidirectional: bool,
        embedding: int,
        hidden: int,
        layers: int,
        read_out: str,
        skip: bool = False,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        embedding_range: float = 0.1,
        initialisation: str = "uniform",
        forget_bias: float | None = None,
        neutral_words: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_name("read_out", read_out, READ_OUTS)
        check_rate("dropout", dropout)
        check_rate("word_dropout", word_dropout)
        self.read_out, self.dropout, self.word_dropout = read_out, dropout, word_dropout
        self.skip, self.neutral_words = skip, neutral_words
        # One mask for all steps, so that what drops out after the last layer is the same before and after pooling.
        stack = partial(
            Stack, cell=cell, inputs=embedding, hidden=hidden, layers=layers, dropout=dropout, dropout_mask="window",
            weight_dropout=weight_dropout, initialisation=initialisation, forget_bias=forget_bias, generator=generator,
        )  # fmt: skip
        self.embedding = drawn(nn.Embedding, vocabulary, embedding, embedding_range, generator)
        self.left_to_right = stack("left_to_right")
        self.right_to_left = stack("right_to_left", reverse=True) if bidirectional else None
        width = (1 + bidirectional) * hidden + skip * embedding
        self.head = drawn(nn.Linear, width, labels, width**-0.5, generator)
        nn.init.zeros_(self.head.bias)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and all that it reads must be."""
        return self.embedding.weight.device

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by name."""
        pair = {"left_to_right": self.left_to_right, "right_to_left": self.right_to_left}
        return {name: stack for name, stack in pair.items() if stack is not None}

    def forward(
        self,
        ids: Tensor,
        lengths: Tensor,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> Tensor:
        """Logits [B, L] of texts [T, B], int64, of ``lengths`` [B] words each; the padding is END_ID.

        ``generator`` draws the dropout masks; without one nothing drops out.
        """
        ids = self._words_dropped(ids, generator)
        if self.neutral_words:  # what stands below a shorter text's end is END_ID already
            ids = torch.cat([ids, ids.new_full((self.neutral_words, ids.shape[1]), END_ID)])
            lengths = lengths + self.neutral_words
        embedded = self.embedding(ids)
        parts = []
        for stack in self.stacks.values():
            start = stack.initial_state(ids.shape[1])
            outputs, _ = stack(embedded, start, generator, profile, lengths=lengths)
            parts.append(pooled(outputs, lengths, self.read_out, reverse=stack.layers[0].reverse))
        if self.skip:
            parts.append(pooled(dropout(embedded, self.dropout, generator, "window"), lengths, self.read_out))
        logits: Tensor = self.head(torch.cat(parts, dim=-1))
        return logits

    def rows(self) -> dict[str, str]:
        return {"embedding.weight": "types", "head.weight": "labels", "head.bias": "labels"}

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by the part of the network they belong to, as gradient norms are reported."""
        named: dict[str, list[Tensor]] = {"embedding": [self.embedding.weight]}
        for stack in self.stacks.values():
            named |= stack.groups()
        return named | {"head": list(self.head.parameters())}

    def _words_dropped(self, ids: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.word_dropout == 0 or generator is None:
            return ids
        kept = drawn_kept(ids.shape, 1 - self.word_dropout, generator, 1).to(ids.device)
        return ids.where(kept | (ids == END_ID), UNKNOWN_ID)


@one_thread()
def pooled(outputs: Tensor, lengths: Tensor, read_out: str, *, reverse: bool = False) -> Tensor:
    """One row a text, [B, H], of outputs [T, B, H] over texts of ``lengths`` [B]; the padding counts nowhere.

    last: the output at the last word that the stack reads, the text's own end, or for one in ``reverse`` its beginning.
    mean: over all words, so that each step has a direct path from the loss, of weight 1/T. max: of each unit, over all
    words; only the steps where some unit is largest have such a path.
    """
    if read_out == "last":
        return outputs[0] if reverse else outputs[lengths - 1, torch.arange(len(lengths), device=outputs.device)]
    padding = (torch.arange(len(outputs), device=outputs.device)[:, None] >= lengths)[..., None]
    if read_out == "mean":
        return outputs.masked_fill(padding, 0).sum(0) / lengths[:, None]
    return outputs.masked_fill(padding, -torch.inf).max(dim=0).values
