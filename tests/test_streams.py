"""Columns and windows: every token once, in order, with its true neighbours."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.errors import CorpusError
from unrolled.corpus.streams import windows

EOS = 99


def test_the_picture_in_the_docstring() -> None:
    tokens = np.arange(12, dtype=np.uint16)  # a = 0 ... l = 11
    first, second = windows(tokens, columns=3, window=2, eos=EOS)
    assert first.left.tolist() == [[EOS, 3, 7], [0, 4, 8]]
    assert first.target.tolist() == [[0, 4, 8], [1, 5, 9]]
    assert first.right.tolist() == [[1, 5, 9], [2, 6, 10]]
    assert second.target.tolist() == [[2, 6, 10], [3, 7, 11]]
    assert second.right.tolist() == [[3, 7, 11], [4, 8, EOS]]


@given(st.integers(2, 60), st.integers(1, 7), st.integers(1, 70))
def test_every_token_is_a_target_once_with_its_neighbours(length: int, columns: int, window: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 50, size=length * columns).astype(np.uint16)
    read = list(windows(tokens, columns=columns, window=window, eos=EOS))
    padded = np.concatenate([[EOS], tokens, [EOS]])
    for shift, field in enumerate(("left", "target", "right")):
        columnwise = torch.cat([getattr(each, field) for each in read]).T.flatten()
        assert columnwise.tolist() == padded[shift : shift + len(tokens)].tolist()
    assert all(len(each.target) == window for each in read[:-1])


def test_reverse_gives_the_same_windows_last_first() -> None:
    tokens = np.arange(23, dtype=np.uint16)
    ahead = list(windows(tokens, columns=2, window=4, eos=EOS))
    back = list(windows(tokens, columns=2, window=4, eos=EOS, reverse=True))
    for a, b in zip(ahead, reversed(back), strict=True):
        assert torch.equal(torch.stack(a), torch.stack(b))


def test_a_split_too_small_is_refused() -> None:
    with pytest.raises(CorpusError, match="5 tokens is too small for 4 columns"):
        next(windows(np.arange(5, dtype=np.uint16), columns=4, window=2, eos=EOS))
