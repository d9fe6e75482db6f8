import math
import os
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import chain, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.ground.perplexity import perplexity
from unrolled.scoring.kneser_ney import FALLBACK, KneserNey

END = 0
orders = st.integers(1, 5)


def texts(vocabulary: int = 3, longest: int = 60) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, vocabulary - 1), min_size=1, max_size=longest)


def zipf(length: int, vocabulary: int, seed: int) -> list[int]:
    """Long enough for discounts of its own; each token leans on the one before."""
    random = np.random.default_rng(seed)
    tokens = [END]
    for draw in random.zipf(1.4, length).tolist():
        tokens.append((tokens[-1] * 3 + draw) % vocabulary if draw < 50 else END)
    return tokens[1:]


# ---- an independent implementation: sentences as tuples, <s> as a token of its own, exact fractions


def sentences(tokens: list[int]) -> list[tuple[int | str, ...]]:
    found: list[tuple[int | str, ...]] = [("<s>",)]
    for token in tokens:
        found[-1] += (token,)
        if token == END:
            found.append(("<s>",))
    return found


def by_the_formula(tokens: list[int], order: int, vocabulary: int) -> Callable[..., Fraction]:
    """p(word, history) of interpolated modified Kneser-Ney, from the definitions and with no regard to speed."""
    seen = Counter(
        line[end - n : end]
        for line in sentences(tokens)
        for n in range(1, order + 1)
        for end in range(n, len(line) + 1)
    )
    del seen["<s>",]
    preceded = Counter(gram[1:] for gram in seen)
    adjusted = {
        gram: count if len(gram) == order or gram[0] == "<s>" else preceded[gram] for gram, count in seen.items()
    }

    def discounts(n: int) -> list[Fraction]:
        of = Counter(count for gram, count in adjusted.items() if len(gram) == n)
        if of[1] and of[2] and of[3] and of[4]:
            y = Fraction(of[1], of[1] + 2 * of[2])
            d = [1 - 2 * y * of[2] / of[1], 2 - 3 * y * of[3] / of[2], 3 - 4 * y * of[4] / of[3]]
            if min(d) > 0:
                return d
        return [Fraction(1, 2), Fraction(1), Fraction(3, 2)]

    discount = {n: discounts(n) for n in range(1, order + 1)}
    followers: dict[tuple[int | str, ...], dict[int, int]] = {}
    for gram, count in adjusted.items():
        assert isinstance(gram[-1], int)
        followers.setdefault(gram[:-1], {})[gram[-1]] = count

    def p(word: int, history: tuple[int | str, ...]) -> Fraction:
        below = p(word, history[1:]) if history else Fraction(1, vocabulary)
        counted = followers.get(history)
        if counted is None:
            return below
        taken = {each: discount[len(history) + 1][min(count, 3) - 1] for each, count in counted.items()}
        left = counted[word] - taken[word] if word in counted else 0
        return (left + sum(taken.values()) * below) / sum(counted.values())

    return p


def expected(train: list[int], text: list[int], order: int, vocabulary: int) -> np.ndarray:
    p = by_the_formula(train, order, vocabulary)
    histories = [line[max(i - order + 1, 0) : i] for line in sentences(text) for i in range(1, len(line))]
    table = {history: [float(p(word, history)) for word in range(vocabulary)] for history in set(histories)}
    return np.array([table[history] for history in histories])


@given(texts(), texts(), orders)
def test_probabilities_are_those_of_the_formula(train: list[int], text: list[int], order: int) -> None:
    model = KneserNey(train, order=order, vocabulary=3, end=END)
    np.testing.assert_allclose(model.distributions(text), expected(train, text, order, 3), rtol=1e-12, atol=0)


@pytest.mark.parametrize("order", range(1, 6))
def test_probabilities_are_those_of_the_formula_where_discounts_are_estimated(order: int) -> None:
    train, text = zipf(3000, 30, seed=1), zipf(200, 30, seed=2)
    model = KneserNey(train, order=order, vocabulary=30, end=END)
    assert order == 1 or model.discounts[order] != FALLBACK
    np.testing.assert_allclose(model.distributions(text), expected(train, text, order, 30), rtol=1e-12, atol=0)


@given(texts(), orders)
def test_every_context_has_a_distribution_over_all_types(train: list[int], order: int) -> None:
    model = KneserNey(train, order=order, vocabulary=3, end=END)
    every_context = list(chain.from_iterable(product(range(3), repeat=order)))
    rows = model.distributions(every_context)
    assert rows.shape == (len(every_context), 3)
    assert rows.min() > 0
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)


@given(texts(), orders)
def test_discounts_leave_something_and_take_something(train: list[int], order: int) -> None:
    discounts = KneserNey(train, order=order, vocabulary=3, end=END).discounts
    assert list(discounts) == list(range(1, order + 1))
    assert all(0 < each < k for of_order in discounts.values() for k, each in enumerate(of_order, 1))


def test_a_tiny_text_by_hand() -> None:
    """a b . a . : bigrams (<s> a) twice, (a b), (b .), (a .) once; before a stands 1 token, before b 1, before . 2."""
    end, a, b = 0, 1, 2
    model = KneserNey([a, b, end, a, end], order=2, vocabulary=3, end=end)
    assert model.discounts == {1: (0.5, 1.0, 1.5), 2: (0.5, 1.0, 1.5)}
    # unigrams: discounts take 0.5 + 0.5 + 1 of 4, a third of it for each type: a 1/8 + 1/6, b 1/8 + 1/6, . 1/4 + 1/6
    unigrams = np.array([10, 7, 7]) / 24
    after_start = np.array([0, 1, 0]) / 2 + unigrams / 2
    after_a = np.array([1, 0, 1]) / 4 + unigrams / 2
    after_b = np.array([1, 0, 0]) / 2 + unigrams / 2
    given_the_text = [after_start, after_a, after_b, after_start, after_a]
    np.testing.assert_allclose(model.distributions([a, b, end, a, end]), given_the_text, rtol=1e-15)
    nats = [-math.log(p) for p in (31 / 48, 19 / 48, 17 / 24, 31 / 48, 22 / 48)]
    np.testing.assert_allclose(model.nats([a, b, end, a, end]), nats, rtol=1e-15)


def test_discounts_and_unigrams_by_hand() -> None:
    """Four types once, two twice, one three times, one four times; the end never."""
    text = [1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8, 8, 8]
    model = KneserNey(text, order=1, vocabulary=9, end=END)
    assert model.discounts == {1: (0.5, 1.25, 1.0)}  # Y = 4 / (4 + 2 * 2)
    left = np.array([0, 0.5, 0.5, 0.5, 0.5, 0.75, 0.75, 2, 3]) / 15
    taken = (4 * 0.5 + 2 * 1.25 + 1 + 1) / 15
    np.testing.assert_allclose(model.distributions([8, 1]), np.tile(left + taken / 9, (2, 1)), rtol=1e-15)


def test_estimates_out_of_range_give_way() -> None:
    """n = 1, 1, 1, 3: D3+ would be 3 - 4/3 * 3 < 0, and longer contexts would leave nothing to the shorter."""
    text = [token for token, times in enumerate([1, 2, 3, 4, 4, 4], 1) for _ in range(times)]
    assert KneserNey(text, order=1, vocabulary=7, end=END).discounts == {1: FALLBACK}


@given(texts(), texts(), orders)
def test_nats_are_of_the_targets_in_the_distributions(train: list[int], text: list[int], order: int) -> None:
    model = KneserNey(train, order=order, vocabulary=3, end=END)
    own = model.distributions(text)[np.arange(len(text)), text]
    np.testing.assert_allclose(model.nats(text), -np.log(own), rtol=1e-12, atol=1e-14)


@given(texts(), texts(), orders)
def test_each_token_is_scored_once_wherever_sentences_are_parted(train: list[int], text: list[int], order: int) -> None:
    model = KneserNey(train, order=order, vocabulary=3, end=END)
    parts = np.split(np.array(text), [i + 1 for i, token in enumerate(text[:-1]) if token == END])
    np.testing.assert_array_equal(model.nats(text), np.concatenate([model.nats(part) for part in parts]))


@given(texts(), texts(), orders, st.integers(0, 60), st.integers(1, 60))
def test_a_stretch_has_the_rows_of_the_whole(
    train: list[int], text: list[int], order: int, start: int, length: int
) -> None:
    model = KneserNey(train, order=order, vocabulary=3, end=END)
    start = start % len(text)
    np.testing.assert_array_equal(
        model.distributions(text, start, start + length), model.distributions(text)[start : start + length]
    )


def test_what_stands_before_a_sentence_changes_nothing() -> None:
    model = KneserNey(zipf(500, 8, seed=1), order=5, vocabulary=8, end=END)
    first, other = ([*before, END, 3, 1, 4] for before in ([1, 2], [5, 6, 7]))
    np.testing.assert_array_equal(model.nats(first)[-3:], model.nats(other)[-3:])


def test_memory_mapped_unsigned_ids_are_read_and_left_alone(tmp_path: Path) -> None:
    tokens = np.array(zipf(300, 8, seed=1), dtype=np.uint16)
    np.save(tmp_path / "train.npy", tokens)
    mapped = np.load(tmp_path / "train.npy", mmap_mode="r")
    model = KneserNey(mapped, order=3, vocabulary=8, end=END)
    np.testing.assert_array_equal(model.nats(mapped), model.nats(tokens.tolist()))
    np.testing.assert_array_equal(mapped, tokens)


@pytest.mark.parametrize(
    ("tokens", "order", "end", "message"),
    [
        ([1, 0], 0, 0, "order >= 1, not 0"),
        ([1, 0], 2, 3, r"end 3 must be an id of the vocabulary, 0\.\.2"),
        ([1, 0], 2, -1, r"end -1 must be an id of the vocabulary, 0\.\.2"),
        ([], 2, 0, "at least one id"),
        ([[1, 0]], 2, 0, r"shape \(1, 2\)"),
        ([1.0, 0.0], 2, 0, "float64"),
        ([1, 3], 2, 0, r"ids must be 0\.\.2, the vocabulary's, not 1\.\.3"),
        ([-1, 0], 2, 0, r"not -1\.\.0"),
    ],
)
def test_bad_input_is_told_in_one_line(tokens: list[int], order: int, end: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        KneserNey(tokens, order=order, vocabulary=3, end=end)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tokens", [[], [3], [-1], [0.5], [[1]]])
def test_texts_to_score_are_checked_too(tokens: list[int]) -> None:
    model = KneserNey([1, 2, 0], order=2, vocabulary=3, end=END)
    with pytest.raises(ValueError, match="id"):
        model.nats(tokens)
    with pytest.raises(ValueError, match="id"):
        model.distributions(tokens)


# ---- against what others published


def treebank(split: str) -> list[str]:
    path = Path(os.environ.get("UNROLLED_MIRROR") or "nowhere") / f"ptb.{split}.txt"
    if not path.is_file():
        pytest.skip(f"needs UNROLLED_MIRROR, a folder that holds {path.name}")
    return path.read_text(encoding="utf-8").replace("\n", " <eos> ").split()


def test_five_grams_reach_their_published_perplexity_on_the_penn_treebank() -> None:
    """141.2: Mikolov's five-grams of SRILM, as in table 2 of Inan et al. 2017."""
    train, test = treebank("train"), treebank("test")
    ids = {word: number for number, word in enumerate(dict.fromkeys(train))}
    encoded = [np.array([ids[word] for word in words], dtype=np.uint16) for words in (train, test)]
    model = KneserNey(encoded[0], order=5, vocabulary=len(ids), end=ids["<eos>"])
    nats = model.nats(encoded[1])
    assert nats.size == 82_430
    assert perplexity(nats.sum(), nats.size) == pytest.approx(141.2, abs=1.0)
    rows = model.distributions(encoded[1], 1000, 1100)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(-np.log(rows[np.arange(100), encoded[1][1000:1100]]), nats[1000:1100], rtol=1e-12)
