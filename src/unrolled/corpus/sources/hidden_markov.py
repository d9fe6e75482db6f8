"""A source of text of which all is known: a hidden Markov chain, and what its text costs at the least.

In each state a word is drawn, then the next state: p(x, s) = start[s_1] emissions[s_1, x_1] transitions[s_1, s_2] ...
No model can expect fewer nats of its text than p(x_t | what the model may see of the rest) costs; so these are the
floors under every score, and what a model pays beyond them is its own fault.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from unrolled.corpus.sources import filtering, probabilities
from unrolled.corpus.sources.filtering import Chain, Floats, Ints, Rows
from unrolled.shell.errors import UserError

LARGEST_TABLE = 1 << 27  # numbers: 1 GB
NEGLIGIBLE = 1e-15  # the share of sentences that are longer than any that is counted ...
LONGEST = 20_000  # ... and how long one may be, else what hangs on its places is not known


class HiddenMarkov:
    """start [S], transitions [S, S] from row to column, emissions [S, V] of ``words`` [V]; both dense or sparse.

    Raises UserError, which names the table and the row, for what is no source. Tokens are places in ``words``; a text
    that the source cannot write is a UserError too, wherever it is asked for its cost.
    """

    def __init__(self, start: Any, transitions: Any, emissions: Any, words: Sequence[str]) -> None:
        states = np.size(start)
        if not states or not len(words):
            raise UserError("a source needs at least one state and one word")
        probabilities.check_words(words)
        self.words = list(words)
        self.start: Floats = probabilities.distributions(start, "start", (1, states), "1 x states").toarray()[0]
        self.transitions = probabilities.distributions(transitions, "transitions", (states, states), "states x states")
        shape = (states, len(words))
        self.emissions = probabilities.distributions(emissions, "emissions", shape, "states x words")
        probabilities.check_use(self.start, self.transitions, self.emissions, words)
        self._chain = Chain(_rows(self.emissions.T), _rows(self.transitions), _rows(self.transitions.T))

    @cached_property
    def stationary(self) -> Floats:
        """The share of each state in a text without end: [S]. UserError where the start decides it."""
        return probabilities.stationary(self.transitions)

    def encode(self, words: Sequence[str]) -> Ints:
        """The tokens of words. Raises UserError for one that the source does not know."""
        known = {word: token for token, word in enumerate(self.words)}
        for place, word in enumerate(words):
            if word not in known:
                raise UserError(f"word {place} of the text, {word!r}, is none of the {len(known)} words of the source")
        return np.array([known[word] for word in words], dtype=np.int64)

    def sample(self, length: int, generator: np.random.Generator) -> Ints:
        """A text of ``length`` tokens; its last sentence ends where it may."""
        tokens = np.empty(length, dtype=np.int64)
        if length:
            state = generator.choice(len(self.start), p=self.start)
            steps, words = _rows(self.transitions, summed=True), _rows(self.emissions, summed=True)
            filtering.draw(state, steps, words, generator.random((length, 2)), tokens)
        return tokens

    def causal_nats(self, tokens: npt.ArrayLike) -> Floats:
        """-ln p(x_t | x_<t), the floor of a model that reads forward: [T]."""
        return self._forward(tokens, self.start)

    def backward_nats(self, tokens: npt.ArrayLike) -> Floats:
        """-ln p(x_t | x_>t), the floor of a model that reads backward: [T], of the same sum as the causal nats."""
        return self._from_the_end(tokens, filtered=False)

    def smoothing_nats(self, tokens: npt.ArrayLike) -> Floats:
        """-ln p(x_t | x_<t, x_>t), the floor of a model that sees both sides: [T]; no cost of the text as a whole."""
        return self._from_the_end(tokens, filtered=True)

    def ngram_nats(self, tokens: npt.ArrayLike, n: int) -> Floats:
        """-ln p(x_t | the n - 1 tokens before) somewhere in a text without end, the floor of an n-gram model: [T].

        The first tokens have fewer before them.
        """
        if n < 1:
            raise ValueError(f"an n-gram has at least one token, not {n}")
        return self._forward(tokens, self.stationary, context=n - 1)

    def reset_nats(self, tokens: npt.ArrayLike, end: int) -> Floats:
        """-ln p(x_t | the tokens before in its sentence), the floor of a model started anew at each sentence: [T].

        Such a model knows one thing of the state: that a sentence has just ended with the token ``end``. So it starts
        from p(state | the token before is ``end``). That is the stationary distribution where all states end sentences
        equally often; where one state alone does, it is what follows that one. The text starts as a sentence does.
        """
        return self._forward(tokens, self.anew(end), end=end)

    def anew(self, end: int) -> Floats:
        """p(state | the token before is ``end``), of which no more is known: [S]."""
        if not 0 <= end < len(self.words):
            raise ValueError(f"the end of a sentence is one of {len(self.words)} tokens, not {end}")
        ends = self.stationary * self.emissions[:, [end]].toarray()[:, 0]
        if not ends.sum() > 0:
            raise UserError(f"{self.words[end]!r} is never said again in a text without end; no sentence starts anew")
        return np.asarray(ends / ends.sum() @ self.transitions)

    def own_words_nats(self, end: int) -> float:
        """Nats a sentence behind its first word, at the least, of a model that must go on from words of its own.

        These say nothing of the words that it is compared with, so all that it can know of the t-th is the first one,
        t, and that the sentence goes on there: the sum over t of p(length >= t) H(w_t | w_1, length >= t) (Huszar
        2015: what scheduled sampling aims at in its limit is not the text's own distribution). nan where sentences are
        so long that some share of them has more than LONGEST words.
        """
        anew, ending = self.anew(end), self.emissions[:, [end]].toarray()[:, 0]
        said = np.delete(self.emissions.toarray(), end, axis=1)
        first = said.T * anew
        going_on, total = first[first.any(axis=1)] @ self.transitions, 0.0  # p(w_1, the next state, length >= t)
        for _ in range(LONGEST):
            lasting = going_on.sum(axis=1)
            if lasting.sum() < NEGLIGIBLE:
                return total
            total += float(entr(going_on @ self.emissions).sum() - entr(lasting).sum())
            going_on = (going_on * (1 - ending)) @ self.transitions
        return math.nan

    def rate_bounds(self, n: int) -> tuple[float, float]:
        """H(x_n | x_<n, s_1) <= entropy rate <= H(x_n | x_<n), nats a token, over all strings of n tokens.

        Both come down to the rate as n grows (Cover & Thomas, 4.5); the upper one is the exact n-gram floor.
        """
        if n < 1:
            raise ValueError(f"bounds need strings of at least one token, not {n}")
        first = np.diag(self.stationary)
        return self._last_of(first[self.stationary > 0], n), self._last_of(self.stationary[None], n)

    def _last_of(self, weights: Floats, n: int) -> float:
        """H(x_n | x_<n, i), where ``weights`` [N, S] is p(i, s_1); then p(i, x_<t, s_t) of every string."""
        emissions = self.emissions.toarray()
        for _ in range(n - 1):
            if weights.size * len(self.words) > LARGEST_TABLE:
                raise UserError(f"too many strings of {n} tokens to go through; take fewer tokens")
            weights = np.concatenate([(weights * says) @ self.transitions for says in emissions.T])
            weights = weights[weights.any(axis=1)]
        joint = weights @ emissions
        return float(entr(joint).sum() - entr(joint.sum(axis=1)).sum())

    def _forward(self, tokens: npt.ArrayLike, start: Floats, *, context: int = -1, end: int = -1) -> Floats:
        text = probabilities.checked_text(tokens, self.words)
        nats, room = np.zeros(len(text)), np.empty((2, len(start)))
        self._check(text, filtering.forward(text, start, context, end, self._chain, nats, room))
        return nats

    def _from_the_end(self, tokens: npt.ArrayLike, *, filtered: bool) -> Floats:
        text, states = probabilities.checked_text(tokens, self.words), len(self.start)
        nats, block = np.zeros(len(text)), math.isqrt(len(text)) + 1  # so memory for 2 sqrt(T) tokens is enough
        kept, inside, behind = np.empty((block + 1, states)), np.empty((block + 1, states)), np.ones((2, states))
        kept[0] = self.start
        self._check(text, filtering.from_the_end(text, filtered, self._chain, nats, kept, inside, behind))
        return nats

    def _check(self, text: Ints, impossible: int) -> None:
        if impossible >= 0:
            word = self.words[text[impossible]]
            raise UserError(f"token {impossible} of the text, {word!r}, cannot stand there: the source never says so")


def _rows(matrix: Any, *, summed: bool = False) -> Rows:
    """A sparse matrix as compiled code reads it; ``summed``: values are summed up along each row."""
    rows = matrix.tocsr()
    values = rows.data.astype(np.float64)
    if summed:
        before = np.concatenate(([0.0], values.cumsum()))
        values = before[1:] - np.repeat(before[rows.indptr[:-1]], np.diff(rows.indptr))
    return Rows(rows.indptr.astype(np.int64), rows.indices.astype(np.int64), values)
