"""What `<unk>` hides is paid for: the model of spelling by hand, and figures that compare across vocabularies."""

import math
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature import section_of
from test_encode import encode, write_text
from unrolled.corpus.spelling import CODE_POINTS, Letters, Spelling
from unrolled.ground.corpus import SPLITS, read_corpus
from unrolled.scoring.kneser_ney import KneserNey
from unrolled.tasks.language_model.evaluation.evaluate import kneser_ney


def nats_of(model: Spelling, *words: str) -> float:
    return model.nats(Letters.of((word, 1) for word in words))


# ---- the model


def test_spelling_by_hand() -> None:
    """Twelve counts: a 2 + 1, b 3 + 1, the end 3 + 1, all other letters together 1."""
    model = Spelling(Letters.of([("ab", 2), ("b", 1)]), ends=True)
    assert nats_of(model, "a") == pytest.approx(-math.log(3 / 12 * 4 / 12))
    assert nats_of(model, "ba", "b") == pytest.approx(-math.log(4 / 12 * 3 / 12 * 4 / 12 * 4 / 12 * 4 / 12))
    assert nats_of(model, "é") == pytest.approx(-math.log(1 / 12 / (CODE_POINTS - 2) * 4 / 12))
    one_letter = Spelling(Letters.of([("a", 3), ("b", 1)]), ends=False)
    assert nats_of(one_letter, "a", "c") == pytest.approx(-math.log(4 / 7 * 1 / 7 / (CODE_POINTS - 2)))


RARE = st.lists(st.tuples(st.text("abé", max_size=3), st.integers(1, 5)), max_size=4).map(Letters.of)


@given(RARE)
def test_the_probabilities_of_all_words_sum_to_one(rare: Letters) -> None:
    """Of words of up to three letters, those that no rare word has taken together, and of all longer ones."""
    model, other = Spelling(rare, ends=True), CODE_POINTS - len(rare.counts)
    letters = [(letter, 1) for letter in rare.counts] + [("z", other)]
    total = 0.0
    for length in range(4):
        for word in product(letters, repeat=length):
            ways = math.prod(number for _, number in word)
            total += ways * math.exp(-nats_of(model, "".join(letter for letter, _ in word)))
    goes_on = 1 - math.exp(-nats_of(model, ""))
    assert total + goes_on**4 == pytest.approx(1)
    one = Spelling(rare, ends=False)
    assert sum(number * math.exp(-nats_of(one, letter)) for letter, number in letters) == pytest.approx(1)


@given(RARE, st.lists(st.text("abé\U0001f600", min_size=1, max_size=5), max_size=6))
def test_words_are_paid_for_one_by_one(rare: Letters, words: list[str]) -> None:
    model = Spelling(rare, ends=True)
    assert nats_of(model, *words) == pytest.approx(sum(nats_of(model, word) for word in words))
    assert nats_of(model, *words) == nats_of(model, *reversed(words))


def test_a_word_that_the_text_itself_spells_so_hides_nothing() -> None:
    """As in the Penn Treebank, where no other is unknown: then it costs next to nothing."""
    assert Letters.of([("<unk>", 2), ("ab", 1)]) == Letters(Counter("ab"), 3)
    model = Spelling(Letters.of([("<unk>", 45_000)]), ends=True)
    assert 0 < model.nats(Letters.of([("<unk>", 5_000)])) < 0.2


# ---- the corpus


def test_a_tiny_corpus_by_hand(tmp_path: Path) -> None:
    """Training hides `c`, once: five counts, c 1 + 1, the end 1 + 1, all other letters 1."""
    write_text(tmp_path / "text", valid="A Néw\n", test="c a C\n")
    assert encode(tmp_path, min_count=2)["spelling"] == "letters counted on the words that are <unk> in training: 1"
    corpus = read_corpus(tmp_path / "encoded")
    assert corpus.texts["train"] == (12, 12, 1, pytest.approx(-2 * math.log(2 / 5)))
    unseen = -math.log(1 / 5 / (CODE_POINTS - 1))
    assert corpus.texts["valid"] == (6, 7, 1, pytest.approx(3 * unseen - math.log(2 / 5)))
    assert corpus.texts["test"] == (6, 6, 2, pytest.approx(-4 * math.log(2 / 5)))
    nats = KneserNey(corpus.train.tokens, order=2, vocabulary=4, end=1).nats(corpus.test.tokens).sum()
    measures = kneser_ney(corpus, section_of("evaluate", ngram_order=2)).measures
    assert measures["spelled_nats_per_character"] == pytest.approx((nats - 4 * math.log(2 / 5)) / 6)
    assert (measures["vocabulary_size"], measures["unknown_share"]) == (4, 0.5)


def test_characters_need_no_end(tmp_path: Path) -> None:
    write_text(tmp_path / "text", train="aab\naé\n", valid="ab\n", test="zb\n")
    assert encode(tmp_path, unit="character")["spelling"].endswith("characters that training shows once: 2")
    texts = read_corpus(tmp_path / "encoded").texts
    assert texts["valid"].spelling == 0
    assert texts["test"] == (3, 3, 1, pytest.approx(-math.log(1 / 5 / (CODE_POINTS - 2))))


@pytest.mark.parametrize("unit", ["word", "character"])
def test_a_text_without_unknown_words_pays_nothing(tmp_path: Path, unit: str) -> None:
    write_text(tmp_path / "text", valid="a b\n", test="c c\n")
    encode(tmp_path, unit=unit)
    assert [read_corpus(tmp_path / "encoded").texts[split].spelling for split in SPLITS] == [0, 0, 0]


# ---- across vocabularies


WAYS = {
    "every word": {"min_count": 1},
    "5 times": {"min_count": 5},
    "20 times": {"min_count": 20},
    "100 times": {"min_count": 100},
    "50 words": {"max_size": 50},
    "characters": {"unit": "character"},
}


@cache
def figures() -> tuple[dict[str, float], dict[str, float], float]:
    """Nats a character by way, with the unknown words spelled and without, and what the source itself would take.

    Eight words a line, each drawn by Zipf's law from two thousand, whose letters were drawn the same way.
    """
    random = np.random.default_rng(0)
    letters = 1 / np.arange(1, 27)
    words = list(dict.fromkeys(
        "".join(chr(97 + letter) for letter in random.choice(26, random.integers(1, 9), p=letters / letters.sum()))
        for _ in range(4000)
    ))[:2000]  # fmt: skip
    chances = 1 / np.arange(1, len(words) + 1)
    chances /= chances.sum()
    drawn = {
        "train": random.choice(len(words), (4000, 8), p=chances),
        "test": random.choice(len(words), (500, 8), p=chances),
    }
    text = {split: "".join(" ".join(words[i] for i in line) + "\n" for line in lines) for split, lines in drawn.items()}
    source = -np.log(chances[drawn["test"]]).sum() / len(text["test"])
    spelled, hidden = {}, {}
    with TemporaryDirectory() as name:
        place = Path(name)
        write_text(place / "text", **text)
        for way, options in WAYS.items():
            encode(place, **options)
            corpus = read_corpus(place / "encoded")
            found = kneser_ney(corpus, section_of("evaluate", ngram_order=5))
            spelled[way] = found.measures["spelled_nats_per_character"]
            hidden[way] = float(found.units["forward_perplexity"].sum()) / len(text["test"])
    return spelled, hidden, float(source)


def test_no_vocabulary_undercuts_the_source_of_the_text() -> None:
    """It knows every word's chance: whatever costs less leaves something out, as nats do without the spelling."""
    spelled, hidden, source = figures()
    assert all(figure > source for figure in spelled.values())
    assert hidden["20 times"] < source and hidden["100 times"] < source / 2


def test_hiding_more_words_makes_no_figure_better() -> None:
    spelled, hidden, _ = figures()
    order = ["every word", "5 times", "20 times", "100 times"]
    assert sorted(hidden, key=hidden.__getitem__)[0] == "100 times"
    assert sorted(order, key=spelled.__getitem__) == order
    assert spelled["every word"] < spelled["characters"] < spelled["100 times"]  # which can learn words, but slowly
