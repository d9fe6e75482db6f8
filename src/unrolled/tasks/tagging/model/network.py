"""The network of a tagger: a word's embedding beside its spelling, stacks of recurrent layers, a softmax or a chain.

    tag scores        of each word: one matrix over what both stacks say of it
      |      \\
    forward  backward stack of layers, kept apart; without the second, no tag hangs on what stands to its right
      |      /
    embedding of the word  +  last state of a stack that reads its letters from either end  (+ of what else is given)
"""

from functools import partial

import torch
from torch import Tensor, nn

from unrolled.ground.special_tokens import UNKNOWN_ID
from unrolled.ground.task import Model
from unrolled.recurrence.columns import drawn as drawn_for_columns
from unrolled.recurrence.crf import Chain
from unrolled.recurrence.dropout import check_rate
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack, drawn
from unrolled.tasks.tagging.model.batches import Batch


class Network(Model):
    """A tagger of ``tags`` tags; see the picture above.

    ``letter_hidden`` 0: words have no spelling. ``word_dropout`` a: in training a word that training shows n times is
    read as unknown with probability a / (a + n), or the unknown word would never be trained (Kiperwasser & Goldberg
    2016); its letters stay. ``given``: how many different things may be known of a word beside it, as its part of
    speech where chunks are sought; 0: nothing is. ``dropout`` as in ``Stack``. ``chain``: a conditional random field
    on top. ``generator`` draws every weight, in the order of the attributes below. ValueError names what does not fit.
    """

    def __init__(
        self,
        words: int,
        letters: int,
        tags: int,
        given: int = 0,
        *,
        cell: str,
        bidirectional: bool,
        embedding: int,
        hidden: int,
        layers: int = 1,
        letter_embedding: int = 32,
        letter_hidden: int = 50,
        given_embedding: int = 25,
        dropout: float = 0.0,
        dropout_mask: str = "step",
        word_dropout: float = 0.0,
        chain: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_rate("dropout", dropout)
        if word_dropout < 0:
            raise ValueError(f"word_dropout must be at least 0, not {word_dropout}")
        self.word_dropout = word_dropout
        self.embedding = drawn(nn.Embedding, words, embedding, 0.1, generator)
        stack = partial(
            Stack, cell=cell, inputs=embedding + 2 * letter_hidden + (given_embedding if given else 0), hidden=hidden,
            layers=layers, dropout=dropout, dropout_mask=dropout_mask, generator=generator,
        )  # fmt: skip
        self.forward_stack = stack("forward")
        self.backward_stack = stack("backward", reverse=True) if bidirectional else None
        self.output = drawn(nn.Linear, hidden * len(self.stacks), tags, hidden**-0.5, generator)
        spelling = partial(
            Stack, cell="lstm", inputs=letter_embedding, hidden=letter_hidden, layers=1, generator=generator
        )
        self.letters = drawn(nn.Embedding, letters, letter_embedding, 0.1, generator) if letter_hidden else None
        self.letters_forward = spelling("letters_forward") if letter_hidden else None
        self.letters_backward = spelling("letters_backward", reverse=True) if letter_hidden else None
        self.chain = Chain(tags, generator=generator) if chain else None
        self.given = drawn(nn.Embedding, given, given_embedding, 0.1, generator) if given else None

    @property
    def bidirectional(self) -> bool:
        return self.backward_stack is not None

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks that read the words."""
        pair = {"forward": self.forward_stack, "backward": self.backward_stack}
        return {name: stack for name, stack in pair.items() if stack is not None}

    def embedded(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        """What the stacks read of each word: [T, B, features]."""
        words = batch.words
        if generator is not None and self.word_dropout:
            share = self.word_dropout / (self.word_dropout + batch.counts)
            chances = drawn_for_columns(
                lambda shape: torch.rand(shape, generator=generator), words.shape, generator, axis=1
            )
            dropped = chances.to(words.device) < share
            words = words.masked_fill(dropped, UNKNOWN_ID)
        parts = [self.embedding(words)]
        if self.letters is not None:
            parts.append(nn.functional.embedding(batch.forms, self.spelled(batch)))
        if self.given is not None:
            parts.append(self.given(batch.given))
        return torch.cat(parts, dim=-1)

    def spelled(self, batch: Batch) -> Tensor:
        """What stands for each distinct form: the states at both ends of its letters, [U, 2 * letter_hidden].

        A batch has some thousand letters of a hundred kinds, so the layers are given the table of these.
        """
        assert self.letters is not None and self.letters_forward is not None and self.letters_backward is not None
        ends, forms = [], batch.letters.shape[1]
        for (layer,) in (self.letters_forward.layers, self.letters_backward.layers):
            start = layer.initial_state(forms)
            ends.append(layer.last_state(self.letters.weight, batch.letters, start, batch.letter_lengths)[0])
        return torch.cat(ends, dim=-1)

    def hidden(
        self, batch: Batch, generator: torch.Generator | None = None, profiles: dict[str, Profile] | None = None
    ) -> Tensor:
        """What both stacks say of each word: [T, B, hidden * stacks]; ``profiles``: those to fill, by stack."""
        inputs, profiles = self.embedded(batch, generator), profiles or {}
        columns = inputs.shape[1]
        outputs = [
            stack(inputs, stack.initial_state(columns), generator, profiles.get(name), lengths=batch.lengths)[0]
            for name, stack in self.stacks.items()
        ]
        return torch.cat(outputs, dim=-1)

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the tags [T, B, K], as they are before the softmax or the chain."""
        scores: Tensor = self.output(self.hidden(batch))
        return scores

    def rows(self) -> dict[str, str]:
        """Of a chain none: its scores stand for pairs of tags."""
        if self.chain is not None:
            return {}
        kinds = {"embedding.weight": "words", "output.weight": "tags", "output.bias": "tags"}
        kinds |= {} if self.letters is None else {"letters.weight": "letters"}
        return kinds | ({} if self.given is None else {"given.weight": "given"})

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by the part of the network they belong to, as gradient norms are reported."""
        named: dict[str, list[Tensor]] = {"embedding": [self.embedding.weight]}
        if self.given is not None:
            named["given"] = [self.given.weight]
        for stack in self.stacks.values():
            named |= stack.groups()
        if self.letters is not None and self.letters_forward is not None and self.letters_backward is not None:
            named["letters"] = [self.letters.weight]
            named |= self.letters_forward.groups() | self.letters_backward.groups()
        named["head"] = list(self.output.parameters())
        if self.chain is not None:
            named["head"] += list(self.chain.parameters())
        return named
