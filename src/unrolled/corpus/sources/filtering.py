"""The walks along a text of a hidden Markov source: forward, and from both sides.

Compiled by numba, as each step needs the one before it: in numpy a million steps take a minute, and only a source that
begins anew at each sentence could be walked in many sentences at once. Compiling takes a few seconds at the first call
of a process, so that nothing must be kept on disk; whole arrays in place of plain loops would take twice as long.

Probabilities are divided by their sum at every step, so that nothing underflows and no logarithm of a sum is needed.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """A sparse matrix: row i is ``values`` in ``columns``, both from begins[i] to begins[i + 1]."""

    begins: Ints
    columns: Ints
    values: Floats


class Chain(NamedTuple):
    """What the walks read of a source: of each word its states, of each state the next and the previous ones."""

    emitters: Rows
    following: Rows
    preceding: Rows


@njit(error_model="numpy", no_cpython_wrapper=True)
def _spread(weight: float, state: int, into: Floats, rows: Rows) -> None:
    first, last = rows.begins[state], rows.begins[state + 1]
    if last - first == len(into):  # a full row needs no look at the columns, which takes most of the time
        row = rows.values[first:last]
        for column in range(len(into)):
            into[column] += weight * row[column]
    elif weight > 0.0:
        for at in range(first, last):
            into[rows.columns[at]] += weight * rows.values[at]


@njit(error_model="numpy", no_cpython_wrapper=True)
def _read(token: int, before: Floats, after: Floats, chain: Chain) -> float:
    """p(token), given p(state) before it; fills ``after`` with p(next state), given the token too (-1: not seen)."""
    for state in range(len(after)):
        after[state] = 0.0
    if token < 0:
        for state in range(len(before)):
            _spread(before[state], state, after, chain.following)
        return 1.0
    probability = 0.0
    first, last = chain.emitters.begins[token], chain.emitters.begins[token + 1]
    for at in range(first, last):
        probability += before[chain.emitters.columns[at]] * chain.emitters.values[at]
    if probability > 0.0:
        for at in range(first, last):
            state = chain.emitters.columns[at]
            _spread(before[state] * chain.emitters.values[at] / probability, state, after, chain.following)
    return probability


@njit(error_model="numpy")
def forward(tokens: Ints, start: Floats, context: int, end: int, chain: Chain, nats: Floats, room: Floats) -> int:
    """Fill ``nats`` with -ln p(x_t | x_<t), or of the ``context`` tokens before alone, unless that is -1.

    p(state) is ``start`` [S] before the first token that is read, and again after each token ``end`` (-1: none).
    ``room`` [2, S] is to work in. The place of the first token that is impossible, or -1.
    """
    current, states = 0, len(start)
    for state in range(states):
        room[0, state] = start[state]
    for place in range(len(tokens)):
        first = place
        if context >= 0:
            first = max(0, place - context)
            for state in range(states):
                room[current, state] = start[state]
        probability = 0.0
        for read in range(first, place + 1):
            probability = _read(tokens[read], room[current], room[1 - current], chain)
            current = 1 - current
        if not probability > 0.0:
            return place
        nats[place] = -math.log(probability)
        if tokens[place] == end:
            for state in range(states):
                room[current, state] = start[state]
    return -1


@njit(error_model="numpy")
def from_the_end(
    tokens: Ints, filtered: bool, chain: Chain, nats: Floats, kept: Floats, inside: Floats, behind: Floats
) -> int:
    """Fill ``nats`` with -ln p(x_t | x_>t), or with -ln p(x_t | x_<t, x_>t) where ``filtered``.

    What is known before each token is computed on the way there and ``kept`` [T / L + 2, S] for every L-th token; on
    the way back, for the L tokens ``inside`` [L + 1, S] anew. ``kept`` begins with the start. ``behind`` [2, S] is
    p(the tokens behind | state) up to a factor, and begins as ones. The place of a token that is impossible, or -1.
    """
    length, block = len(tokens), len(inside) - 1
    blocks = (length + block - 1) // block
    current = 0
    for turn in range(2 * blocks):
        number = turn if turn < blocks else 2 * blocks - 1 - turn
        first, last = number * block, min((number + 1) * block, length)
        for state in range(inside.shape[1]):
            inside[0, state] = kept[number, state]
        for place in range(first, last):
            token = tokens[place] if filtered else -1
            if not _read(token, inside[place - first], inside[place - first + 1], chain) > 0.0:
                return place
        for state in range(inside.shape[1]):
            kept[number + 1, state] = inside[last - first, state]
        if turn >= blocks:
            for place in range(last - 1, first - 1, -1):
                before = inside[place - first]
                probability = _read_back(tokens[place], before, behind[current], behind[1 - current], chain)
                if not probability > 0.0:
                    return place
                nats[place] = -math.log(probability)
                current = 1 - current
    return -1


@njit(error_model="numpy", no_cpython_wrapper=True)
def _read_back(token: int, before: Floats, behind: Floats, further: Floats, chain: Chain) -> float:
    """p(token), given p(state) before it and what is ``behind`` it; fills ``further`` with what is behind the state."""
    anything, this, highest = 0.0, 0.0, 0.0
    for state in range(len(before)):
        anything += before[state] * behind[state]
        further[state] = 0.0
    first, last = chain.emitters.begins[token], chain.emitters.begins[token + 1]
    for at in range(first, last):
        state = chain.emitters.columns[at]
        both = behind[state] * chain.emitters.values[at]
        this += before[state] * both
        highest = max(highest, both)
    if not this > 0.0:
        return 0.0
    for at in range(first, last):
        state = chain.emitters.columns[at]
        _spread(behind[state] * chain.emitters.values[at] / highest, state, further, chain.preceding)
    return this / anything


@njit(error_model="numpy")
def draw(state: int, steps: Rows, words: Rows, chances: Floats, tokens: Ints) -> None:
    """Fill ``tokens`` from ``state`` on; the values of both matrices are summed up along each row; chances [T, 2]."""
    for place in range(len(tokens)):
        tokens[place] = _pick(words, state, chances[place, 0])
        state = _pick(steps, state, chances[place, 1])


@njit(error_model="numpy", no_cpython_wrapper=True)
def _pick(rows: Rows, row: int, chance: float) -> int:
    """The column whose stretch of the row's sum the chance falls into, by halves."""
    low, high = rows.begins[row], rows.begins[row + 1] - 1
    aim = chance * rows.values[high]
    while low < high:
        middle = (low + high) // 2
        if rows.values[middle] > aim:
            high = middle
        else:
            low = middle + 1
    return rows.columns[low]
