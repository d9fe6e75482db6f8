"""A source of made-up text, against which many sentences are held at once: p of each of their words, and of all others.

A hidden Markov chain, filtered (Rabiner 1989, III.A): p(state | what was read) is kept for every sentence, as a sparse
row, for after a word or two there are few states in which a source of sentences can be.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from unrolled.ground.corpus import SOURCE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Source(NamedTuple):
    """Of sentences that stand alone, in the ids of an encoded corpus; both matrices are sparse."""

    start: Any  # [1, S] p(state) where a sentence starts
    transitions: Any  # [S, S]
    emissions: Any  # [S, V]
    saying: Any  # [V, S], the same by word

    @classmethod
    def of(cls, arrays: Mapping[str, Any], types: int) -> "Source | None":
        """Of a corpus' arrays, over ``types`` ids; None where it is no text that was made up."""
        if f"{SOURCE}.start" not in arrays:
            return None
        start, ids = (np.asarray(arrays[f"{SOURCE}.{name}"]) for name in ("start", "ids"))
        transitions, emissions = (np.asarray(arrays[f"{SOURCE}.{name}"]) for name in ("transitions", "emissions"))
        emissions = np.stack([emissions[:, 0], ids[emissions[:, 1].astype(np.int64)], emissions[:, 2]], axis=1)
        says = _matrix(emissions, len(start), types)
        return cls(sp.csr_array(start[None]), _matrix(transitions, len(start), len(start)), says, says.T.tocsr())


class Listener:
    """What the source would say next in each of several texts, of which a word each is read at a time."""

    def __init__(self, source: Source, states: Any) -> None:
        self._source, self.states = source, states  # [B, S]

    @classmethod
    def anew(cls, source: Source, texts: int) -> "Listener":
        """Each of the texts begins with a sentence."""
        return cls(source, source.start[np.zeros(texts, dtype=np.int64)])

    def expects(self) -> Floats:
        """p(next word | words so far), [B, V]; all 0 of a text that the source could not have begun."""
        return np.asarray((self.states @ self._source.emissions).toarray())

    def reads(self, words: Ints) -> Floats:
        """p of the next words [B], which are then read."""
        said = self.states.multiply(self._source.saying[words]).tocsr()
        likely = np.asarray(said.sum(axis=1)).ravel()
        shares = np.divide(1.0, likely, out=np.zeros_like(likely), where=likely > 0)
        said.data *= np.repeat(shares, np.diff(said.indptr))
        self.states = said @ self._source.transitions
        return likely

    def keep(self, first: int) -> None:
        """Only so many texts go on."""
        if first < self.states.shape[0]:
            self.states = self.states[:first]


def _matrix(entries: Floats, rows: int, columns: int) -> Any:
    """From rows (row, column, value); what is there twice is summed."""
    places = entries[:, :2].astype(np.int64).T
    return sp.coo_array((entries[:, 2], (places[0], places[1])), shape=(rows, columns)).tocsr()
