"""Chunks in tags of the form B-NP, I-NP, O, read as the shared tasks' script `conlleval` reads them.

A chunk begins at a B, and at an I that no chunk of its type stands before (so an I after O, after a sentence's start or
after another type begins one; a strict reading would drop it): so the same chunks are read where a B stands at each
first word (IOB2) and where it only parts a chunk from one of its type before it (IOB1). A chunk's last word may be an E
or L, one of a single word an S or U (BIOES, BILOU). A predicted chunk is right where its first word, its last word and
its type all are.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.evaluation import Resampling


class Chunk(NamedTuple):
    sentence: int
    first: int  # word
    last: int
    type: str


class Figures(NamedTuple):
    """In percent."""

    precision: float
    recall: float
    f1: float


def are_chunks(tags: Sequence[str]) -> bool:
    """Whether all of a tag set read as chunks."""
    return any(tag != "O" for tag in tags) and all(re.fullmatch(r"O|[BIESLU]-.+", tag) for tag in tags)


def chunks_of(sentences: Sequence[Sequence[str]]) -> set[Chunk]:
    """All chunks of tagged sentences."""
    found = set()
    for number, tags in enumerate(sentences):
        begin, before = 0, "O"
        for place, tag in enumerate([*tags, "O"]):
            goes_on = before[0] in "BI" and tag[0] in "IEL" and tag[2:] == before[2:]
            if before != "O" and not goes_on:
                found.add(Chunk(number, begin, place - 1, before[2:]))
            if not goes_on:
                begin = place
            before = tag
    return found


def figures(right: int, predicted: int, gold: int) -> Figures:
    """0 where there is nothing to divide by, as conlleval prints."""
    precision, recall = (100 * right / each if each else 0.0 for each in (predicted, gold))
    return Figures(precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0)


def chunk_table(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A row a type, the most frequent first, and before them "all"; support: chunks of the right answer."""
    truth, said = chunks_of(gold), chunks_of(predicted)
    rows = []
    for kind in sorted({each.type for each in truth | said}):
        own, mine = ({each for each in chunks if each.type == kind} for chunks in (truth, said))
        rows.append([kind, *figures(len(own & mine), len(mine), len(own)), len(own)])
    whole = ["all", *figures(len(truth & said), len(said), len(truth)), len(truth)]
    table = pd.DataFrame([whole, *rows], columns=["type", *Figures._fields, "support"])
    return table.sort_values("support", ascending=False, kind="stable", ignore_index=True)


def f1_interval(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], resampling: Resampling
) -> tuple[float, float]:
    """Over sentences. F1 is 2 r / (p + g), a ratio of sums, so that its interval is that of a mean whose units are
    the p + g chunks of a sentence, with 2 r of them right."""
    counts = np.zeros((3, len(gold)), dtype=np.int64)
    truth, said = chunks_of(gold), chunks_of(predicted)
    for row, chunks in enumerate((truth & said, said, truth)):
        np.add.at(counts[row], [each.sentence for each in chunks], 1)
    both = counts[1] + counts[2]
    if not both.sum():
        return float("nan"), float("nan")
    units = np.concatenate([np.arange(size) < 2 * right for right, size in zip(counts[0], both, strict=True)])
    clusters = np.repeat(np.arange(len(gold)), both)
    return bootstrap_interval(100.0 * units, clusters, **resampling._asdict())
