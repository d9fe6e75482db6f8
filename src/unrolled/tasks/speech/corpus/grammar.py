"""Strings of words whose entropy is known: a chain in which each word has so many equally likely followers.

The first word is uniform over all W words, each later one over the b followers of the word before it, which a seeded
table names; the length is uniform on shortest to longest, and where a string ends is part of it. So a string of n words
costs log2(longest - shortest + 1) + log2 W + (n - 1) log2 b bits, and no model of the text alone pays less on average.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from unrolled.shell.errors import UserError

TRIES = 1_000  # strings drawn before a split counts as having none of that length
# Which split a string belongs to, by its digest, so that no string stands in two.
SHARES = {"train": (0, 70), "valid": (70, 80), "test": (80, 100)}


class Grammar(NamedTuple):
    """``followers``: of each word the places of those that may come after it, [W][b]."""

    words: Sequence[str]
    followers: Sequence[Sequence[int]]
    shortest: int
    longest: int

    @classmethod
    def drawn(cls, words: Sequence[str], branching: int, shortest: int, longest: int, seed: int) -> "Grammar":
        """UserError where there are fewer words than followers."""
        if branching > len(words):
            raise UserError(
                f"corpus.branching: {branching} followers a word, but there are {len(words)} words; "
                f"set {len(words)} or fewer"
            )
        draw = np.random.default_rng([seed, 0])
        followers = [sorted(draw.choice(len(words), branching, replace=False).tolist()) for _ in words]
        return cls(words, followers, shortest, longest)

    def costs(self, string: Sequence[str]) -> list[float]:
        """-ln p of each word given those before it, and of the end last, in nats; inf for what it cannot say.

        The end costs, after n words, what the uniform law of lengths leaves: -ln(1 / (longest - n + 1)) where n is at
        least ``shortest``, and each word that goes on the rest.
        """
        places = {word: place for place, word in enumerate(self.words)}
        read, costs = [places.get(word) for word in string], []
        for index, place in enumerate(read):
            allowed = range(len(self.words)) if index == 0 else self._after(read[index - 1])
            choice = math.log(len(allowed)) if place in allowed else math.inf
            costs.append(choice - _log(1 - self._ends(index)))
        return [*costs, -_log(self._ends(len(read)))]

    def draw(self, draw: np.random.Generator, split: str | None) -> list[str]:
        """One string; of a split one whose digest says so, or, where there is none of that length, any.

        A language of few words has few short strings, and some of these then stand in several splits; how many texts of
        the others are said in training too stands in the corpus report.
        """
        length = int(draw.integers(self.shortest, self.longest + 1))
        for _ in range(TRIES):
            places = [int(draw.integers(len(self.words)))]
            while len(places) < length:
                after = self.followers[places[-1]]
                places.append(after[int(draw.integers(len(after)))])
            string = [self.words[place] for place in places]
            if split is None or split_of(string) == split:
                break
        return string

    def _after(self, place: int | None) -> Sequence[int]:
        return () if place is None else self.followers[place]

    def _ends(self, words: int) -> float:
        """The probability that the string ends after so many words, given that it has as many."""
        if words < self.shortest:
            return 0.0
        return 1 / (self.longest - words + 1) if words <= self.longest else 1.0


def split_of(string: Sequence[str]) -> str:
    """The split that a string belongs to, wherever it was drawn."""
    place = int.from_bytes(hashlib.sha256(" ".join(string).encode()).digest()[:8], "big") % 100
    return next(name for name, (low, high) in SHARES.items() if low <= place < high)


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf


def strings(grammar: Grammar, split: str | None, count: int, *, seed: int, of: int) -> Iterator[list[str]]:
    """So many strings; each is drawn by ``seed``, ``of`` and its own number, however many there are."""
    for number in range(count):
        yield grammar.draw(np.random.default_rng([seed, of, number, 0]), split)
