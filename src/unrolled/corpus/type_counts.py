"""Exact counts of more types than memory holds, in Arrow's tables: a rare type never becomes a string of Python's."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from unrolled.corpus.blocks import ALONE, Pool
from unrolled.corpus.stretches import Pieces, numbers, stretches_in

MEMORY = 1 << 24  # bytes of tables at a time: some half a million types
PARTS = 64  # files that share the types of a text that is too large for it

Table = Any  # pa.Table of "type" and "count": Arrow comes without annotations


def counts_in(block: bytes, pieces: Pieces) -> Table:
    """The pieces of a block of whole lines but for their ends, and how often each occurs: a table for `rank`."""
    different, places = stretches_in(block, pieces.unit)
    cut, lengths = pieces.of(different)
    times = np.repeat(np.bincount(places, minlength=len(different)), lengths)
    return counted(cut[1:], times[1:])


def counted(tokens: Sequence[str], times: Any) -> Table:
    """How often each token occurs; ``tokens``, some of which may be there twice, and ``times``, [N] each.

    Beside both stands in which file a type would be put aside, by which the rows are in order.
    """
    sums = _summed([pa.table({"type": pa.array(tokens, pa.string()), "count": pa.array(times, pa.int64())})])
    part = _part_of(sums["type"].combine_chunks())
    order = np.argsort(part, kind="stable")
    return sums.take(order).append_column("part", pa.array(part[order]))


def rank(
    tables: Iterable[Table],
    *,
    min_count: int = 1,
    max_types: int | None = None,
    memory: int = MEMORY,
    pool: Pool = ALONE,
    folder: Path | None = None,
) -> list[str]:
    """The types of ``tables`` by descending count, ties by text: those that occur ``min_count`` times.

    A type may be in several tables. Those that take more than ``memory`` are put aside in temporary files, each type's
    rows in one of them, and summed file by file at the end. So memory holds that much and the types that are kept.
    ``folder``: where these files are, for the system's own place may be small, or in memory.
    """
    with TemporaryDirectory(prefix="types-", dir=folder) as place:
        held, files = _set_apart(tables, Path(place), memory)
        of_files = pool.in_order(partial(_frequent_in, min_count), files)
        kept: list[Table] = []
        for part in chain([_frequent(held, min_count)], of_files):
            kept.append(part)
            if max_types is not None:
                kept = [_ranked(kept)[:max_types]]
    types: list[str] = _ranked(kept)["type"].to_pylist()
    return types


def _set_apart(tables: Iterable[Table], folder: Path, memory: int) -> tuple[list[Table], list[Path]]:
    """The tables or, where they take more than ``memory``, the files that hold them."""
    held, size = [counted([], [])], 0
    files = [folder / f"{part}.arrow" for part in range(PARTS)]
    writers: list[Any] = []
    with ExitStack() as stack:
        for table in tables:
            held.append(table)
            size += table.nbytes
            if size > memory:
                schema = table.schema.remove(table.schema.get_field_index("part"))
                writers = writers or [stack.enter_context(pa.ipc.new_stream(str(file), schema)) for file in files]
                _write(held, writers)
                held, size = held[:1], 0
        if not writers:
            return held, []
        _write(held, writers)
    return held[:1], files


def _write(tables: Sequence[Table], writers: Sequence[Any]) -> None:
    for table in tables:
        part, rows = numbers(table["part"].combine_chunks(), np.uint8), table.drop_columns("part")
        ends = np.searchsorted(part, np.arange(PARTS), side="right").tolist()
        for writer, start, end in zip(writers, [0, *ends], ends, strict=False):
            writer.write_table(rows[start:end])


def _part_of(types: Any) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Of a whole array of texts, none of them empty: by their first, middle and last bytes, and their lengths."""
    _, offsets, text = types.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[: len(types) + 1]
    letters, first, last = np.frombuffer(text, dtype=np.uint8), ends[:-1], ends[1:]
    mixed = 101 * (last - first)
    for at, factor in ((first, 1), ((first + last) // 2, 7), (last - 1, 31)):
        mixed += factor * letters[at].astype(np.int32)
    return (mixed % PARTS).astype(np.uint8)


def _frequent_in(min_count: int, file: Path) -> Table:
    with pa.memory_map(str(file)) as mapped:
        return _frequent([pa.ipc.open_stream(mapped).read_all()], min_count)


def _frequent(tables: Sequence[Table], min_count: int) -> Table:
    sums = _summed(tables)
    return sums.filter(compute.greater_equal(sums["count"], min_count))


def _summed(tables: Sequence[Table]) -> Table:
    """Each type once; Arrow's own group_by does the same, and imports pandas, which takes a quarter of a second."""
    rows = pa.concat_tables(tables)
    types = rows["type"].combine_chunks().dictionary_encode()
    times = numbers(rows["count"].combine_chunks(), np.int64)
    sums = np.bincount(numbers(types.indices), times, len(types.dictionary))  # exact below 2 ** 53
    return pa.table({"type": types.dictionary, "count": pa.array(sums.astype(np.int64))})


def _ranked(tables: Sequence[Table]) -> Table:
    return pa.concat_tables(tables).sort_by([("count", "descending"), ("type", "ascending")])
