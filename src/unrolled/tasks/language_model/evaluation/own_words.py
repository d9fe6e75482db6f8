"""The network goes on from words of its own: many sentences at once, each word drawn from what it expects and read.

Chances are drawn for each place of each sentence before any word is: so neither how many sentences stand side by side,
nor which of them have ended, changes what is drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.ground.corpus import Tokens
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
States = tuple[tuple[Tensor, ...], ...]  # by layer

COLUMNS = 512  # sentences side by side: memory and time, not the figures, hang on it
WARM = 100  # tokens of true text, at the least, that are read before a sentence of one's own begins
ENDLESS = 5000  # tokens: text without an end in sight would ask for room that nobody has
LONGEST = 512  # tokens of a sentence that is drawn; one that has not ended by then stays unfinished


class NoNumbersError(ValueError):
    """The network diverged; or its state grew beyond all numbers, as it read on and on."""

    def __init__(self) -> None:
        super().__init__("this network's training diverged: its predictions are not numbers")


class Sentences(NamedTuple):
    """Tokens int64 [T, N], a column a sentence, and how many of them are its own, the <eos> at its end among them."""

    tokens: Ints
    lengths: Ints

    @property
    def finished(self) -> NDArray[np.bool_]:
        return np.asarray(self.tokens[self.lengths - 1, np.arange(len(self.lengths))] == END_ID)

    def batches(self) -> Iterator[tuple[Ints, "Sentences"]]:
        """COLUMNS at a time and their places, the longest first: so those that go on are always the first ones."""
        order = np.argsort(-self.lengths, kind="stable")
        for first in range(0, len(order), COLUMNS):
            places = order[first : first + COLUMNS]
            lengths = self.lengths[places]
            yield places, Sentences(self.tokens[: lengths[0], places], lengths)

    def going_on(self, place: int) -> int:
        """How many of a batch hold a token at this place."""
        return int(np.count_nonzero(self.lengths > place))


class Voice:
    """The forward head in the midst of several texts, of which a word each is read at a time."""

    def __init__(self, network: Network, state: States) -> None:
        self._network, self.state = network, state

    def reads(self, words: Tensor) -> Tensor:
        """The logits [B, V] behind the next word [B] of each; nan of a network that diverged."""
        return self._network.logits(self.follows(words))

    def follows(self, words: Tensor) -> Tensor:
        """What the head sees behind the next words, [B, H]."""
        hidden, self.state = self._network.read("forward", words[None], self.state)
        return hidden[-1]

    def keep(self, which: Tensor | slice) -> None:
        """Only these texts go on."""
        self.state = _rows(self.state, which)


@dataclass(frozen=True)
class Beginnings:
    """Where sentences of its own begin: each after a stretch of true text, in the midst of it.

    A network that was never trained from a state of zeros reads its first words wrongly there: that would be seen, not
    what its own words do to it. One that always was, ``anew``, begins there.
    """

    before: Sentences  # N stretches, from the beginning of a sentence to the end of one
    text: Sentences  # the true sentence behind each
    state: States  # of the network where it has read all before but the last <eos>, [N, H] each

    @classmethod
    def of(cls, network: Network, tokens: Tokens, most: int, *, warm: int = WARM) -> "Beginnings":
        """``most`` beginnings evenly over a text, or as many as have ``warm`` tokens before them and an end behind.

        What stands before is whole sentences; beside those of more than ENDLESS tokens none begins.
        """
        ids = np.asarray(tokens, dtype=np.int64)
        starts = np.concatenate(([0], np.flatnonzero(ids == END_ID) + 1))  # the last one may end nowhere
        first = starts[np.searchsorted(starts, starts[:-1] - warm, side="right").clip(min=1) - 1]
        short = np.maximum(starts[:-1] - first, np.diff(starts)) <= ENDLESS
        possible = np.flatnonzero((starts[:-1] >= warm) & short)
        chosen = possible[np.linspace(0, len(possible) - 1, min(most, len(possible))).round().astype(np.int64)]
        before = _cut(ids, first[chosen], starts[chosen])
        zeros = network.initial_state(len(chosen)).forward
        state = zeros if network.anew else _state_after(network, before)
        return cls(before, _cut(ids, starts[chosen], starts[chosen + 1]), state)

    def __len__(self) -> int:
        return len(self.before.lengths)

    def voice(self, network: Network, places: Ints) -> Voice:
        """That has read what stands before these sentences, but for the <eos> at its end."""
        return Voice(network, _rows(self.state, torch.from_numpy(places)))


@torch.inference_mode()
def drawn(
    network: Network, beginnings: Beginnings, *, seed: int, temperature: float = 1.0, longest: int = LONGEST
) -> Sentences:
    """A sentence of the network's own at each of the beginnings, from the logits over ``temperature``, up to an <eos>.

    NoNumbersError for a network that predicts none.
    """
    count = len(beginnings)
    chances = _chances(longest, count, seed)
    table, lengths = np.full((longest, count), END_ID, dtype=np.int64), np.full(count, longest)
    for first in range(0, count, COLUMNS):
        places = np.arange(first, min(first + COLUMNS, count))
        voice, words = beginnings.voice(network, places), torch.full((len(places),), END_ID)
        for place in range(longest):
            words = _pick(voice.reads(words) / temperature, chances[place, torch.from_numpy(places)])
            table[place, places] = words.numpy()
            on = words != END_ID
            lengths[places[~on.numpy()]] = place + 1
            if not on.any():
                break
            if not on.all():
                places, words = places[on.numpy()], words[on]
                voice.keep(on)
    return Sentences(table[: int(lengths.max(initial=0))], lengths)


@torch.inference_mode()
def own_words_nats(network: Network, beginnings: Beginnings, *, seed: int) -> Floats:
    """Nats a sentence [N] behind its first word, of a network that reads that one and then words of its own alone.

    At each place cross entropy against the true word; what it draws it reads, an <eos> of its own too. Always-own-words
    training (Bengio et al. 2015, with e = 0) minimises this.
    """
    text = beginnings.text
    chances = _chances(len(text.tokens), len(text.lengths), seed)
    nats = np.zeros(len(text.lengths))
    for places, batch in text.batches():
        true, voice = torch.from_numpy(batch.tokens), beginnings.voice(network, places)
        words, columns = torch.full((len(places),), END_ID), torch.from_numpy(places)
        for place in range(len(true)):
            going_on = batch.going_on(place)
            voice.keep(slice(going_on))
            logits = voice.reads(words[:going_on])
            if place == 0:
                words = true[0]
                continue
            own = torch.log_softmax(logits.double(), -1).gather(1, true[place, :going_on, None])[:, 0]
            nats[places[:going_on]] -= own.numpy()
            words = _pick(logits, chances[place, columns[:going_on]])
    return nats


@torch.inference_mode()
def _state_after(network: Network, text: Sentences) -> States:
    """The state behind all but the last token of each, [N, H]; an <eos> is read first."""
    state = network.initial_state(len(text.lengths)).forward
    for places, batch in text.batches():
        voice, words = Voice(network, network.initial_state(len(places)).forward), torch.full((len(places),), END_ID)
        for place in range(len(batch.tokens)):
            going_on = batch.going_on(place)
            voice.keep(slice(going_on))
            voice.follows(words[:going_on])
            done = slice(batch.going_on(place + 1), going_on)
            for whole, part in zip(chain(*state), chain(*voice.state), strict=True):
                whole[torch.from_numpy(places[done])] = part[done]
            words = torch.from_numpy(batch.tokens[place])
    return state


def _rows(state: States, which: Tensor | slice) -> States:
    return tuple(tuple(part[which] for part in layer) for layer in state)


def _cut(ids: Ints, starts: Ints, ends: Ints) -> Sentences:
    table = np.full((int((ends - starts).max(initial=0)), len(starts)), END_ID, dtype=np.int64)
    for column, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        table[: end - start, column] = ids[start:end]
    return Sentences(table, ends - starts)


def _chances(places: int, sentences: int, seed: int) -> Tensor:
    return torch.rand(places, sentences, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _pick(logits: Tensor, chances: Tensor) -> Tensor:
    """A word for each row [B, V]: the one whose stretch of the summed probabilities its chance falls into."""
    summed = torch.softmax(logits, -1).cumsum(-1, dtype=torch.float64)
    if torch.isnan(summed[:, -1]).any():
        raise NoNumbersError
    found = torch.searchsorted(summed, (chances * summed[:, -1])[:, None], right=True)[:, 0]
    return found.clamp(max=logits.shape[1] - 1)
