"""What speech is scored by: errors counted by hand and by others, where a word is heard, and whose audio is read."""

import math
from typing import Any

import jiwer
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up_speech import FIRST, corpus_of, network_of, random_speech, said, speech_of, split_of
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.speech.evaluation import alignment, measures
from unrolled.tasks.speech.evaluation.alignment import gradient_of, shares, within
from unrolled.tasks.speech.evaluation.baselines import isolated
from unrolled.tasks.speech.evaluation.reading import forced, found_in
from unrolled.tasks.speech.model.batches import batch_of, utterance, utterances
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.search import search
from unrolled.tasks.speech.model.task import word_nats
from unrolled.tasks.speech.model.transcripts import errors, texts_of, word_of_tokens, words_of

WORDS = st.lists(st.sampled_from("abc"), max_size=6)

# ---- isolated words --------------------------------------------------------------------------------------------------


def test_where_nobody_knows_where_words_are_none_is_classified_and_nothing_counted() -> None:
    split = random_speech(4, (1, 3), (12, 20))
    found = isolated(corpus_of(split, split, split, 6), {"seed": 1})
    assert np.isnan(found.units["word_error_rate"]).all() and not found.measures


def test_where_one_word_alone_is_taught_it_is_heard_everywhere() -> None:
    train, test = speech_of([[FIRST], [FIRST, FIRST]], 4), speech_of([[FIRST, FIRST + 1]], 4)
    found = isolated(corpus_of(train, train, test, 6), {"seed": 1})
    assert found.units["word_error_rate"].tolist() == [0, 1]


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "hypothesis", "of_words", "counts"),
    [
        ("a b c", "a b c", [0, 0, 0], (0, 0, 0)),
        ("a b c", "", [1, 1, 1], (0, 3, 0)),
        ("a b c", "a c", [0, 1, 0], (0, 1, 0)),
        ("a b c", "a x c", [0, 1, 0], (1, 0, 0)),
        ("a b c", "x x a b c", [2, 0, 0], (0, 0, 2)),
        ("a b c", "a x b c", [1, 0, 0], (0, 0, 1)),
        ("a b c", "a b c x x", [0, 0, 2], (0, 0, 2)),
        ("a b", "x a y y", [1, 3], None),
        ("a", "b c d e", [4], (1, 0, 3)),
    ],
)
def test_errors_fall_to_the_word_that_they_are_made_at(
    reference: str, hypothesis: str, of_words: list[int], counts: tuple[int, int, int] | None
) -> None:
    found = errors([reference.split()], [hypothesis.split()])
    if counts is None:  # more than one alignment is the best
        assert found.of_words.sum() == 3 and len(found.of_words) == 2
    else:
        assert found.of_words.tolist() == of_words
        assert (found.substitutions, found.deletions, found.insertions) == counts
    assert found.wrong_texts.tolist() == [reference != hypothesis]


def distance(one: list[str], other: list[str]) -> int:
    """Levenshtein's, by his recursion over the places of both."""
    row = list(range(len(other) + 1))
    for place, word in enumerate(one, 1):
        left, row[0] = row[0], place
        for index, heard in enumerate(other, 1):
            left, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, left + (word != heard))
    return row[-1]


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=4))
def test_the_sum_of_errors_is_the_distance_and_jiwers_rate(pairs: list[tuple[list[str], list[str]]]) -> None:
    references, hypotheses = ([pair[side] for pair in pairs] for side in (0, 1))
    found, words = errors(references, hypotheses), sum(map(len, references))
    assert len(found.of_words) == words and len(found.wrong_texts) == len(pairs)
    assert found.of_words.sum() == sum(distance(*pair) for pair in pairs)
    assert found.of_words.sum() == found.substitutions + found.deletions + found.insertions
    assert found.of_words.mean() == pytest.approx(
        jiwer.wer([" ".join(each) for each in references], [" ".join(each) for each in hypotheses])
    )
    assert found.wrong_texts.tolist() == [one != other for one, other in pairs]


def test_a_reference_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="reference 2 holds no word"):
        errors([["a"], []], [["a"], ["b"]])


def test_letters_are_spelled_into_words() -> None:
    space = 5
    assert words_of([2, 3], -1) == ["2", "3"]
    assert words_of([2, 3, 5, 4], space) == ["2-3", "4"]
    assert words_of([5, 5, 2, 5, 5, 3, 5], space) == ["2", "3"]
    assert words_of([], space) == words_of([5], space) == words_of([], -1) == []
    assert words_of([2, 13], space) != words_of([21, 3], space)
    tokens = np.array([2, 3, 5, 4, END_ID, 2, 5, 5, 3, END_ID])
    assert word_of_tokens(tokens, space).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert word_of_tokens(np.array([2, 3, END_ID, 2, END_ID]), -1).tolist() == [0, 1, 1, 2, 2]


def test_who_writes_the_reference_makes_no_error() -> None:
    split = random_speech(20, (1, 4), (9, 20))
    read = measures.reading(split, texts_of(split))
    assert read.words == len(split.tokens) - 20
    assert measures.units_of(split, read)["word_error_rate"].sum() == 0
    found = measures.figures(split, read)
    assert found["text_error_rate"] == found["substitutions"] == found["deletions"] == found["insertions"] == 0
    assert math.isnan(found["perplexity"])
    empty = measures.reading(split, [[]] * 20)
    assert measures.units_of(split, empty)["word_error_rate"].tolist() == [1] * read.words
    assert measures.figures(split, empty)["deletions"] == 1 and measures.figures(split, empty)["text_error_rate"] == 1
    assert [place for text in texts_of(split) for place in range(len(text))] == read.place_of_words.tolist()


def test_units_hold_all_nats_and_each_words_own_mistake() -> None:
    split, network = random_speech(12, (1, 4), (9, 30)), network_of()
    read = measures.reading(split, texts_of(split), forced(network, split))
    units = measures.units_of(split, read)
    assert read.forced is not None
    assert units["cross_entropy"].sum() == pytest.approx(read.forced.nats.sum())
    assert np.exp(read.forced.nats.mean()) == pytest.approx(measures.figures(split, read)["perplexity"])
    for index, each in enumerate(utterances(split)):
        alone = batch_of([each])
        with torch.inference_mode():
            encoded = network.encode(alone.features, alone.frames)
            nats = word_nats(network, encoded, alone)[:, 0].double().numpy()
            hidden, _ = network.write(
                torch.cat([torch.ones_like(alone.targets[:1]), alone.targets[:-1]]), network.begin(encoded)
            )
            likeliest = network.logits(hidden)[:, 0].argmax(-1).numpy()
        mine = read.text_of_words == index
        expected = [*nats[:-2], nats[-2] + nats[-1]]
        np.testing.assert_allclose(units["cross_entropy"][mine], expected, atol=1e-5)
        assert units["forced_error"][mine].tolist() == (likeliest != each.words)[:-1].tolist()


# ---- where a word is heard -------------------------------------------------------------------------------------------


def test_shares_of_an_attention_made_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time steps of two frames, the second sound's last of one; of gradients that are the same at every frame."""
    split = split_of([np.zeros((6, 4)), np.zeros((5, 4))], [[2, 3], [4]], spoken=[[(0, 2), (4, 5)], [(3, 4)]])
    weights = np.zeros((3, 3, 2))  # [words and end, steps, sounds]
    weights[0, :, 0], weights[1, :, 0], weights[0, :, 1] = [0.5, 0.5, 0.0], [0.0, 0.25, 0.75], [0.0, 0.5, 0.5]
    monkeypatch.setattr(alignment, "attention_of", lambda *_: weights)
    monkeypatch.setattr(alignment, "gradient_of", lambda *_: np.ones((3, 6, 2)))
    found = shares(network_of(frames_per_step=2), split)
    assert found.attention == pytest.approx(np.mean([1.5 / 2, 1.5 / 2, 1 / 1.5]))
    assert found.gradient == pytest.approx(np.mean([3 / 6, 2 / 6, 2 / 5]))
    assert within(utterance(split, 0)).astype(int).tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]]


def test_shares_are_of_words_whose_places_are_known() -> None:
    known, unknown = speech_of([[2, 3], [4]], 4), random_speech(3, (1, 2), (9, 20))
    for network in (network_of(), network_of(conditioning="initial_state")):
        found = shares(network, known)
        assert 0 < found.gradient <= 1 and math.isnan(found.attention) == (network.attention is None)
        assert all(map(math.isnan, shares(network, unknown)))
    assert all(map(math.isnan, shares(network_of(conditioning="none", ctc=False), known)))
    diverged = network_of()
    with torch.no_grad():
        for parameter in diverged.parameters():
            parameter.fill_(math.nan)
    assert all(map(math.isnan, shares(diverged, known))) and forced(diverged, known).wrong.all()
    sound, places = said([2, 3], 4)
    assert [sound[first : last + 1].any(0).nonzero()[0].tolist() for first, last in places] == [[0], [1]]


@pytest.mark.parametrize("conditioning", ["initial_state", "attention"])
def test_a_words_gradient_is_autograds_of_its_own_loss(conditioning: str) -> None:
    network, every = network_of(conditioning=conditioning), utterances(random_speech(4, (1, 3), (9, 20)))
    batch = batch_of(every)
    found = gradient_of(network, batch)
    assert found.shape == (len(batch.targets), *batch.features.shape[:2])
    for column, each in enumerate(every):
        for place in range(len(each.words)):
            alone = batch_of([each])
            features = alone.features.requires_grad_()
            nats = word_nats(network, network.encode(features, alone.frames), alone)[place, 0]
            (slope,) = torch.autograd.grad(nats, features)
            expected = [float(slope[frame, 0].square().sum().sqrt()) for frame in range(len(each.sound))]
            np.testing.assert_allclose(found[place, : len(each.sound), column], expected, atol=1e-6)
            behind = 2 * math.ceil(len(each.sound) / 2)  # the last time step may be half beyond the end
            assert (found[place, behind:, column] == 0).all()


# ---- whose audio is read ---------------------------------------------------------------------------------------------


def test_the_wrong_audio_is_never_a_texts_own() -> None:
    """Against the nats of every text with every audio; more utterances than are read at a time."""
    split, network = random_speech(35, (5, 6), (9, 14)), network_of()
    every = utterances(split)
    table = torch.zeros(35, 35)
    with torch.inference_mode():
        for text, each in enumerate(every):
            batch = batch_of([each._replace(sound=other.sound) for other in every])
            table[text] = word_nats(network, network.encode(batch.features, batch.frames), batch).sum(0)
    found = forced(network, split, wrong_audio=True).nats
    nats = torch.tensor([part.sum() for part in np.split(found, split.documents[1:])])
    heard = (table.double() - nats[:, None]).abs().argmin(1)
    torch.testing.assert_close(table.double()[torch.arange(35), heard], nats, atol=1e-5, rtol=0)
    assert not (heard == torch.arange(35)).any() and sorted(heard.tolist()) == list(range(35))
    own = torch.tensor([part.sum() for part in np.split(forced(network, split).nats, split.documents[1:])])
    torch.testing.assert_close(table.double().diagonal(), own, atol=1e-5, rtol=0)


def test_alone_no_audio_is_wrong_and_told_nothing_every_audio_is_the_same() -> None:
    assert np.isnan(forced(network_of(), random_speech(1, (1, 2), (9, 9)), wrong_audio=True).nats).all()
    split, network = random_speech(5, (5, 6), (9, 14)), network_of(conditioning="none", ctc=False)
    own, other = (forced(network, split, wrong_audio=wrong).nats for wrong in (False, True))
    np.testing.assert_array_equal(own, other)


def test_the_audio_of_the_same_text_is_not_wrong() -> None:
    """Of texts a, a, b by the length of their sounds, the second would be read with the first's."""
    split = split_of([np.zeros((length, 4)) for length in (9, 10, 11)], [[2], [2], [3]])
    found = forced(network_of(), split, wrong_audio=True).nats
    assert np.isnan(found).tolist() == [False, False, True, True, False, False]


def test_what_is_found_stands_in_the_order_of_the_split() -> None:
    split = random_speech(40, (1, 2), (9, 20))
    for network in (network_of(), network_of(conditioning="none", ctc=False)):  # which has no CTC to ask
        found: list[Any] = found_in(network, split, beam=2, ctc_share=0.5)
        for index in (0, 17, 39):
            assert found[index].words == alone(network, split, index)


def alone(network: Network, split: Any, index: int) -> list[int]:
    batch = batch_of([utterance(split, index)])
    share = 0.5 if network.ctc is not None else 0.0
    with torch.inference_mode():
        return search(network, network.encode(batch.features, batch.frames), beam=2, ctc_share=share)[0].words
