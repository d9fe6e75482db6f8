"""Models of which it is known what they say: networks in what they are asked, sources in what they answer."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.source import Source
from unrolled.tasks.language_model.evaluation.own_sentences import NOISE
from unrolled.tasks.language_model.evaluation.own_words import States


class Speaker:
    """What `own_words.py` asks of a network; ``outputs`` are probabilities already, state and hidden [B, S]."""

    bidirectional = False
    anew = False

    def __init__(self, source: Source) -> None:
        self.start = torch.from_numpy(source.start.toarray())
        self.transitions, self.emissions = (
            torch.from_numpy(each.toarray()) for each in (source.transitions, source.emissions)
        )

    def initial_state(self, columns: int) -> Any:
        return type("States", (), {"forward": ((self.start.repeat(columns, 1), torch.zeros(columns, 1)),)})

    def read(self, name: str, tokens: Tensor, state: States) -> tuple[Tensor, States]:
        assert name == "forward"
        ((expected, read),), rows = state, []
        for words in tokens:
            expected, read = self.step(words, expected, read), read + 1
            rows.append(expected)
        return torch.stack(rows), ((expected, read),)

    def step(self, words: Tensor, expected: Tensor, read: Tensor) -> Tensor:
        """p(state) behind the words, of which the first ever is an <eos> that stands before the text."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        return torch.log(hidden @ self.emissions)


class Oracle(Speaker):
    """Expects what the source does."""

    def step(self, words: Tensor, expected: Tensor, read: Tensor) -> Tensor:
        said = expected * self.emissions.t()[words]
        after = said / said.sum(1, keepdim=True).clamp(min=1e-300) @ self.transitions
        return torch.where(read > 0, after, expected)


class OwnWordsTrained(Speaker):
    """The optimum of training on own words always: knows the first word and the place, and ignores all others.

    Its state is p(state, the sentence goes on), which no word changes but the first.
    """

    def step(self, words: Tensor, expected: Tensor, read: Tensor) -> Tensor:
        said = expected * self.emissions.t()[words]
        first = said / said.sum(1, keepdim=True).clamp(min=1e-300) @ self.transitions
        later = expected * (1 - self.emissions[:, END_ID]) @ self.transitions
        return torch.where(read == 0, expected, torch.where(read == 1, first, later))

    def logits(self, hidden: Tensor) -> Tensor:
        return torch.log(hidden @ self.emissions / hidden.sum(1, keepdim=True))


class Unigram(Speaker):
    """Each word by itself, as likely as ``shares`` [V]."""

    def __init__(self, source: Source, shares: Tensor) -> None:
        super().__init__(source)
        self.shares = shares

    def step(self, words: Tensor, expected: Tensor, read: Tensor) -> Tensor:
        return expected

    def logits(self, hidden: Tensor) -> Tensor:
        return self.shares.log().repeat(len(hidden), 1)


def check_perfect(found: Mapping[str, pd.DataFrame]) -> None:
    """What is found of a source that speaks for itself; own_sentences.csv by figure."""
    rows = found["own_sentences"]
    values, perfect = rows["value"], rows["perfect"]
    assert abs(values["forward_kl"]) < 1e-9 and values["grammatical"] == 1 and values["prefix_price"] == 0
    assert 0 <= values["reverse_kl"] <= -math.log1p(-NOISE) + 1e-9
    for figure in ("grammatical_nats", "own_tokens"):
        wide = 1.5 * (rows["high"][figure] - rows["low"][figure])  # three standard errors either way
        assert abs(values[figure] - perfect[figure]) < wide
    assert (found["own_by_place"][["own", "true"]].fillna(0).abs() < 1e-9).all(axis=None)
