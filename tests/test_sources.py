"""Sources of text: every cost against fractions worked out by hand, closed forms, or all strings there are."""

import json
import math
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import entr

from unrolled.corpus.sources.agreement import Agreement, Role, far, mixed
from unrolled.corpus.sources.brackets import Brackets
from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.corpus.sources.source_file import read_source
from unrolled.corpus.sources.topics import topics
from unrolled.shell.errors import UserError

NOISY = {
    "start": [0.5, 0.5],
    "transitions": [[0.9, 0.1], [0.1, 0.9]],
    "emissions": [[0.8, 0.2], [0.2, 0.8]],
    "words": ["zero", "one"],
}
SMALL = Agreement(classes=2, noise=0.1, distances=(1, 2), fillers=2)
RATE = 2 / 3 * math.log(2)  # of the golden mean and of the even process


def exactly(figure: Any, within: float = 5e-11) -> Any:
    """``figure`` as it is printed, with ten digits behind the point."""
    return pytest.approx(figure, abs=within, rel=0)


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def chain(stay: float) -> HiddenMarkov:
    """A symmetric Markov chain of two words."""
    return HiddenMarkov([0.5, 0.5], [[stay, 1 - stay], [1 - stay, stay]], np.eye(2), ["0", "1"])


def golden_mean() -> HiddenMarkov:
    """No 1 after a 1."""
    return HiddenMarkov([2 / 3, 1 / 3], [[0.5, 0.5], [1, 0]], np.eye(2), ["0", "1"])


def even_process() -> HiddenMarkov:
    """1s come in even numbers; states: a 0, the first 1 of two, the second."""
    even, odd = [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]
    return HiddenMarkov([1 / 3] * 3, [even, odd, even], [[1, 0], [0, 1], [0, 1]], ["0", "1"])


def middle(source: HiddenMarkov, length: int) -> float:
    """The mean smoothing cost of the token in the middle, over all strings."""
    total = 0.0
    for text in product(range(len(source.words)), repeat=length):
        weight = by_enumeration(source, text)
        if weight > 0:
            total += weight * float(source.smoothing_nats(text)[length // 2])
    return total


# ---- an independent implementation: products of matrices, and no normalisation


def by_enumeration(source: HiddenMarkov, text: tuple[int, ...]) -> float:
    """p(text)."""
    weights, transitions, emissions = source.start, source.transitions.toarray(), source.emissions.toarray()
    for token in text:
        weights = weights * emissions[:, token] @ transitions
    return float(weights.sum())


def smoothing_by_enumeration(source: HiddenMarkov, text: tuple[int, ...]) -> list[float]:
    return [
        math.log(sum(by_enumeration(source, (*text[:t], word, *text[t + 1 :])) for word in range(len(source.words))))
        - math.log(by_enumeration(source, text))
        for t in range(len(text))
    ]


@st.composite
def sources(draw: st.DrawFn) -> HiddenMarkov:
    """With zeros here and there, but a way from every state to every other."""
    states, words = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    weights = st.integers(0, 5)

    def rows(width: int, sure: list[int]) -> np.ndarray[Any, Any]:
        table = np.array([[draw(weights) for _ in range(width)] for _ in sure], dtype=float)
        table[np.arange(len(sure)), sure] += 1
        return table / table.sum(axis=1, keepdims=True)

    emissions = rows(words, [state % words for state in range(states)])
    emissions = emissions[:, emissions.any(axis=0)]
    transitions = rows(states, [(state + 1) % states for state in range(states)])
    names = [f"word{number}" for number in range(emissions.shape[1])]
    tables = sp.csr_array if draw(st.booleans()) else np.array
    return HiddenMarkov(rows(states, [0])[0], tables(transitions), tables(emissions), names)


# ---- what is known to ten digits


def test_the_noisy_chain_to_the_last_fraction() -> None:
    source = HiddenMarkov(**NOISY)
    text = source.encode(["zero", "zero", "one", "zero"])
    causal, pseudo = source.causal_nats(text), source.smoothing_nats(text)
    assert causal == exactly([0.6931471806, 0.4400565529, 1.2081221879, 0.6378245927])
    assert causal.sum() == pytest.approx(-math.log(12709 / 250000), abs=1e-14)
    assert pseudo == pytest.approx(np.log(np.array([20450, 20810, 53210, 24050]) / 12709), abs=1e-14)
    assert pseudo.sum() == exactly(3.0385562525)
    assert pseudo.sum() > causal.sum()  # of one text; never in the mean


@pytest.mark.parametrize(
    ("n", "lower", "upper"),
    [(5, 0.6279036515, 0.6316354678), (8, 0.6305179582, 0.6306928360), (14, 0.6306464015, 0.6306467873)],
)
def test_bounds_close_in_on_the_entropy_rate(n: int, lower: float, upper: float) -> None:
    assert HiddenMarkov(**NOISY).rate_bounds(n) == exactly((lower, upper))


def test_bounds_of_the_noisy_chain_meet() -> None:
    lower, upper = HiddenMarkov(**NOISY).rate_bounds(18)
    assert (lower, upper) == exactly((0.6306466853, 0.6306466853), 1e-8)
    assert lower <= 0.630646685489 and upper >= 0.630646685182  # as those of 21 tokens are narrower


def test_golden_mean() -> None:
    assert golden_mean().rate_bounds(2) == exactly((RATE, RATE))
    assert exactly(0.4620981204) == RATE
    assert middle(golden_mean(), 3) == exactly(0.3182570841)


def test_symmetric_chain() -> None:
    assert chain(0.9).rate_bounds(2) == exactly((0.3250829734, 0.3250829734))
    assert middle(chain(0.9), 3) == exactly(0.1787724600)


EVEN = [(1, 0.6365141683), (2, 0.6059391566), (3, 0.5493061443), (5, 0.5057021324), (8, 0.4800782499),
        (12, 0.4665931528)]  # fmt: skip


@pytest.mark.parametrize(("n", "floor"), EVEN)
def test_no_ngram_is_long_enough_for_the_even_process(n: int, floor: float) -> None:
    source = even_process()
    assert source.rate_bounds(n)[1] == exactly(floor)
    if n <= 5:  # the filter's n-th token, over all strings
        texts = [text for text in product(range(2), repeat=n + 1) if by_enumeration(source, text) > 0]
        mean = sum(by_enumeration(source, text) * source.ngram_nats(text, n)[-1] for text in texts)
        assert mean == exactly(floor)


def test_the_even_process_costs_its_rate() -> None:
    """The state is known from the first 0 on, so that the mean cost is that of the state's choice."""
    source = even_process()
    text = source.sample(60_000, generator())
    assert source.causal_nats(text).mean() == pytest.approx(RATE, abs=0.004)
    assert source.smoothing_nats(text).mean() < RATE


def catalan(n: int) -> int:
    return math.comb(2 * n, n) // (n + 1)


def inside(length: int) -> float:
    """p(a^length) of the grammar S -> S S (.3), S -> a (.7), by its spans."""
    chart = [0.0, 0.7]
    for span in range(2, length + 1):
        chart.append(0.3 * sum(chart[left] * chart[span - left] for left in range(1, span)))
    return chart[length]


def counter(stops: list[float]) -> HiddenMarkov:
    """a^n <eos>, which ends after the i-th a with probability stops[i]; after the last for sure."""
    count = len(stops)
    transitions = np.zeros((count + 1, count + 1))
    transitions[np.arange(count - 1), np.arange(1, count)] = 1 - np.array(stops[:-1])
    transitions[:count, count] = [*stops[:-1], 1.0]
    transitions[count, 0] = 1.0
    return HiddenMarkov(np.eye(count + 1)[0], transitions, np.eye(2)[[0] * count + [1]], ["a", "<eos>"])


def test_a_grammar_by_its_inside_probabilities() -> None:
    whole = [inside(length) for length in range(1, 9)]
    assert whole[:5] == exactly([0.7, 0.147, 0.06174, 0.0324135, 0.0190591], 5e-8)
    assert whole == pytest.approx([catalan(n - 1) * 0.3 ** (n - 1) * 0.7**n for n in range(1, 9)], abs=1e-15)
    prefixes = [1 - sum(whole[:length]) for length in range(8)]
    assert prefixes[:5] == exactly([1, 0.3, 0.153, 0.09126, 0.0588465], 5e-8)
    source = counter([p / prefix for p, prefix in zip(whole, prefixes, strict=True)])
    nats = source.causal_nats(source.encode(["a", "a", "a", "<eos>"]))
    assert nats == exactly([0, 1.2039728043, 0.6733445533, 0.9075059023])
    assert nats.sum() == exactly(2.7848232599)


@pytest.mark.parametrize(("stop", "nats", "tokens", "n"), [(0.5, 1.3862943611, 5, 60), (0.1, 3.2508297339, 21, 240)])
def test_counting(stop: float, nats: float, tokens: float, n: int) -> None:
    """a^n b^n: the b are given, so that a sentence costs what its a do. Counted to where nothing is left."""
    steps = sp.lil_array((2 * n + 1, 2 * n + 1))
    for i in range(n):  # a_1 ... a_n, b_1 ... b_n by how many are still to come, <eos>
        steps[i, n + i] = stop if i < n - 1 else 1.0
        steps[n + i, n + i - 1 if i else 2 * n] = 1.0
        if i < n - 1:
            steps[i, i + 1] = 1 - stop
    steps[2 * n, 0] = 1.0
    says = np.eye(3)[[0] * n + [1] * n + [2]]
    source = HiddenMarkov(np.eye(2 * n + 1)[0], steps.tocsr(), says, ["a", "b", "<eos>"])
    shares = stop * (1 - stop) ** np.arange(n)
    lengths = 2 * np.arange(1, n + 1) + 1
    text = np.concatenate([[0] * i + [1] * i + [2] for i in range(1, n + 1)])
    costs = np.add.reduceat(source.causal_nats(text), lengths.cumsum() - lengths)
    assert shares @ costs == exactly(nats, 1e-8)
    assert shares @ lengths == exactly(tokens, 1e-7)


# ---- agreement


def test_a_small_agreement() -> None:
    assert len(SMALL.hidden_markov().start) == 11 and len(SMALL.words) == 10
    assert SMALL.tokens_a_sentence == 5.5
    assert SMALL.causal_rate * 5.5 == exactly(3.4442452859) and SMALL.causal_rate == exactly(0.6262264156)
    assert SMALL.smoothing_rate * 5.5 == exactly(2.1672723438) and SMALL.smoothing_rate == exactly(0.3940495171)


def test_a_sentence_that_agrees() -> None:
    words = ["subject1", "filler1.1", "cue", "verb1", "<eos>"]
    costs = SMALL.costs(SMALL.hidden_markov().encode(words))
    assert costs.causal == exactly([0.6931471806, 1.3862943611, 0, 0.1053605157, 0])
    assert costs.causal.sum() == exactly(2.1848020573)
    assert costs.smoothing == exactly([0.1053605157, 1.0986122887, 0, 0.1053605157, 0])
    assert costs.smoothing.sum() == exactly(1.3093333200)
    assert costs.roles.tolist() == list(Role) and costs.distances.tolist() == [0, 0, 0, 1, 0]


def test_a_sentence_that_does_not_agree() -> None:
    words = ["subject1", "filler2.1", "filler2.2", "filler2.1", "cue", "verb2", "<eos>"]
    costs = SMALL.costs(SMALL.hidden_markov().encode(words))
    assert costs.causal.sum() == exactly(7.8477625375) and costs.smoothing.sum() == exactly(6.6846117277)
    assert costs.distances.tolist() == [0, 0, 0, 0, 0, 3, 0]


# tokens a sentence, causal and smoothing nats a token with their exponentials, that of no memory, what a 5-gram lacks
TABLE = {
    "mixed": (22.142857, 0.8670398117, 2.3798555955, 0.6243771733, 1.8670827262, 2.484333, 0.02678819),
    "4": (8, 1.54854316, 4.704611, 1.14845682, 3.153323, 5.298702, 0.06689181),
    "8": (12, 1.78924435, 5.984928, 1.45878506, 4.300731, 6.478724, 0.06069812),
    "16": (20, 1.94164849, 6.970232, 1.70704765, 5.512662, 7.309801, 0.04180738),
    "32": (36, 2.02259204, 7.557890, 1.87255605, 6.504902, 7.760280, 0.02480055),
    "64": (68, 2.05965481, 7.843262, 1.96991393, 7.170059, 7.953764, 0.01355666),
    "128": (132, 2.07452932, 7.960799, 2.02301823, 7.561112, 8.018381, 0.00709503),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_agreement(name: str) -> None:
    source = mixed() if name == "mixed" else far(int(name))
    found = (
        *(source.tokens_a_sentence, source.causal_rate, math.exp(source.causal_rate), source.smoothing_rate),
        *(math.exp(source.smoothing_rate), math.exp(source.memoryless_rate), source.ngram_rate(5) - source.causal_rate),
    )
    for value, figure in zip(found, TABLE[name], strict=True):
        digits = len(str(figure).partition(".")[2])
        assert value == pytest.approx(figure, abs=0.5001 * 10.0**-digits, rel=0)
    assert len(source.words) == (24 if name == "mixed" else 18)
    assert source.information == exactly(0.9513501589)


def test_ngrams_of_mixed() -> None:
    source = mixed()
    lacking = [source.ngram_rate(n) - source.causal_rate for n in (3, 8)]
    assert lacking == exactly([0.04296, 0.02015], 5e-6)
    shares = [lack * source.tokens_a_sentence / source.information for lack in lacking]
    assert shares == exactly([1, 0.469], 5e-4)


@pytest.mark.parametrize(("source", "own", "true"), [(SMALL, 4.7846771295, 2.7510981054),
                                                     (mixed(), 43.4390117014, 17.8124443260)])  # fmt: skip
def test_going_on_from_own_words(source: Agreement, own: float, true: float) -> None:
    assert source.own_words_nats == exactly(own, 1e-9)
    chain = source.hidden_markov()
    assert chain.own_words_nats(chain.words.index("<eos>")) == exactly(own, 1e-9)
    assert source.causal_rate * source.tokens_a_sentence - math.log(source.classes) == exactly(true)


@pytest.mark.parametrize("source", [SMALL, Agreement(3, 0.0, (1, 1.5, 4), 2), Agreement(2, 0.3, (1,), 1)])
def test_own_words_by_the_chain_of_states(source: Agreement) -> None:
    """The words at each place behind the first subject, as the states have them that have not ended before."""
    model, total = source.hidden_markov(), 0.0
    weights = np.eye(len(model.start))[0] @ model.transitions
    while weights.sum() > 1e-17:
        words = weights @ model.emissions
        total += entr(words).sum() - entr(words.sum())
        weights[-1] = 0.0  # the state of <eos>
        weights = weights @ model.transitions
    assert source.own_words_nats == exactly(total, 1e-12)


SHAPES = [SMALL, mixed(), far(8), Agreement(3, 0.0, (1, 1.5), 1), Agreement(2, 0.25, (1,), 3)]


@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 5])
def test_closed_forms_are_what_filter_and_smoother_say(source: Agreement, cut: int) -> None:
    model, text = source.hidden_markov(), source.draw(100, generator())
    text = text[: len(text) - cut]
    costs = source.costs(text)
    assert model.words == source.words
    assert costs.causal == pytest.approx(model.causal_nats(text), abs=1e-10, rel=0)
    assert costs.smoothing == pytest.approx(model.smoothing_nats(text), abs=1e-10, rel=0)
    # A sentence is all that there is to know: anew after each <eos> is no loss, though the mean state would be one.
    assert model.reset_nats(text, len(model.words) - 1) == pytest.approx(costs.causal, abs=1e-10, rel=0)
    assert costs.causal.sum() == pytest.approx(model.backward_nats(text).sum(), rel=1e-12)


@pytest.mark.parametrize("source", SHAPES)
def test_ngrams_forget_the_subjects_of_long_sentences(source: Agreement) -> None:
    model, text = source.hidden_markov(), source.draw(100, generator())
    costs = source.costs(text)
    for n in (2, 3, 5, 8):
        forgotten = (costs.roles == Role.VERB) & (costs.distances > n - 3)
        expected = np.where(forgotten, math.log(source.classes), costs.causal)
        expected[: n - 1] = model.ngram_nats(text, n)[: n - 1]
        assert model.ngram_nats(text, n) == pytest.approx(expected, abs=1e-10, rel=0)


def test_what_is_drawn_costs_what_is_expected() -> None:
    source = mixed()
    text = source.draw(20_000, generator())
    costs = source.costs(text)
    verbs = costs.roles == Role.VERB
    assert verbs.sum() == 20_000 and len(text) / 20_000 == pytest.approx(source.tokens_a_sentence, rel=0.05)
    # The mean distance alone varies by 2 %; nats a token vary less.
    assert costs.causal.mean() == pytest.approx(source.causal_rate, rel=0.01)
    assert costs.smoothing.mean() == pytest.approx(source.smoothing_rate, rel=0.01)
    assert (costs.causal[verbs] < 1).mean() == pytest.approx(0.9, abs=0.007)
    assert (costs.distances[verbs] == 1).mean() == pytest.approx(
        np.mean([1 / mean for mean in source.distances]), abs=0.01
    )
    assert np.array_equal(text, source.draw(20_000, generator())) and not np.array_equal(text[:50], text[50:100])


def test_fillers_of_a_rate_can_be_shuffled() -> None:
    source, chance = mixed(), generator()
    text = source.draw(500, chance)
    costs, shuffled = source.costs(text), text.copy()
    for rate in range(7):
        at = np.flatnonzero((text - source.classes) // source.fillers == rate)
        at = at[costs.roles[at] == Role.FILLER]
        shuffled[at] = chance.permutation(text[at])
    assert not np.array_equal(text, shuffled)
    for before, after in zip(costs, source.costs(shuffled), strict=True):
        assert np.array_equal(before, after)


def test_agreement_of_no_text() -> None:
    assert [len(each) for each in SMALL.costs([])] == [0, 0, 0, 0]
    assert len(SMALL.draw(0, generator())) == 0


# ---- brackets and topics


@pytest.mark.parametrize(("kinds", "depth", "rate"), [(2, 3, 0.8911892321), (8, 3, 1.4853153869), (8, 5, 1.5753345013),
                                                      (32, 5, 2.2054683018), (128, 3, 2.6735676964)])  # fmt: skip
def test_the_rate_of_brackets(kinds: int, depth: int, rate: float) -> None:
    assert Brackets(kinds, depth).causal_rate == exactly(rate)


def test_brackets() -> None:
    source = Brackets(2, 3)
    assert source.visits.tolist() == [2, 2, 2, 1] and source.tokens_a_sentence == 7
    assert source.causal_rate * 7 == exactly(6.2383246250)
    model = source.hidden_markov()
    text = model.sample(30_000, generator())
    whole = text[: np.flatnonzero(text == 4)[-1] + 1]
    assert model.causal_nats(text) == pytest.approx(source.causal_nats(text), abs=1e-12)
    # But for the very last token, where a bracket could open as well.
    assert abs(model.smoothing_nats(whole)[:-1]).max() == 0
    assert len(whole) / (whole == 4).sum() == pytest.approx(7, rel=0.05)
    # The states' shares say the same without chance: <eos> is one of 7 tokens, and the choices cost what they cost.
    assert model.stationary[-1] == exactly(1 / 7)
    choices = entr(model.transitions.toarray()).sum(axis=1)
    assert model.stationary @ choices == exactly(source.causal_rate)


def test_many_brackets_have_a_closed_form_only() -> None:
    source = Brackets(128, 3)
    assert source.causal_nats([5, 133, 256]) == exactly([math.log(256), math.log(2), math.log(2)])
    with pytest.raises(UserError, match=r"128 kinds of brackets, 3 deep, take 4227329 states; 200000 are the most"):
        source.hidden_markov()


@pytest.mark.parametrize("text", [[2], [0, 3], [0, 4], [0, 0, 0, 0], [0, 2, 2]])
def test_what_is_not_nested_is_refused(text: list[int]) -> None:
    source = Brackets(2, 3)
    model, end = (
        source.hidden_markov(),
        f"token {len(text) - 1} of the text, '{source.words[text[-1]]}', cannot stand there",
    )
    for costs in (source.causal_nats, model.causal_nats):
        with pytest.raises(UserError) as error:
            costs(text)
        assert str(error.value).startswith(end)
    with pytest.raises(UserError, match="token 0 of the text is 5; words are 0 to 4"):
        source.causal_nats([5])


# The figures are of a sample of 60,000 tokens, as these here; six million say 2.7491, 2.7672 and 2.7212 of the first.
@pytest.mark.parametrize(
    ("stay", "noise", "carried", "reset", "pseudo", "lacking"),
    [(50, 0.5, 2.7521, 2.7701, 2.7236, {2: 0.0656, 5: 0.0394, 10: 0.0156, 20: 0.0025, 50: 0.00004}),
     (200, 0.6, 2.7969, 2.8144, 2.7875, {2: 0.0336, 5: 0.0284, 10: 0.0211, 20: 0.0121, 50: 0.0018})],
)  # fmt: skip
def test_topics(
    stay: float, noise: float, carried: float, reset: float, pseudo: float, lacking: dict[int, float]
) -> None:
    source = topics(states=4, words=16, stay=stay, noise=noise, end=0.05)
    text = source.sample(60_000, generator())
    causal = source.causal_nats(text)
    assert causal.mean() == pytest.approx(carried, abs=0.004)
    assert source.reset_nats(text, 16).mean() == pytest.approx(reset, abs=0.004)
    assert source.smoothing_nats(text).mean() == pytest.approx(pseudo, abs=0.004)
    assert source.ngram_nats(text, 1).mean() == pytest.approx(2.8325, abs=0.001)
    some = slice(0, 20_000)
    for n, figure in lacking.items():
        assert (source.ngram_nats(text[some], n) - causal[some]).mean() == pytest.approx(figure, abs=0.005)


def test_the_shortest_ngrams_of_topics() -> None:
    """Exactly, over all strings."""
    source = topics(states=4, words=16, stay=50, noise=0.5, end=0.05)
    assert source.rate_bounds(1)[1] == exactly(entr(0.05) + entr(0.95) + 0.95 * math.log(16))
    assert source.rate_bounds(2)[1] == pytest.approx(2.7521 + 0.0656, abs=2e-4)
    assert source.stationary == pytest.approx(np.full(4, 0.25), abs=1e-15)


# ---- any source


@given(sources(), st.integers(1, 6))
@settings(max_examples=10)
def test_all_strings_sum_to_one(source: HiddenMarkov, length: int) -> None:
    total = 0.0
    for text in product(range(len(source.words)), repeat=min(length, 6 if len(source.words) < 3 else 4)):
        weight = by_enumeration(source, text)
        if weight > 0:
            nats = source.causal_nats(text)
            assert math.exp(-nats.sum()) == pytest.approx(weight, rel=1e-10)
            total += math.exp(-nats.sum())
        else:
            with pytest.raises(UserError, match=r"^token \d+ of the text, 'word\d', cannot stand there"):
                source.causal_nats(text)
    assert total == pytest.approx(1, abs=1e-12)


def test_all_strings_of_six_tokens_sum_to_one() -> None:
    for source in (HiddenMarkov(**NOISY), golden_mean(), even_process()):
        texts = [text for text in product(range(2), repeat=6) if by_enumeration(source, text) > 0]
        assert sum(math.exp(-source.causal_nats(text).sum()) for text in texts) == pytest.approx(1, abs=1e-14)
        for text in texts:
            assert source.smoothing_nats(text) == pytest.approx(smoothing_by_enumeration(source, text), abs=1e-12)


@given(sources(), st.integers(0, 40), st.integers(0, 2**31))
@settings(max_examples=40)
def test_any_source(source: HiddenMarkov, length: int, seed: int) -> None:
    text = source.sample(length, generator(seed))
    causal = source.causal_nats(text)
    assert causal.sum() == pytest.approx(source.backward_nats(text).sum(), abs=1e-9)
    short = tuple(text[:6].tolist())
    assert source.smoothing_nats(short) == pytest.approx(smoothing_by_enumeration(source, short), abs=1e-10)
    assert source.stationary @ source.transitions == pytest.approx(source.stationary, abs=1e-12)
    lower, upper = source.rate_bounds(4)
    assert lower <= upper + 1e-12 and upper <= source.rate_bounds(3)[1] + 1e-12
    # An n-gram as long as the text is the filter; one sentence for ever is the text carried on.
    steady = HiddenMarkov(source.stationary, source.transitions, source.emissions, source.words)
    assert steady.ngram_nats(text, length + 1) == pytest.approx(steady.causal_nats(text), abs=1e-9)


@given(sources(), st.integers(0, 2**31))
@settings(max_examples=15)
def test_pieces_of_a_long_text_are_walked_as_one(source: HiddenMarkov, seed: int) -> None:
    """Smoothing goes by pieces of sqrt(T): the plain recursion over all tokens says the same."""
    text = source.sample(150, generator(seed))
    transitions, emissions = source.transitions.toarray(), source.emissions.toarray()
    before, behind = [source.start], [np.ones(len(source.start))]
    for token in text:
        after = before[-1] * emissions[:, token] @ transitions
        before.append(after / after.sum())
    for token in text[:0:-1]:
        earlier = transitions @ (behind[-1] * emissions[:, token])
        behind.append(earlier / earlier.sum())
    words = np.array(before[:-1]) * behind[::-1] @ emissions
    expected = -np.log(words[np.arange(len(text)), text] / words.sum(axis=1))
    assert source.smoothing_nats(text) == pytest.approx(expected, abs=1e-9)


def test_a_sentence_starts_from_what_follows_its_end() -> None:
    """Two states, of which one alone ends sentences and leads to the other: what is known after <eos> is the state."""
    source = HiddenMarkov([1, 0], [[0.5, 0.5], [1, 0]], [[0.5, 0.5, 0], [0.2, 0.3, 0.5]], ["a", "b", "<eos>"])
    assert source.stationary == exactly([2 / 3, 1 / 3])
    text = source.encode(["a", "<eos>", "b", "a"])
    assert source.reset_nats(text, 2) == pytest.approx(source.causal_nats(text), abs=1e-12)
    assert source.reset_nats(text, 2)[2] == pytest.approx(math.log(2), abs=1e-12)
    assert source.ngram_nats(text, 2)[2] == pytest.approx(math.log(2), abs=1e-12)
    assert source.ngram_nats(text, 1)[2] == pytest.approx(-math.log(1 / 3 + 0.1), abs=1e-12)


def test_states_that_are_never_seen_again_have_no_share() -> None:
    source = HiddenMarkov([1, 0, 0], [[0.5, 0.25, 0.25], [0, 0, 1], [0, 1, 0]], np.eye(3), ["a", "b", "c"])
    assert source.stationary == exactly([0, 0.5, 0.5])
    with pytest.raises(UserError, match="'a' is never said again in a text without end"):
        source.reset_nats([0], 0)
    torn = HiddenMarkov([1, 0, 0], [[0, 0.5, 0.5], [0, 1, 0], [0, 0, 1]], np.eye(3), ["a", "b", "c"])
    assert torn.causal_nats([0, 2, 2]) == exactly([0, math.log(2), 0])
    with pytest.raises(UserError, match="transitions: no way leads from state 1 to 2 or back"):
        torn.ngram_nats([0], 2)


def test_a_text_of_nothing_costs_nothing() -> None:
    source = even_process()
    for nats in (source.causal_nats([]), source.smoothing_nats([]), source.backward_nats([]), source.ngram_nats([], 3)):
        assert nats.shape == (0,)
    assert source.sample(0, generator()).shape == (0,) and source.reset_nats([], 0).shape == (0,)


def test_samples_are_those_of_the_source() -> None:
    source = HiddenMarkov(**NOISY)
    text = source.sample(40_000, generator())
    pairs = np.bincount(text[:-1] * 2 + text[1:], minlength=4) / (len(text) - 1)
    assert pairs == pytest.approx([by_enumeration(source, pair) for pair in product(range(2), repeat=2)], abs=0.01)


# ---- what is wrong


def changed(**tables: Any) -> dict[str, Any]:
    return NOISY | tables


WRONG = {
    "start: it sums to 0.9, not to 1": changed(start=[0.5, 0.4]),
    "transitions: row 1 sums to 1.1, not to 1": changed(transitions=[[0.9, 0.1], [0.2, 0.9]]),
    "emissions: row 0 sums to 0, not to 1": changed(emissions=[[0, 0], [0.2, 0.8]]),
    "emissions: row 1 holds -0.2, which is no probability": changed(emissions=[[0.8, 0.2], [-0.2, 1.2]]),
    "transitions: row 0 holds nan, which is no probability": changed(transitions=[[math.nan, 0.1], [0.1, 0.9]]),
    "start: it holds inf, which is no probability": changed(start=[math.inf, 0.5]),
    "transitions: 1 x 2 numbers where 2 x 2 are needed (states x states)": changed(transitions=[[0.9, 0.1]]),
    "emissions: 2 x 2 numbers where 2 x 3 are needed (states x words)": changed(words=["zero", "one", "two"]),
    "transitions: state 1 is never reached from a state in which the text may start": changed(
        start=[1, 0], transitions=[[1, 0], [0.1, 0.9]]
    ),
    "emissions: 'two' has probability 0 in every state; take it out of words": changed(
        words=["zero", "one", "two"], emissions=[[0.8, 0.2, 0], [0.2, 0.8, 0]]
    ),
    "words: 'one' is there 2 times": changed(words=["one", "one"]),
    "words: number 1 is 'a b'; a word is text without white space": changed(words=["a", "a b"]),
    "words: number 0 is '\\ud800', which a file of text cannot hold": changed(words=["\ud800", "b"]),
    "words: number 1 is 'b\\x00', which a file of text cannot hold": changed(words=["b", "b\0"]),
    "words: number 0 is ''; a word is text without white space": changed(words=["", "b"]),
    "a source needs at least one state and one word": changed(start=[]),
}
MALFORMED = {
    "transitions: rows of numbers are needed, all of one length": changed(transitions=[[0.9, 0.1], [1.0]]),
    "emissions: rows of numbers are needed, all of one length": changed(emissions=[["a", 0.2], [0.2, 0.8]]),
    "start: rows of numbers are needed, all of one length": changed(start=[[[0.5, 0.5]]]),
    "words: number 0 is 3; a word is text without white space": changed(words=[3, "b"]),
}


@pytest.mark.parametrize("message", WRONG | MALFORMED)
def test_what_is_no_source_is_refused(message: str) -> None:
    with pytest.raises(UserError) as error:
        HiddenMarkov(**(WRONG | MALFORMED)[message])
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([0, 2], "token 1 of the text is 2; words are 0 to 1"), ([-1], "token 0 of the text is -1; words are 0 to 1")],
)
def test_tokens_that_are_no_words_are_refused(tokens: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HiddenMarkov(**NOISY).causal_nats(tokens)
    with pytest.raises(UserError, match="word 1 of the text, 'two', is none of the 2 words of the source"):
        HiddenMarkov(**NOISY).encode(["one", "two"])


@pytest.mark.parametrize("method", ["causal_nats", "backward_nats", "smoothing_nats"])
def test_a_text_that_cannot_be_is_refused(method: str) -> None:
    with pytest.raises(UserError, match=r"^token 2 of the text, '1', cannot stand there: the source never says so$"):
        getattr(golden_mean(), method)([0, 1, 1] if method != "backward_nats" else [0, 0, 1, 1, 0])


def test_calls_that_make_no_sense() -> None:
    source = HiddenMarkov(**NOISY)
    calls: list[Callable[[], Any]] = [
        lambda: source.causal_nats([0.5]), lambda: source.causal_nats([[0]]), lambda: source.ngram_nats([0], 0),
        lambda: source.reset_nats([0], 2), lambda: source.rate_bounds(0), lambda: SMALL.ngram_rate(1),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError):
            call()
    with pytest.raises(UserError, match="too many strings of 40 tokens to go through"):
        topics(states=4, words=400, stay=5, noise=0.5, end=0.1).rate_bounds(40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "agreement needs 2 classes or more, not 1: one subject tells nothing"),
        ({"noise": 1.0}, "the noise of agreement is a probability below 1, not 1"),
        ({"noise": -0.1}, "the noise of agreement is a probability below 1, not -0.1"),
        ({"noise": math.nan}, "the noise of agreement is a probability below 1, not nan"),
        ({"distances": ()}, "agreement needs the mean of at least one distance"),
        ({"distances": (4, 0.5)}, "a mean distance is 1 or more, not 0.5: there is at least one filler"),
        ({"distances": (math.inf,)}, "a mean distance is 1 or more, not inf: there is at least one filler"),
        ({"fillers": 0}, "agreement needs 1 filler a rate or more, not 0"),
    ],
)
def test_what_is_no_agreement_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        Agreement(**({"classes": 4, "noise": 0.1, "distances": (4,), "fillers": 2} | changes))
    assert str(error.value) == message


BROKEN = [
    ["filler1.1"], ["subject1", "subject1"], ["subject1", "cue"], ["subject1", "filler2.1", "filler1.1"],
    ["subject1", "filler1.1", "filler1.2"], ["subject1", "filler2.1", "verb1"], ["subject1", "filler2.1", "<eos>"],
    ["subject1", "filler1.1", "cue", "cue"], ["subject1", "filler1.1", "cue", "verb1", "subject1"],
]  # fmt: skip


@pytest.mark.parametrize("words", BROKEN)
def test_what_does_not_agree_is_refused(words: list[str]) -> None:
    model = SMALL.hidden_markov()
    message = rf"^token {len(words) - 1} of the text, '{words[-1]}', cannot stand there"
    with pytest.raises(UserError, match=message):
        model.causal_nats(model.encode(words))
    with pytest.raises(UserError, match=message):
        SMALL.costs(model.encode([*words, "subject1"]))


def test_without_noise_every_verb_agrees() -> None:
    strict = Agreement(2, 0.0, (2,), 1)
    with pytest.raises(UserError, match=r"^token 3 of the text, 'verb2', cannot stand there in a text of agreement$"):
        strict.costs([0, 2, 3, 5, 6])
    with pytest.raises(UserError, match="token 0 of the text is 7; words are 0 to 6"):
        strict.costs([7])
    assert strict.information == exactly(math.log(2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Brackets(0, 3), "brackets are of 1 kind or more and 1 deep or more, not 0 and 3"),
        (lambda: Brackets(2, 0), "brackets are of 1 kind or more and 1 deep or more, not 2 and 0"),
        (lambda: topics(states=1, words=4, stay=5, noise=0.5, end=0.1), "4 words for 1 topics do not"),
        (lambda: topics(states=3, words=4, stay=5, noise=0.5, end=0.1), "4 words for 3 topics do not"),
        (lambda: topics(states=2, words=4, stay=0.5, noise=0.5, end=0.1), "1 token or more in the mean, not 0.5"),
        (lambda: topics(states=2, words=4, stay=5, noise=1.5, end=0.1), "not 1.5 and 0.1"),
        (lambda: topics(states=2, words=4, stay=5, noise=0.5, end=0), "not 0.5 and 0"),
    ],
)
def test_what_is_no_sister_is_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build()


# ---- the file


@cache
def without(key: str) -> dict[str, Any]:
    return {name: table for name, table in NOISY.items() if name != key}


def test_a_source_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    path.write_text(json.dumps(NOISY), encoding="utf-8")
    source = read_source(path)
    assert source.causal_nats([0, 0, 1, 0]).sum() == exactly(2.9791505140) and source.words == ["zero", "one"]


FILES = {
    "transitions: row 1 sums to 1.1, not to 1": json.dumps(WRONG["transitions: row 1 sums to 1.1, not to 1"]),
    "transitions: row 0 holds nan, which is no probability": json.dumps(
        WRONG["transitions: row 0 holds nan, which is no probability"]
    ),
    "words: number 0 is 3; a word is text without white space": json.dumps(changed(words=[3, "b"])),
    "the key 'words' is missing; a source has start, transitions, emissions, words": json.dumps(without("words")),
    "unknown key 'noise'; a source has start, transitions, emissions, words": json.dumps(changed(noise=1)),
    "start: a list is needed": json.dumps(changed(start=1)),
    "words: a list is needed": json.dumps(changed(words="ab")),
    "start: number 1 is true, which is no number": json.dumps(changed(start=[0.0, True])),
    "emissions: row 0 is no list of numbers": json.dumps(changed(emissions=[1, 2])),
    'emissions: row 1, number 0 is "1", which is no number': json.dumps(changed(emissions=[[0.8, 0.2], ["1", 0]])),
    "emissions: row 1 holds 1 numbers, row 0 2": json.dumps(changed(emissions=[[0.8, 0.2], [1]])),
    "start: rows of numbers are needed, all of one length": json.dumps(changed(start=[10**400, 0])),
    "transitions: 2 x 0 numbers where 2 x 2 are needed (states x states)": json.dumps(changed(transitions=[[], []])),
    "transitions: 1 x 0 numbers where 2 x 2 are needed (states x states)": json.dumps(changed(transitions=[])),
    "a source needs at least one state and one word": json.dumps(changed(words=[])),
    "the key 'start' is there 2 times": '{"start": [1], "start": [1]}',
    "not a source, which is an object of start, transitions, emissions, words": "[1]",
    "not JSON (Expecting value: line 1 column 1 (char 0))": "",
    "not a source: lists within lists without end": "[" * 200_000,
}


@pytest.mark.parametrize("message", FILES)
def test_a_file_that_holds_no_source_is_refused(message: str, tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    path.write_text(FILES[message], encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_source(path)
    assert str(error.value) == f"{path}: {message}"


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'{"words": ["\xe9"]}')
    for name, message in (("none", "cannot be read"), ("latin", "not JSON ('utf-8' codec"), (".", "cannot be read")):
        with pytest.raises(UserError) as error:
            read_source(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: {message}") and "\n" not in str(error.value)
