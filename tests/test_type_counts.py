"""Counting beyond memory gives what counting in memory gives."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.type_counts import counted, rank


@given(
    st.lists(st.lists(st.text(alphabet="abé\u4e00", min_size=1, max_size=3), max_size=8), max_size=12),
    st.integers(1, 4),
    st.none() | st.integers(1, 5),
    st.integers(1, 100),
)
def test_tables_put_aside_lose_nothing(
    batches: list[list[str]], min_count: int, max_types: int | None, memory: int
) -> None:
    counts = Counter(token for batch in batches for token in batch)
    expected = sorted((t for t in counts if counts[t] >= min_count), key=lambda t: (-counts[t], t))[:max_types]
    tables = [counted(batch, [1] * len(batch)) for batch in batches]
    assert rank(tables, min_count=min_count, max_types=max_types, memory=memory) == expected


def test_files_lie_where_they_are_told_to_and_are_gone_at_the_end(tmp_path: Path) -> None:
    def tables() -> Iterator[Any]:
        for token in "abc":
            yield counted([token], [2])
        assert sum(file.stat().st_size for file in tmp_path.rglob("*.arrow"))

    assert rank(tables(), memory=1, folder=tmp_path) == ["a", "b", "c"]
    assert not list(tmp_path.iterdir())
