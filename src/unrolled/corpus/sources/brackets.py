"""Nested brackets: Dyck words of k kinds of brackets and bounded depth (Hewitt et al., 2020).

At depth 0 the sentence ends or a bracket opens, with probability 1/2 each; at the greatest depth the last one closes;
between, one opens or the last one closes, with probability 1/2 each. The kind of an opening bracket is one of k. Their
code throws sentences away that are too short or too long, which would change the floor; this does not.

A token is at the depth before it. Whoever sees both sides knows every token: its place in the nesting says whether it
opens or closes, its partner says the kind. Only at the end of the text, where nothing follows, is this not so.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from unrolled.corpus.sources.filtering import Floats
from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.corpus.sources.probabilities import checked_text
from unrolled.shell.errors import UserError

MOST_STATES = 200_000


@dataclass(frozen=True)
class Brackets:
    """The source of so many ``kinds`` of brackets, nested to this ``depth``. Raises UserError for what is none."""

    kinds: int
    depth: int

    def __post_init__(self) -> None:
        if self.kinds < 1 or self.depth < 1:
            raise UserError(f"brackets are of 1 kind or more and 1 deep or more, not {self.kinds} and {self.depth}")

    @property
    def words(self) -> list[str]:
        """Opening ones, closing ones, <eos>; so a token is a place in here."""
        return [f"{side}{kind}" for side in "()" for kind in range(1, self.kinds + 1)] + ["<eos>"]

    @property
    def visits(self) -> Floats:
        """The mean number of tokens a sentence at each depth: [depth + 1]."""
        return np.array([2.0] * self.depth + [1.0])

    @property
    def tokens_a_sentence(self) -> float:
        return 2.0 * self.depth + 1

    @property
    def causal_rate(self) -> float:
        """Nats a token of a model that reads forward; of one that sees both sides, 0."""
        return self.depth * math.log(4 * self.kinds) / self.tokens_a_sentence

    def causal_nats(self, tokens: npt.ArrayLike) -> Floats:
        """-ln p(x_t | x_<t) of a text of whole sentences, but for the last: [T].

        Raises UserError for the first token that the source cannot have written.
        """
        text, opened = checked_text(tokens, self.words).tolist(), list[int]()
        nats = np.zeros(len(text))
        for place, token in enumerate(text):
            depth = len(opened)
            if token < self.kinds and depth < self.depth:
                opened.append(token)
                nats[place] = math.log(2 * self.kinds)
            elif opened and token == self.kinds + opened[-1]:
                opened.pop()
                nats[place] = math.log(2) if depth < self.depth else 0.0
            elif token == 2 * self.kinds and not opened:
                nats[place] = math.log(2)
            else:
                word = self.words[token]
                raise UserError(f"token {place} of the text, {word!r}, cannot stand there in a text of brackets")
        return nats

    def hidden_markov(self) -> HiddenMarkov:
        """The same source with the same words; each state says its token and knows all brackets that are open.

        Raises UserError where these are too many: they are some 2 kinds^depth.
        """
        k = self.kinds
        # The open brackets are a node of a tree: none is its root 0, and the children of node i are k i + 1 to k i + k.
        # States: each node but the root as its last bracket opens, then each as that closes, then <eos>.
        nodes = sum(k**depth for depth in range(1, self.depth + 1))
        states = 2 * nodes + 1
        if states > MOST_STATES:
            deep = f"{k} kinds of brackets, {self.depth} deep"
            raise UserError(f"{deep}, take {states} states; {MOST_STATES} are the most")
        node = np.arange(1, nodes + 1)
        parent, kind = (node - 1) // k, (node - 1) % k
        inner = nodes - k**self.depth  # the last node that is not at the greatest depth
        opens = sp.coo_array((np.full(nodes, 0.5 / k), (parent, node - 1)), shape=(nodes + 1, states))
        closes = sp.coo_array((np.where(node > inner, 1.0, 0.5), (node, nodes + node - 1)), shape=(nodes + 1, states))
        ends = sp.coo_array(([0.5], ([0], [2 * nodes])), shape=(nodes + 1, states))
        steps = (opens + closes + ends).tocsr()
        says = np.concatenate((kind, k + kind, [2 * k]))
        emissions = sp.csr_array((np.ones(states), (np.arange(states), says)), shape=(states, 2 * k + 1))
        return HiddenMarkov(steps[[0]].toarray()[0], steps[np.concatenate((node, parent, [0]))], emissions, self.words)
