"""Variety and copying, by hand and against nltk."""

import math

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from unrolled.scoring.diversity import copied, distinct, hashes, self_bleu


def test_distinct_ngrams_by_hand() -> None:
    lines = [[1, 2, 1, 2], [1, 2], [3]]
    assert distinct(lines, 1) == 3 / 7
    assert distinct(lines, 2) == 2 / 4  # 12 21 12, 12
    assert distinct(lines, 4) == 1
    assert math.isnan(distinct(lines, 5))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_self_bleu_is_that_of_nltk_with_all_others_as_references(seed: int) -> None:
    random = np.random.default_rng(seed)
    lines = [random.integers(0, 6, size).tolist() for size in random.integers(0, 12, 25)]
    smoothing = SmoothingFunction().method1
    expected = [
        sentence_bleu([*lines[:place], *lines[place + 1 :]], line, smoothing_function=smoothing) if line else 0.0
        for place, line in enumerate(lines)
    ]
    assert self_bleu(lines) == pytest.approx(expected, rel=1e-9)


def test_who_repeats_itself_has_a_self_bleu_of_one_and_who_shares_nothing_of_none() -> None:
    assert self_bleu([[1, 2, 3, 4, 5]] * 3).tolist() == pytest.approx([1, 1, 1])
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]).tolist() == [0, 0]
    with pytest.raises(ValueError, match="2 or more are needed, not 1"):
        self_bleu([[1, 2]])


@pytest.mark.parametrize("n", [1, 3, 8])
def test_what_is_copied_is_counted_as_sets_do(n: int) -> None:
    random = np.random.default_rng(n)
    text = random.integers(0, 3, 500).astype(np.uint16)
    lines = [random.integers(0, 3, size).tolist() for size in (0, 2, 9, 30)] + [text[7:20].tolist()]
    known = {tuple(text[at : at + n].tolist()) for at in range(len(text) - n + 1)}
    asked = [tuple(line[at : at + n]) for line in lines for at in range(len(line) - n + 1)]
    assert copied(lines, hashes(text, n), n) == np.mean([each in known for each in asked])
    assert math.isnan(copied([[1]], hashes(text, n), 9)) and math.isnan(copied(lines, hashes(text[:2], 8), 8))
