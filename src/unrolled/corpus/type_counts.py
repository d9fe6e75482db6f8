"""Exact counts of more types than memory holds."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from typing import TextIO

TYPES_IN_MEMORY = 1_000_000  # about 150 MB


def rank(
    batches: Iterable[tuple[Iterable[str], Iterable[int]]],
    *,
    min_count: int = 1,
    max_types: int | None = None,
    types_in_memory: int = TYPES_IN_MEMORY,
) -> list[str]:
    """The types of ``batches`` of tokens by descending count, ties by text: those that occur ``min_count`` times.

    A batch is tokens, and how often each occurs; one may come twice. A table that grows beyond ``types_in_memory`` is
    put aside, sorted, in a temporary file, and the files are merged at the end. So memory holds a table, a batch and
    the types that are kept. Tokens must not hold tabs or line ends if there are more types than that.
    """
    counts: dict[str, int] = {}
    known = counts.get
    with ExitStack() as stack:
        aside: list[TextIO] = []
        for tokens, times in batches:
            for token, count in zip(tokens, times, strict=True):
                counts[token] = known(token, 0) + count
            if len(counts) > types_in_memory:
                file = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n"))
                aside.append(file)
                file.writelines(f"{token}\t{counts[token]}\n" for token in sorted(counts))
                counts.clear()
        totals = _totals(heapq.merge(*map(_run, aside), sorted(counts.items()))) if aside else counts.items()
        frequent = ((-count, token) for token, count in totals if count >= min_count)
        ranked = sorted(frequent) if max_types is None else heapq.nsmallest(max_types, frequent)
    return [token for _, token in ranked]


def _run(file: TextIO) -> Iterator[tuple[str, int]]:
    file.seek(0)
    for line in file:
        token, _, count = line.rstrip("\n").partition("\t")
        yield token, int(count)


def _totals(merged: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for token, entries in groupby(merged, key=itemgetter(0)):
        yield token, sum(count for _, count in entries)
