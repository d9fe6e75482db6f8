"""At each bit of a line: is the number of ones read so far odd? A line is a sequence of its own, and lengths differ."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.score import Sums
from unrolled.ground.special_tokens import END_ID
from unrolled.ground.task import Model, WholeSequences
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack

ONE = 3  # the id of one of the two symbols


class Batch(NamedTuple):
    bits: Tensor  # int64 [T, B], ids
    odd: Tensor  # int64 [T, B], 0 or 1; IGNORED beyond a line's end
    lengths: Tensor  # int64 [B]


IGNORED = -100


class Network(Model):
    def __init__(self, vocabulary: int, *, cell: str, hidden: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.stack = Stack("bits", cell, inputs=vocabulary, hidden=hidden, layers=1, generator=generator)
        self.head = nn.Linear(hidden, 2)
        for parameter in self.head.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5, generator=generator)

    def embedded(self, bits: Tensor) -> Tensor:
        return one_hot(bits, self.vocabulary).to(self.head.weight.dtype)

    def forward(self, batch: Batch, generator: torch.Generator | None = None, profile: Profile | None = None) -> Tensor:
        """Logits [T, B, 2]."""
        start = self.stack.initial_state(batch.bits.shape[1])
        outputs, _ = self.stack(self.embedded(batch.bits), start, generator, profile, lengths=batch.lengths)
        logits: Tensor = self.head(outputs)
        return logits

    def groups(self) -> dict[str, list[Tensor]]:
        return {**self.stack.groups(), "head": list(self.head.parameters())}


class Task(WholeSequences):
    def __init__(self, train: Mapping[str, Any]) -> None:
        self.lines = int(train["lines"])

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        return {"vocabulary": len(corpus.counts)}

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Network:
        return Network(**sizes, **settings, generator=generator).to(device)

    def steps(self, split: Split, epoch: int = 1) -> int:
        return -(-len(lines(split)) // self.lines)

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """The lines in an order that is the epoch's own."""
        every = lines(split)
        order = np.random.default_rng(epoch).permutation(len(every))
        for start in range(first * self.lines, len(every), self.lines):
            yield batch_of([every[index] for index in order[start : start + self.lines]])

    def loss(
        self,
        model: Network,
        batch: Batch,
        entry: tuple[()],
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, tuple[()]]:
        logits = model(batch, generator, profile)
        return _nats(logits, batch.odd), self.tokens(batch), ()

    def validate(self, model: Network, split: Split) -> dict[str, Sums]:
        nats, right = 0.0, 0
        with torch.inference_mode():
            for batch in self.batches(split):
                logits = model(batch)
                nats += _nats(logits, batch.odd).item()
                right += int((logits.argmax(-1) == batch.odd).sum())
        bits = sum(map(len, lines(split)))
        return {"loss": Sums(nats, bits), "accuracy": Sums(right, bits)}

    def single_loss(self, model: Network, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """Of the longest lines' last bit."""
        longest = sorted(lines(split), key=len, reverse=True)[stretch * self.lines :][: self.lines]
        if stretch and len(longest) < self.lines:
            raise IndexError
        batch = batch_of(longest)
        last = batch.odd.clone()
        last[:-1] = IGNORED
        return _nats(model(batch, profile=profile), last)


def lines(split: Split) -> list[np.ndarray[Any, Any]]:
    """The bits of each line, without its end."""
    tokens = np.asarray(split.tokens, dtype=np.int64)
    return [line[line != END_ID] for line in np.split(tokens, np.flatnonzero(tokens == END_ID) + 1) if len(line)]


def batch_of(rows: list[np.ndarray[Any, Any]]) -> Batch:
    lengths = [len(row) for row in rows]
    bits, odd = np.full((max(lengths), len(rows)), END_ID), np.full((max(lengths), len(rows)), IGNORED)
    for column, row in enumerate(rows):
        bits[: len(row), column], odd[: len(row), column] = row, (row == ONE).cumsum() % 2
    return Batch(torch.from_numpy(bits), torch.from_numpy(odd), torch.tensor(lengths))


def _nats(logits: Tensor, odd: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), odd.flatten(), ignore_index=IGNORED, reduction="sum")
