"""What the tables of a source must be: probabilities, in rows that sum to one, of states that are reached."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components

from unrolled.shell.errors import UserError

ROUNDING = 1e-8  # what a row may be away from one: tables are written with so many digits


def distributions(table: Any, name: str, shape: tuple[int, int], axes: str) -> Any:
    """``table``, dense or sparse, as a sparse array of this shape whose rows sum to one exactly, but for rounding.

    Raises UserError naming the table and the row; ``axes`` says what the shape is, as in "states x words".
    """
    rows = sp.csr_array(table if sp.issparse(table) else np.atleast_2d(_numbers(table, name)), dtype=np.float64)
    if rows.shape != shape:
        raise UserError(f"{name}: {_times(rows.shape)} numbers where {_times(shape)} are needed ({axes})")
    rows.sum_duplicates()
    bad = np.flatnonzero(~np.isfinite(rows.data) | (rows.data < 0))
    if len(bad):
        row = np.searchsorted(rows.indptr, bad[0], side="right") - 1
        raise UserError(f"{name}: {_row(row, shape)} holds {rows.data[bad[0]]:g}, which is no probability")
    sums = rows.sum(axis=1)
    off = np.flatnonzero(abs(sums - 1) > ROUNDING)
    if len(off):
        raise UserError(f"{name}: {_row(off[0], shape)} sums to {sums[off[0]]:.10g}, not to 1")
    rows.data /= np.repeat(sums, np.diff(rows.indptr))
    rows.eliminate_zeros()
    return rows


def check_words(words: Sequence[str]) -> None:
    """Raises UserError if one of them is none, or is there twice."""
    for place, word in enumerate(words):
        if not isinstance(word, str) or word.split() != [word]:
            raise UserError(f"words: number {place} is {word!r}; a word is text without white space")
        # JSON knows halves of characters, and numpy's arrays of texts lose a NUL at the end.
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in word):
            raise UserError(f"words: number {place} is {word!r}, which a file of text cannot hold")
    word, count = Counter(words).most_common(1)[0] if words else ("", 1)
    if count > 1:
        raise UserError(f"words: {word!r} is there {count} times")


def checked_text(tokens: npt.ArrayLike, words: Sequence[str]) -> npt.NDArray[np.int64]:
    """Tokens as compiled code reads them. Raises UserError for the first that is no place in ``words``."""
    text = np.asarray(tokens)
    if text.ndim != 1 or (len(text) and not np.issubdtype(text.dtype, np.integer)):
        raise ValueError(f"a text is a row of tokens, not {text.dtype} {list(text.shape)}")
    outside = np.flatnonzero((text < 0) | (text >= len(words)))
    if len(outside):
        raise UserError(f"token {outside[0]} of the text is {text[outside[0]]}; words are 0 to {len(words) - 1}")
    return np.ascontiguousarray(text, dtype=np.int64)


def check_use(start: npt.NDArray[np.float64], transitions: Any, emissions: Any, words: Sequence[str]) -> None:
    """Raises UserError if a state is never reached, or a word said in no state."""
    states = len(start)
    from_outside = sp.block_array([[None, sp.csr_array(start[None])], [sp.csr_array((states, 1)), transitions]])
    reached = breadth_first_order(from_outside.tocsr(), 0, return_predecessors=False) - 1
    missing = np.setdiff1d(np.arange(states), reached)
    if len(missing):
        raise UserError(f"transitions: state {missing[0]} is never reached from a state in which the text may start")
    silent = np.setdiff1d(np.arange(len(words)), emissions.indices)
    if len(silent):
        raise UserError(f"emissions: {words[silent[0]]!r} has probability 0 in every state; take it out of words")


def stationary(transitions: Any) -> npt.NDArray[np.float64]:
    """The share of each state in a text without end.

    Raises UserError where it is the start that decides it, since there are several sets of states without a way out.
    """
    _, sets = connected_components(transitions, connection="strong")
    origin, target = transitions.nonzero()
    left = np.unique(sets[origin][sets[origin] != sets[target]])
    closed = np.setdiff1d(sets, left)
    if len(closed) > 1:
        one, other = sorted(np.flatnonzero(sets == each)[0] for each in closed)[:2]
        raise UserError(f"transitions: no way leads from state {one} to {other} or back, so shares depend on the start")
    inside = np.flatnonzero(sets == closed[0])
    shares = np.zeros(len(sets))
    shares[inside] = 1.0
    if len(inside) > 1:
        # pi = pi A but for its last equation, which follows from the others: the last share is 1 for now.
        within = transitions[inside][:, inside]
        equations = sp.eye_array(len(inside) - 1) - within[:-1, :-1].T
        shares[inside[:-1]] = sp.linalg.spsolve(equations.tocsc(), within[[-1], :-1].toarray()[0])
    return shares / shares.sum()


def _numbers(table: Any, name: str) -> npt.NDArray[np.float64]:
    try:
        numbers = np.asarray(table, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        numbers = None
    if numbers is None or numbers.ndim > 2:
        raise UserError(f"{name}: rows of numbers are needed, all of one length")
    return numbers


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _row(row: int, shape: tuple[int, int]) -> str:
    return f"row {row}" if shape[0] > 1 else "it"
