"""Training text -> a vocabulary of subwords, which spell any text byte for byte, so that no word is unknown.

Both kinds are Hugging Face's, over the 256 bytes of UTF-8 as GPT-2 spells them (Radford et al. 2019), each word with
the space before it: byte-pair encoding (Sennrich et al. 2016), which merges what stands side by side most often, and
the unigram model (Kudo 2018), which keeps the pieces that a text is likeliest from.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, filterfalse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from unrolled.corpus.blocks import ALONE, Pool
from unrolled.corpus.stretches import Ints, stretches_in
from unrolled.ground.special_tokens import END_ID

Lines = Callable[[], Iterable[Sequence[str]]]  # reads a text anew, a batch of lines at a time
Normalizer = normalizers.Normalizer | None

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
DIGITS = 6  # of a unigram piece's ln p: further ones hang on the order in which threads summed
HELD = 1 << 21  # characters of stretches whose subwords are kept at hand: about 250,000 of them, 60 MB
ADDED = 0.0001  # nats between the bytes that the library adds to a unigram model

# A space behind something that is none begins a piece, whatever stands around, as a line does: a text may be cut there.
CUTS = re.compile(r"(?<=\S)(?= )|(?=\n)|(?<=\n)")


def subword_stretches(text: str) -> Sequence[str]:
    """What the tokenizer treats alike wherever it stands; the end of a line is a stretch of its own."""
    return CUTS.split(text)


def subword_tokenizer(
    lines: Lines, kind: str, size: int, specials: Sequence[str], normalizer: Normalizer = None, pool: Pool = ALONE
) -> Tokenizer:
    """The tokenizer of the training text, of ``size`` pieces at most; ``kind``: "bpe" or "unigram".

    Its ids are first those of ``specials``, which no text is spelled with, then the pieces by how often they occur in
    the training text. ValueError for a size that the bytes and ``specials`` do not fit into.
    """
    if size < (least := len(specials) + len(BYTES)):
        raise ValueError(f"the bytes and {', '.join(specials)} are {least} pieces already, and {size} are asked for")
    train = _bpe if kind == "bpe" else _unigram
    pieces, model_of = train(lines, size, specials, normalizer)
    draft = _byte_level(model_of([*specials, *pieces]), normalizer)
    none = np.zeros(draft.get_vocab_size(), dtype=np.int64)
    counts = sum(pool.in_order(_Counts(draft), lines()), none)[len(specials) :]
    order = np.lexsort((np.arange(len(pieces)), -counts)).tolist()
    return _byte_level(model_of([*specials, *(pieces[index] for index in order)]), normalizer)


def _byte_level(model: models.Model, normalizer: Normalizer) -> Tokenizer:
    """A tokenizer that spells by bytes, and back."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def _trained(draft: Tokenizer, lines: Lines, trainer: Any) -> Any:
    """What the library says of its model in a tokenizer.json."""
    draft.train_from_iterator((line for batch in lines() for line in batch), trainer)
    return json.loads(draft.to_str())["model"]


Trained = tuple[list[str], Callable[[Sequence[str]], models.Model]]  # pieces, and the model that numbers them so


def _bpe(lines: Lines, size: int, specials: Sequence[str], normalizer: Normalizer) -> Trained:
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=BYTES, show_progress=False
    )
    content = _trained(_byte_level(models.BPE(), normalizer), lines, trainer)
    merges = [(left, right) for left, right in content["merges"]]
    pieces = sorted(content["vocab"].keys() - set(specials), key=content["vocab"].__getitem__)
    return pieces, lambda numbered: models.BPE({piece: index for index, piece in enumerate(numbered)}, merges)


def _unigram(lines: Lines, size: int, specials: Sequence[str], normalizer: Normalizer) -> Trained:
    """The library keeps more pieces than it was asked for where it dropped bytes that it must have: the least likely
    are left out. And it adds such bytes in the order of a hash, each a little likelier: here they are all alike."""
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=BYTES, show_progress=False,
        unk_token=specials[0],
    )  # fmt: skip
    content = _trained(_byte_level(models.Unigram(), normalizer), lines, trainer)
    scores = {piece: round(score, DIGITS) for piece, score in content["vocab"] if piece not in specials}
    least = min(scores.values())
    scores |= {byte: least for byte in BYTES if scores[byte] <= least + ADDED * len(BYTES)}
    longer = sorted(scores.keys() - set(BYTES), key=lambda piece: (-scores[piece], piece))
    pieces = [*BYTES, *longer[: size - len(specials) - len(BYTES)]]
    return pieces, lambda numbered: models.Unigram([(piece, scores.get(piece, 0.0)) for piece in numbered], 0, False)


class _Counts:
    """How often each id occurs in a batch of lines, int64 [V]; nothing of their ends but END_ID."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._size, self._subwords = tokenizer.get_vocab_size(), SubwordIds(tokenizer)

    def __call__(self, lines: Sequence[str]) -> NDArray[np.int64]:
        different, places = stretches_in("".join(f"{line}\n" for line in lines).encode(), "subword")
        ids, lengths = self._subwords.of(different)
        times = np.repeat(np.bincount(places, minlength=len(different)), lengths)
        return np.bincount(ids, times, minlength=self._size).astype(np.int64)


class SubwordIds(dict[str, list[int]]):
    """Of stretches that were met; the library is asked for new ones, many at a time."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__({"\n": [END_ID]})
        self._tokenizer, self._held = tokenizer, 0

    def of(self, stretches: Sequence[str]) -> tuple[Ints, Ints]:
        """The ids of all, one after the other, and how many each has; <eos> of a line's end."""
        if self._held > HELD:
            self.clear()
            self._held, self["\n"] = 0, [END_ID]
        new = list(filterfalse(self.__contains__, stretches))
        read = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        self.update((stretch, each.ids) for stretch, each in zip(new, read, strict=True))
        self._held += sum(map(len, new))
        found = list(map(self.__getitem__, stretches))
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        return np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum())), lengths
