"""Texts compared word by word: which words of the reference were written wrong, and what was written too much."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jiwer
import numpy as np
from numpy.typing import NDArray

from unrolled.ground.corpus import Split
from unrolled.ground.special_tokens import END_ID

Floats = NDArray[np.float64]


class Errors(NamedTuple):
    """``of_words``: of each word of all references, one after another, the errors that fall to it; the rest are sums.

    A word that was written too much falls to the one before it, at a text's beginning to the first.
    """

    of_words: Floats
    wrong_texts: NDArray[np.bool_]  # of each text
    substitutions: int
    deletions: int
    insertions: int


def errors(references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]) -> Errors:
    """Of texts as lists of words, by jiwer's alignment, the least number of errors.

    ValueError where a reference holds no word.
    """
    for number, words in enumerate(references, 1):
        if not words:
            raise ValueError(f"reference {number} holds no word")
    found = jiwer.process_words([" ".join(words) for words in references], [" ".join(words) for words in hypotheses])
    starts = np.cumsum([0, *map(len, references)])
    of_words = np.zeros(starts[-1])
    for start, chunks in zip(starts[:-1].tolist(), found.alignments, strict=True):
        for chunk in chunks:
            if chunk.type == "insert":
                of_words[start + max(chunk.ref_start_idx - 1, 0)] += chunk.hyp_end_idx - chunk.hyp_start_idx
            elif chunk.type != "equal":
                of_words[start + chunk.ref_start_idx : start + chunk.ref_end_idx] += 1
    wrong = np.add.reduceat(of_words, starts[:-1]) > 0
    return Errors(of_words, wrong, found.substitutions, found.deletions, found.insertions)


def words_of(ids: Sequence[int], space: int) -> list[str]:
    """The words of a text without <eos>, each spelled by its ids; ``space``: as `space_of` has it."""
    if space < 0:
        return [str(index) for index in ids]
    words: list[list[str]] = [[]]
    for index in ids:
        if index == space:
            words.append([])
        else:
            words[-1].append(str(index))
    return ["-".join(word) for word in words if word]


def word_of_tokens(tokens: NDArray[Any], space: int) -> NDArray[np.int64]:
    """The number of the word that each token of a stream belongs to: spaces and <eos> to the one before."""
    tokens = np.asarray(tokens)
    letters = (tokens != END_ID) & (tokens != space)
    begins = letters if space < 0 else letters & ~np.concatenate([[False], letters[:-1]])
    return np.cumsum(begins) - 1


def texts_of(split: Split) -> list[list[int]]:
    """The ids of each text, without <eos>."""
    texts = np.split(np.asarray(split.tokens, dtype=np.int64), np.asarray(split.documents)[1:])
    return [text[:-1].tolist() for text in texts]


def space_of(split: Split) -> int:
    """The id that stands between words; -1 where each id is a word."""
    return int(split.arrays["space"][0])
