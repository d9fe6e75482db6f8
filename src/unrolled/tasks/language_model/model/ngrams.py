"""An n-gram model of the sentences of a text: what rates the sentences that a network makes up itself.

    p(w | h) = (c(h w) + d(h) p(w | h')) / (c(h) + d(h))      c: how often, d: before how many different words (Witten &
                                                              Bell 1991), h' = h without its first word
    p(w)     = (c(w) + d / V) / (c + d)                       so that no word is impossible

Words of another sentence are no part of h: before its beginning stands ``<eos>``, as often as is asked for.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.ground.corpus import Tokens
from unrolled.ground.sequences import Ints
from unrolled.ground.special_tokens import END_ID

Floats = NDArray[np.float64]


class Order(NamedTuple):
    """What follows the contexts h of one length, each of which has a number from 0 on."""

    contexts: Ints  # sorted: the number of h' times V, plus the first word of h; its place is the number of h
    pairs: Ints  # sorted: the number of h times V, plus w
    times: Ints  # c(h w) of each pair
    totals: Ints  # c(h) by number
    followers: Ints  # d(h) by number


class NGrams:
    """Of order ``order`` >= 1, counted on the sentences of ``tokens`` [N]; ``types``: V."""

    def __init__(self, tokens: Tokens, order: int, types: int) -> None:
        self.types = types
        words = np.asarray(tokens, dtype=np.int64)
        ends = np.flatnonzero(words == END_ID)
        begins = np.zeros(len(words), dtype=np.int64)  # of each token's sentence
        begins[ends[ends + 1 < len(words)] + 1] = ends[ends + 1 < len(words)] + 1
        place = np.arange(len(words)) - np.maximum.accumulate(begins)
        self._orders: list[Order] = []
        numbers = np.zeros(len(words), dtype=np.int64)
        for back in range(order):
            if back:
                before = np.where(place >= back, np.roll(words, back), END_ID)
                contexts, numbers = np.unique(numbers * types + before, return_inverse=True)
            else:
                contexts = np.zeros(1, dtype=np.int64)
            pairs, times = np.unique(numbers * types + words, return_counts=True)
            size = len(contexts)
            totals, followers = np.bincount(numbers, minlength=size), np.bincount(pairs // types, minlength=size)
            self._orders.append(Order(contexts, pairs, times, totals, followers))

    def log_probabilities(self, read: Ints) -> Floats:
        """ln p of each word of the columns of ``read`` [T + 1, B] given those before it: [T, B].

        The first row, which is not rated, is ``<eos>``; a column is one sentence.
        """
        words = read[1:]
        found = np.full(words.shape, 1 / self.types)
        numbers, known = np.zeros(words.shape, dtype=np.int64), np.ones(words.shape, dtype=bool)
        for back, order in enumerate(self._orders):
            if back:
                before = np.full(words.shape, END_ID)
                before[back - 1 :] = read[: max(len(read) - back, 0)]
                numbers, here = _place_in(order.contexts, numbers * self.types + before)
                known &= here
            place, here = _place_in(order.pairs, numbers * self.types + words)
            times = np.where(here & known, order.times[place], 0)
            followers, totals = order.followers[numbers], order.totals[numbers]
            found = np.where(known, (times + followers * found) / (totals + followers), found)
        return np.log(found)


def _place_in(held: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where in the sorted ``held`` something stands, and whether it does; any place where it does not."""
    place = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
    return place, held[place] == wanted
