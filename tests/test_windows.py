"""Columns and windows: every token once, in order, with its true neighbours."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.windows import windows


def test_the_picture_in_the_docstring() -> None:
    tokens = np.arange(100, 112, dtype=np.uint16)  # a = 100 ... l = 111
    first, second = windows(tokens, columns=3, window=2)
    assert first.left.tolist() == [[END_ID, 103, 107], [100, 104, 108]]
    assert first.target.tolist() == [[100, 104, 108], [101, 105, 109]]
    assert first.right.tolist() == [[101, 105, 109], [102, 106, 110]]
    assert second.target.tolist() == [[102, 106, 110], [103, 107, 111]]
    assert second.right.tolist() == [[103, 107, 111], [104, 108, END_ID]]


@given(st.integers(2, 60), st.integers(1, 7), st.integers(1, 70))
def test_every_token_is_a_target_once_with_its_neighbours(length: int, columns: int, window: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 50, size=length * columns).astype(np.uint16)
    read = list(windows(tokens, columns=columns, window=window))
    padded = np.concatenate([[END_ID], tokens, [END_ID]])
    for shift, field in enumerate(("left", "target", "right")):
        columnwise = torch.cat([getattr(each, field) for each in read]).T.flatten()
        assert columnwise.tolist() == padded[shift : shift + len(tokens)].tolist()
    assert all(len(each.target) == window for each in read[:-1])


def test_reverse_gives_the_same_windows_last_first() -> None:
    tokens = np.arange(23, dtype=np.uint16)
    ahead = list(windows(tokens, columns=2, window=4))
    back = list(windows(tokens, columns=2, window=4, reverse=True))
    for a, b in zip(ahead, reversed(back), strict=True):
        assert torch.equal(torch.stack(a), torch.stack(b))


def test_a_split_too_small_is_refused() -> None:
    with pytest.raises(UserError, match="5 tokens is too small for 4 columns"):
        next(windows(np.arange(5, dtype=np.uint16), columns=4, window=2))
