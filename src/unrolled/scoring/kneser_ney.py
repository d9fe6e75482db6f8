"""Interpolated modified Kneser-Ney: the n-gram model that a recurrent one has to beat (Chen and Goodman 1998).

    p(w | h) = (a(hw) - D(a(hw))) / a(h) + backoff(h) p(w | h without its first token)
    backoff(h) = sum over w of D(a(hw)) / a(h)          a(h) = sum over w of a(hw)

a are the adjusted counts (Heafield et al. 2013, section 3): how often the n-gram was counted, in the highest order; in
a lower one, how many tokens were seen before it, for that order speaks only where a longer context was not seen. Below
the unigrams stands the uniform distribution over the V types, so every type has a probability, those never counted
too, and for every context they sum to one. Nothing is cut off: an n-gram counted once is kept in every order.

A text is a stream of ids in which `end` ends each sentence, and one is assumed before it. No context reaches past it:
as a context `end` is SRILM's `<s>`, as a target its `</s>`. Nothing precedes `<s>`, so n-grams that begin with it keep
their counts in the lower orders, as in SRILM and KenLM (one token before them, or none, would cost seven percent of
perplexity on the Penn Treebank), and `<s>` itself is never predicted. `<unk>` is a type like any other.

An n-gram's number is its place among the sorted keys context * V + word of its order, a context being the number of an
(n-1)-gram: so a context's followers stand side by side, and no key outgrows 64 bits as V to the n would.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Discounts = tuple[float, float, float]

UNSEEN = -1  # no number: as an index it finds the last entry of a table, which is there for it
FALLBACK: Discounts = (0.5, 1.0, 1.5)


class _Grams(NamedTuple):
    """The G distinct n-grams of one order in a text."""

    keys: Ints  # [G] context * V + word, ascending
    ends: Ints  # [N] which of them ends at each token; UNSEEN near the start of a sentence


class _Table(NamedTuple):
    """The G n-grams of one order after H contexts, and a last entry for what was not seen."""

    keys: Ints  # [G + 1] context * V + word, ascending; the last is larger than any
    share: Floats  # [G + 1] (a(hw) - D) / a(h); the last is 0
    backoff: Floats  # [H + 1] of each context; 1 where nothing followed, as in the last: all is left to the order below
    first: Ints  # [H + 1] the followers of context h are the n-grams first[h] to first[h + 1]
    words: Ints  # [G] the last token of each


class KneserNey:
    """An n-gram model of the ids 0..vocabulary - 1, counted once and not changed after.

    ``discounts``: {n: (D1, D2, D3+)}, what is taken off an adjusted count of 1, of 2 and of more.
    """

    def __init__(self, tokens: ArrayLike, *, order: int, vocabulary: int, end: int) -> None:
        """Count ``tokens``, ids [N], in n-grams of up to ``order`` tokens.

        Raises ValueError where order is below 1, there is no token, or an id, or ``end``, is not in the vocabulary.
        """
        if order < 1:
            raise ValueError(f"an n-gram model needs order >= 1, not {order}")
        if not 0 <= end < vocabulary:
            raise ValueError(f"end {end} must be an id of the vocabulary, 0..{vocabulary - 1}")
        self.order, self.vocabulary, self.end = order, vocabulary, end
        self.discounts: dict[int, Discounts] = {}
        self._tables: list[_Table] = []
        text = self._ids(tokens)
        depth = self._depth(text)
        contexts, grams = 1, _Grams(np.arange(vocabulary), text)  # the empty context; every type, counted or not
        for n in range(1, order + 1):
            counts = np.bincount(grams.ends[grams.ends != UNSEEN], minlength=len(grams.keys))
            if n < order:
                longer = self._grams(self._contexts(grams.ends, depth, n), text)
                counts = _adjusted(counts, grams.ends, longer.ends, begins=depth == n - 1)
            self.discounts[n] = _discounts(counts)
            self._tables.append(self._table(grams.keys, counts, contexts, self.discounts[n]))
            if n < order:
                contexts, grams = len(grams.keys), longer

    def nats(self, tokens: ArrayLike) -> Floats:
        """-ln p of each of the tokens [N], in order, each after its sentence so far: float64 [N], finite.

        Raises ValueError where there is no token, or an id is none of the vocabulary's.
        """
        text = self._ids(tokens)
        probability = np.full(text.size, 1 / self.vocabulary)
        for table, context, ends in self._look_up(text):
            probability = table.backoff[context] * probability + table.share[ends]
        return np.asarray(-np.log(probability))

    def distributions(self, tokens: ArrayLike, start: int = 0, stop: int | None = None) -> Floats:
        """p of every type at each of the tokens start..stop - 1 of a text [N]: float64 [stop - start, V].

        Row i is what the model expected where token start + i stands, so nats are -ln of the targets' entries. V
        doubles a row: ask for a stretch at a time. Raises ValueError as `nats` does, of the stretch and its context.
        """
        ids = np.asarray(tokens)
        rows = range(ids.size)[start:stop]
        begin = max(rows.start - self.order + 1, 0)  # as far back as a context reaches
        unigrams, *longer = self._look_up(self._ids(ids[begin : rows.stop]))
        weight = np.ones(len(rows))
        parts = []  # highest order first: the longer contexts leave to the shorter ones their weight
        for table, contexts, _ in reversed(longer):
            context = contexts[rows.start - begin :]
            parts.append((table, context, weight))
            weight = weight * table.backoff[context]
        result = np.outer(weight, unigrams[0].backoff[0] / self.vocabulary + unigrams[0].share[:-1])
        for table, context, weight in parts:
            self._add_followers(result, table, context, weight)
        return result

    def _add_followers(self, result: Floats, table: _Table, context: Ints, weight: Floats) -> None:
        """Add to each row of [n, V] the weighted shares of what followed its context: thousands or one, so by rows."""
        for row in np.flatnonzero(context != UNSEEN).tolist():
            followers = slice(table.first[context[row]], table.first[context[row] + 1])
            result[row, table.words[followers]] += weight[row] * table.share[followers]

    def _ids(self, tokens: ArrayLike) -> Ints:
        ids = np.asarray(tokens)
        if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
            raise ValueError(f"a text must be one row of at least one id, not {ids.dtype} of shape {ids.shape}")
        if ids.min() < 0 or ids.max() >= self.vocabulary:
            raise ValueError(f"ids must be 0..{self.vocabulary - 1}, the vocabulary's, not {ids.min()}..{ids.max()}")
        return ids.astype(np.int64)

    def _depth(self, text: Ints) -> Ints:
        """How many tokens of context each has, the `end` before its sentence being the first: [N], at least 1."""
        place = np.arange(text.size)
        last_end = np.maximum.accumulate(np.where(text == self.end, place, -1))
        return place - np.concatenate([[-1], last_end[:-1]])

    def _contexts(self, ends: Ints, depth: Ints, n: int) -> Ints:
        """The n-gram before each token [N], which is its context one order up; UNSEEN where it would span an `end`."""
        before = np.concatenate([[self.end if n == 1 else UNSEEN], ends[:-1]])
        return np.where(depth >= n, before, UNSEEN)

    def _grams(self, context: Ints, text: Ints) -> _Grams:
        whole = context != UNSEEN
        keys, inverse = np.unique(context[whole] * self.vocabulary + text[whole], return_inverse=True)
        ends = np.full(text.size, UNSEEN)
        ends[whole] = inverse
        return _Grams(keys, ends)

    def _table(self, keys: Ints, counts: Ints, contexts: int, discounts: Discounts) -> _Table:
        context = keys // self.vocabulary
        discount = np.array([0.0, *discounts])[np.minimum(counts, 3)]
        total = np.bincount(context, weights=counts, minlength=contexts)
        taken = np.bincount(context, weights=discount, minlength=contexts)
        followed = total > 0
        backoff = np.divide(taken, total, out=np.ones(contexts), where=followed)
        share = np.divide(counts - discount, total[context], out=np.zeros(len(keys)), where=followed[context])
        return _Table(
            np.append(keys, np.iinfo(np.int64).max),
            np.append(share, 0.0),
            np.append(backoff, 1.0),
            np.searchsorted(keys, np.arange(contexts + 1) * self.vocabulary),
            keys % self.vocabulary,
        )

    def _look_up(self, text: Ints) -> Iterator[tuple[_Table, Ints, Ints]]:
        """Of each order, lowest first: its table, each token's context [N] and the n-gram that ends with it [N]."""
        depth = self._depth(text)
        context = np.zeros_like(text)  # the empty one
        for n, table in enumerate(self._tables, 1):
            key = context * self.vocabulary + text
            place = np.searchsorted(table.keys, key)
            ends = np.where((context != UNSEEN) & (table.keys[place] == key), place, UNSEEN)
            yield table, context, ends
            context = self._contexts(ends, depth, n)


def _adjusted(counts: Ints, ends: Ints, longer: Ints, begins: NDArray[np.bool_]) -> Ints:
    """Counts [G] of a lower order, adjusted: how many distinct tokens stood before each n-gram.

    ends, longer: the n-gram, and the one longer by a token in front, that end at each token [N]; begins: the n-gram
    begins with its sentence [N], so that no longer one ends there, and its count stays.
    """
    has_longer = longer != UNSEEN
    shortened = np.empty(longer.max() + 1, dtype=np.int64)  # each longer n-gram once, however often it was counted
    shortened[longer[has_longer]] = ends[has_longer]
    adjusted = np.bincount(shortened, minlength=len(counts))
    kept = ends[begins]
    adjusted[kept] = counts[kept]
    return adjusted


def _discounts(counts: Ints) -> Discounts:
    """D1, D2, D3+ of one order from its adjusted counts [G] (Chen and Goodman 1998, equation 26).

    D_k = k - (k + 1) Y n_{k+1} / n_k with Y = n_1 / (n_1 + 2 n_2), n_k being how many n-grams have count k. Small or
    artificial texts may lack one of n_1..n_4, where SRILM gives up, or give D_k <= 0, which would leave unseen words
    with no probability. KenLM's fallback then stands for the whole order: `lmplz --discount_fallback`, 0.5 1 1.5.
    """
    of_counts = np.bincount(counts[(counts > 0) & (counts < 5)], minlength=5).tolist()
    if not all(of_counts[1:]):
        return FALLBACK
    y = Fraction(of_counts[1], of_counts[1] + 2 * of_counts[2])
    exact = [k - (k + 1) * y * Fraction(of_counts[k + 1], of_counts[k]) for k in (1, 2, 3)]
    return (float(exact[0]), float(exact[1]), float(exact[2])) if min(exact) > 0 else FALLBACK
