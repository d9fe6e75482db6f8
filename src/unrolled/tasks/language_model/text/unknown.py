"""Why a network reads a word as `<unk>`, found out in the training text as far as that is on the disk.

data/encoded knows the words of the vocabulary alone; those that it hides stand in data/text/train.txt and nowhere else.
"""

from collections import Counter
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from unrolled.corpus.files.lines import BATCH
from unrolled.corpus.vocabulary import UNKNOWN, pieces_in, stretches, unit_of
from unrolled.ground.checksums import json_of, load
from unrolled.ground.corpus import MANIFEST
from unrolled.ground.special_tokens import UNKNOWN_ID

HELD = 1 << 18  # different stretches of text in memory: some 30 MB


class Why(StrEnum):
    """The first that is true of a word."""

    WRITTEN = "written"  # the text itself says <unk>
    CASE = "case"  # the vocabulary has it in another case
    UNTOLD = "untold"  # there is no training text here to look it up in
    NEVER = "never_seen"
    RARE = "rare"  # than vocabulary.min_count
    CUT = "cut"  # by vocabulary.max_size


class Reason(NamedTuple):
    """``times``: how often training shows the word, where that is known; ``known_as``: how the vocabulary spells it."""

    why: Why
    times: int | None = None
    known_as: str | None = None


class UnknownWords:
    """Of a tokenizer and the folders of its corpus; the training text is read when the first word is asked for."""

    def __init__(self, tokenizer: Tokenizer, encoded: Path) -> None:
        self._tokenizer, self._encoded, self._text = tokenizer, encoded, encoded.parent / "text" / "train.txt"
        self._found: dict[str, Reason] = {}

    def reason(self, word: str) -> Reason:
        """Of a word that the tokenizer reads as `<unk>`, as the text spells it."""
        if word not in self._found:
            if len(self._found) >= HELD:
                self._found.clear()
            self._found[word] = self._look_up(word)
        return self._found[word]

    @cached_property
    def min_count(self) -> int | None:
        """What makes a word rare; None where the corpus does not state it."""
        stated = load(self._encoded, MANIFEST, json_of).get("settings") or {}
        count: int | None = (stated.get("vocabulary") or {}).get("min_count")
        return count

    @cached_property
    def told(self) -> bool:
        """Whether there is the training text of this vocabulary: of one that it hides as many words from."""
        if self._rare is None:
            return False
        counts = load(self._encoded, "counts.npy", lambda path: np.load(path, mmap_mode="r", allow_pickle=False))
        return self._rare.total() == int(counts[UNKNOWN_ID])

    def _look_up(self, word: str) -> Reason:
        normalizer = self._tokenizer.normalizer
        looked_up = word if normalizer is None else normalizer.normalize_str(word)
        if looked_up == UNKNOWN:
            return Reason(Why.WRITTEN)
        times = (self._rare or Counter())[looked_up] if self.told else None
        if known_as := self._by_case.get(looked_up.lower()):
            return Reason(Why.CASE, times, known_as)
        if times is None:
            return Reason(Why.UNTOLD)
        if not times:
            return Reason(Why.NEVER, 0)
        return Reason(Why.RARE if self.min_count is None or times < self.min_count else Why.CUT, times)

    @cached_property
    def _by_case(self) -> dict[str, str]:
        """The words of the vocabulary by their spelling in lower case, of several the most frequent."""
        ranked = sorted(self._tokenizer.get_vocab().items(), key=lambda entry: -entry[1])
        return {word.lower(): word for word, index in ranked if index > 1}

    @cached_property
    def _rare(self) -> Counter[str] | None:
        """How often the training text shows each word that is not in the vocabulary; None where there is no text."""
        if not self._text.is_file():
            return None
        rare: Counter[str] = Counter()
        met: Counter[str] = Counter()
        unit = unit_of(self._tokenizer)
        if unit == "subword":
            return rare
        with self._text.open(encoding="utf-8", newline="\n") as file:
            while lines := file.readlines(BATCH):
                join = " " if unit == "word" else ""
                met.update(stretches(join.join(line.rstrip("\n") for line in lines), unit))
                if len(met) >= HELD:
                    self._add(rare, met)
                    met.clear()
        self._add(rare, met)
        return rare

    def _add(self, rare: Counter[str], met: Counter[str]) -> None:
        for stretch, times in met.items():
            for piece in pieces_in(stretch, self._tokenizer.normalizer, self._tokenizer.pre_tokenizer):
                if self._tokenizer.token_to_id(piece) in (None, UNKNOWN_ID):
                    rare[piece] += times
