"""What it costs to spell out the words that ``<unk>`` hides: what figures need that compare across vocabularies.

A text is paid for in full by the nats of its tokens and, for every ``<unk>``, those of its spelling: letter by letter,
each independent of the others, then an end. How likely each letter is, and the end, is counted on rare words of the
training text and add-one smoothed; one more count stands for all letters that these lack, and each of those is then as
likely as any other code point. So every string has a probability, and all together they sum to one.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from unrolled.corpus.vocabulary import UNKNOWN

CODE_POINTS = 0x110000  # of Unicode


@dataclass
class Letters:
    """All that the model asks of words: how often each letter occurs in them, and how many they are."""

    counts: Counter[str] = field(default_factory=Counter)
    words: int = 0

    @classmethod
    def of(cls, words: Iterable[tuple[str, int]]) -> "Letters":
        letters = cls()
        letters.add(words)
        return letters

    def add(self, words: Iterable[tuple[str, int]]) -> None:
        """Words that each occur so many times.

        One that the text itself spells ``<unk>`` hides nothing, and counts as a word without letters.
        """
        hiding: list[str] = []
        times: list[int] = []
        for word, count in words:
            self.words += count
            if word != UNKNOWN:
                hiding.append(word)
                times.append(count)
        letters = np.frombuffer("".join(hiding).encode("utf-32-le"), dtype=np.uint32)
        counts = np.bincount(letters, np.repeat(times, np.array(list(map(len, hiding)), dtype=np.int64)))
        for letter in np.flatnonzero(counts).tolist():
            self.counts[chr(letter)] += int(counts[letter])

    def merge(self, others: "Letters") -> None:
        self.words += others.words
        self.counts.update(others.counts)


class Spelling:
    """The model, counted on the letters of ``rare`` words and not changed after.

    ``ends``: false where every word is of one letter, as those of a vocabulary of characters are; no end is paid then.
    """

    def __init__(self, rare: Letters, *, ends: bool) -> None:
        ended = rare.words + 1 if ends else 0
        total = math.log(rare.counts.total() + len(rare.counts) + 1 + ended)
        self._known: Mapping[str, float] = {letter: total - math.log(n + 1) for letter, n in rare.counts.items()}
        self._other = total + math.log(CODE_POINTS - len(rare.counts))
        self._end = total - math.log(ended) if ends else 0.0

    def nats(self, letters: Letters) -> float:
        """-ln p of all these words together; 0 of none. The same to the bit however they were counted."""
        of_letters = (times * self._known.get(letter, self._other) for letter, times in letters.counts.items())
        return math.fsum([*of_letters, letters.words * self._end])
