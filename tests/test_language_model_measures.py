"""The yardsticks of a language model, and its nats by how often training showed the word."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unrolled.ground.corpus import Text
from unrolled.tasks.language_model.evaluation import measures


def test_no_characters_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="0 characters"):
        measures.of_whole_text(1.0, Text(0, 0, 0, 0.0))


def test_a_whole_text_is_its_tokens_and_its_spelling() -> None:
    found = measures.of_whole_text(7 * math.log(2), Text(characters=8, bytes=10, unknown=1, spelling=9 * math.log(2)))
    assert found == pytest.approx(
        {
            "spelled_nats_per_character": 2 * math.log(2),
            "spelled_bits_per_character": 2,
            "spelled_nats_per_byte": 1.6 * math.log(2),
            "spelled_bits_per_byte": 1.6,
        },
        rel=1e-15,
    )


def test_unigram_by_hand() -> None:
    assert np.exp(-measures.unigram_nats([0, 1, 2], [2, 0, 1, 2])) == pytest.approx([3 / 6, 1 / 6, 2 / 6, 3 / 6])


@given(hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 10**9)))
def test_unigram_sums_to_one_and_is_finite(counts: np.ndarray) -> None:
    nats = measures.unigram_nats(counts, np.arange(counts.size))
    assert np.isfinite(nats).all()
    assert np.exp(-nats).sum() == pytest.approx(1, rel=1e-12)


def test_unigram_of_equal_counts_is_uniform() -> None:
    assert measures.unigram_perplexity(np.full(37, 5), [1, 2, 30]) == pytest.approx(measures.uniform_perplexity(37))


def test_bands_by_hand() -> None:
    counts = [100, 99, 10, 9, 0]
    bands = measures.frequency_bands(counts, [0, 1, 2, 3, 4, 4], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert [band[:5] for band in bands] == [
        ("100-999", 100, 999, 1, 1.0),
        ("10-99", 10, 99, 2, 5.0),
        ("0-9", 0, 9, 3, 15.0),
    ]
    assert bands[1].perplexity == pytest.approx(math.exp(2.5))
    assert bands[2].perplexity == pytest.approx(math.exp(5))


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_bands_part_the_stream(types: int, tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = (10 ** random.uniform(0, 5, types)).astype(np.int64)
    targets, nats = random.integers(types, size=tokens), random.exponential(5, tokens)
    bands = measures.frequency_bands(counts, targets, nats)
    assert sum(band.tokens for band in bands) == tokens
    assert math.fsum(band.nats for band in bands) == pytest.approx(nats.sum())
    for band in bands:
        inside = (band.low <= counts[targets]) & (counts[targets] <= band.high)
        assert inside.sum() == band.tokens
