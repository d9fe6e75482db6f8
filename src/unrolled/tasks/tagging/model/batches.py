"""Sentences side by side: batches of about the same length, each distinct word of a batch spelled out once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.ground.sequences import by_length, columns_of
from unrolled.ground.special_tokens import UNKNOWN_ID

UNSCORED = -100  # in place of a tag, where a column is padded

Ints = np.ndarray[Any, np.dtype[Any]]


class Batch(NamedTuple):
    """B sentences, a column each, of up to T words; U distinct forms among these, of up to L letters."""

    words: Tensor  # int64 [T, B], ids of the vocabulary
    counts: Tensor  # int64 [T, B], how often training shows each
    tags: Tensor  # int64 [T, B]; UNSCORED in the padding
    lengths: Tensor  # int64 [B]
    forms: Tensor  # int64 [T, B], which of the U forms each word is
    letters: Tensor  # int64 [L, U]
    letter_lengths: Tensor  # int64 [U]
    given: Tensor  # int64 [T, B], what is known of each word beside it; 0 where nothing is

    @property
    def inside(self) -> Tensor:
        """Whether a place holds a word: [T, B]."""
        return self.tags != UNSCORED

    def to(self, device: torch.device | None) -> "Batch":
        return self if device is None else Batch(*(each.to(device) for each in self))


class Sentences(NamedTuple):
    """The words of a split as arrays [N], the letters of all forms, and where each sentence, and each form, begins."""

    words: Ints
    counts: Ints
    tags: Ints
    forms: Ints
    borders: Ints  # [S + 1], of the words
    letters: Ints
    letter_borders: Ints  # [F + 1]
    given: Ints

    @classmethod
    def of(cls, split: Split) -> "Sentences":
        arrays = split.arrays
        borders = np.append(arrays["sentences"], len(split.tokens))
        counts, tags, forms = (np.asarray(arrays[name], dtype=np.int64) for name in ("counts", "tags", "forms"))
        given = np.asarray(arrays["given"]) if "given" in arrays else np.zeros_like(tags)
        return cls(
            np.asarray(split.tokens),
            counts,
            tags,
            forms,
            borders,
            np.asarray(arrays["letters"]),
            np.asarray(arrays["letter_starts"]),
            given,
        )

    @property
    def lengths(self) -> Ints:
        return np.diff(self.borders)

    def batch(self, sentences: Ints) -> Batch:
        """The sentences of these numbers, a column each in this order."""
        index, inside = columns_of(self.borders[sentences], self.lengths[sentences])
        distinct, forms = np.unique(self.forms[index], return_inverse=True)
        starts = self.letter_borders[distinct]
        letter_index, within = columns_of(starts, self.letter_borders[distinct + 1] - starts)
        return Batch(
            _tensor(self.words[index]),
            _tensor(self.counts[index]),
            _tensor(np.where(inside, self.tags[index], UNSCORED)),
            _tensor(self.lengths[sentences]),
            _tensor(forms.reshape(index.shape)),
            _tensor(np.where(within, self.letters[letter_index], 0)),
            _tensor(within.sum(0)),
            _tensor(self.given[index]),
        )


def batches(split: Split, size: int, draw: np.random.Generator | None = None, first: int = 0) -> Iterator[Batch]:
    sentences = Sentences.of(split)
    for numbers in by_length(sentences.lengths, size, draw)[first:]:
        yield sentences.batch(numbers)


def batch_of(
    sentences: Sequence[Sequence[str]],
    names: Mapping[str, list[str]],
    fold: bool,
    given: Sequence[Sequence[str]] | None = None,
) -> Batch:
    """Untagged sentences, without counts; ``names``: the corpus'; ``fold``: words are looked up in lower case."""
    forms = list(dict.fromkeys(word for words in sentences for word in words))
    place, of_word, of_letter = (
        {name: index for index, name in enumerate(each)} for each in (forms, names["words"], names["letters"])
    )
    flat = np.array([place[word] for words in sentences for word in words])
    looked_up = np.array([of_word.get(form.lower() if fold else form, 0) for form in forms])
    borders, letter_borders = (np.cumsum([0, *map(len, each)]) for each in (sentences, forms))
    letters = np.array([of_letter.get(letter, 0) for form in forms for letter in form])
    nothing = np.zeros_like(flat)
    of_given = {name: index for index, name in enumerate(names["given"])}
    told = nothing if given is None else np.array([of_given.get(tag, UNKNOWN_ID) for tags in given for tag in tags])
    own = Sentences(looked_up[flat], nothing, nothing, flat, borders, letters, letter_borders, told)
    return own.batch(np.arange(len(sentences)))


def _tensor(array: Ints) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
