"""Columns and windows: every token once, in order, with its true neighbours."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.windows import drawn_lengths, windows


def test_the_picture_in_the_docstring() -> None:
    tokens = np.arange(100, 112, dtype=np.uint16)  # a = 100 ... l = 111
    first, second = windows(tokens, columns=3, window=2)
    assert first.left.tolist() == [[END_ID, 103, 107], [100, 104, 108]]
    assert first.target.tolist() == [[100, 104, 108], [101, 105, 109]]
    assert first.right.tolist() == [[101, 105, 109], [102, 106, 110]]
    assert second.target.tolist() == [[102, 106, 110], [103, 107, 111]]
    assert second.right.tolist() == [[103, 107, 111], [104, 108, END_ID]]


LENGTHS = st.lists(st.integers(1, 20), min_size=2, max_size=9).map(np.array)


@given(st.integers(2, 60), st.integers(1, 7), st.integers(1, 70) | LENGTHS)
def test_every_token_is_a_target_once_with_its_neighbours(length: int, columns: int, window: Any) -> None:
    """In windows of one length or of any lengths."""
    length = length if isinstance(window, int) else window.sum()
    tokens = np.random.default_rng(0).integers(0, 50, size=length * columns).astype(np.uint16)
    read = list(windows(tokens, columns=columns, window=window))
    padded = np.concatenate([[END_ID], tokens, [END_ID]])
    for shift, field in enumerate(("left", "target", "right")):
        columnwise = torch.cat([getattr(each, field) for each in read]).T.flatten()
        assert columnwise.tolist() == padded[shift : shift + len(tokens)].tolist()
    lengths = [window] * len(read) if isinstance(window, int) else window.tolist()
    assert [len(each.target) for each in read[:-1]] == lengths[: len(read) - 1]


@given(st.integers(1, 3000), st.integers(2, 90), st.integers(0, 9))
def test_drawn_lengths_are_the_columns_together(length: int, window: int, seed: int) -> None:
    lengths = drawn_lengths(length, window, np.random.default_rng(seed))
    assert lengths.sum() == length and (lengths[:-1] >= 5).all() and lengths[-1] >= 1


def test_drawn_lengths_are_about_the_window_or_now_and_then_half_of_it() -> None:
    """trunc(N(70, 5)), with probability 0.05 trunc(N(35, 5)): means, shares and deviations of 100,000 of them."""
    lengths = drawn_lengths(6_800_000, 70, np.random.default_rng(1))[:-1]
    halved = lengths < 52  # 3.5 deviations from both
    assert halved.mean() == pytest.approx(0.05, abs=0.003)
    for chosen, mean in ((lengths[~halved], 69.5), (lengths[halved], 34.5)):
        assert chosen.mean() == pytest.approx(mean, abs=0.2) and chosen.std() == pytest.approx(5, abs=0.15)


def test_reverse_gives_the_same_windows_last_first() -> None:
    tokens = np.arange(23, dtype=np.uint16)
    ahead = list(windows(tokens, columns=2, window=4))
    back = list(windows(tokens, columns=2, window=4, reverse=True))
    for a, b in zip(ahead, reversed(back), strict=True):
        assert torch.equal(torch.stack(a), torch.stack(b))


def test_a_split_too_small_is_refused() -> None:
    with pytest.raises(UserError, match="5 tokens is too small for 4 columns"):
        next(windows(np.arange(5, dtype=np.uint16), columns=4, window=2))
