"""What is written: prefixes of CTC against all paths, and the beam against all texts."""

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from made_up_speech import FIRST, network_of, random_speech
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.tasks.speech.model.batches import Batch, batch_of, utterances
from unrolled.tasks.speech.model.encoder import Encoded
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.search import Found, _Prefixes, search
from unrolled.tasks.speech.model.task import word_nats

Text = tuple[int, ...]


def texts_of_paths(scores: Tensor) -> dict[Text, float]:
    """ln p of every text that the paths through one sound [T, V + 1] come to."""
    steps, symbols = scores.shape
    found: dict[Text, list[float]] = defaultdict(list)
    for path in itertools.product(range(symbols), repeat=steps):
        text = tuple(word for word, _ in itertools.groupby(path) if word != symbols - 1)
        found[text].append(sum(float(scores[t, word]) for t, word in enumerate(path)))
    return {text: float(np.logaddexp.reduce(each)) for text, each in found.items()}


def beginning(texts: dict[Text, float], prefix: Text) -> float:
    """ln p that a text begins so."""
    every = [score for text, score in texts.items() if text[: len(prefix)] == prefix]
    return float(np.logaddexp.reduce(every)) if every else -math.inf


def scores_of(steps: int, columns: int, words: int, seed: int) -> Tensor:
    """As a CTC head gives them, [T, B, FIRST + words + 1]; neither <unk> nor <eos> is ever heard."""
    drawn = 2 * torch.randn(steps, columns, FIRST + words + 1, generator=torch.Generator().manual_seed(seed)).double()
    drawn[..., :FIRST] = -math.inf
    return drawn.log_softmax(-1)


# ---- prefixes --------------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(steps=st.integers(1, 5), words=st.integers(1, 3), seed=st.integers(0, 999), choice=st.randoms())
def test_a_prefix_is_as_likely_as_all_paths_that_begin_with_it(steps: int, words: int, seed: int, choice: Any) -> None:
    """Of three sounds of other lengths, and along a text drawn word by word, its words repeated too."""
    scores, lengths = scores_of(steps, 3, words, seed), [steps, max(1, steps - 2), 1]
    texts = [texts_of_paths(scores[:length, column]) for column, length in enumerate(lengths)]
    scores[lengths[1] :, 1] = 0.0  # whatever stands in the padding
    prefixes, written = _Prefixes(scores, torch.tensor(lengths)), [(), (), ()]
    sounds = [0, 1, 2]
    for _ in range(steps + 1):
        found = prefixes.extended()
        for row, sound in enumerate(sounds):
            assert found[row, END_ID].item() == pytest.approx(texts[sound].get(written[row], -math.inf), abs=1e-9)
            for word in range(FIRST, FIRST + words):
                expected = beginning(texts[sound], (*written[row], word))
                assert found[row, word].item() == pytest.approx(expected, abs=1e-9)
            whole = float(found[row, [END_ID, *range(FIRST, FIRST + words)]].logsumexp(0))
            assert whole == pytest.approx(beginning(texts[sound], written[row]), abs=1e-9)
        rows = [choice.randrange(len(sounds)) for _ in range(4)]
        chosen = [choice.randrange(FIRST, FIRST + words) for _ in rows]
        prefixes.keep(torch.tensor(rows), torch.tensor(chosen))
        written = [(*written[row], word) for row, word in zip(rows, chosen, strict=True)]
        sounds = [sounds[row] for row in rows]


# ---- the beam --------------------------------------------------------------------------------------------------------

WORDS, LONGEST = 3, 4
CONDITIONINGS = ("none", "initial_state", "attention")


def heard(conditioning: str = "attention", seed: int = 2, **settings: Any) -> tuple[Network, Encoded, Batch]:
    """An untrained network, whose words are far from equally likely, and three sounds of 1 to 4 steps that it hears."""
    own = {"ctc": conditioning != "none", "frames_per_step": 1} | settings
    network = network_of(FIRST + WORDS, conditioning=conditioning, seed=seed, **own)
    with torch.no_grad():
        network.language_model.output_weight.mul_(150)
        network.language_model.output_bias[:FIRST] = -8.0
        if network.ctc is not None:
            network.ctc.weight.mul_(4)
    batch = batch_of(utterances(random_speech(3, (1, 2), (1, LONGEST), types=FIRST + WORDS, seed=seed)))
    with torch.inference_mode():
        return network, network.encode(batch.features, batch.frames), batch


@torch.inference_mode()
def best_of_all(network: Network, encoded: Encoded, share: float) -> tuple[list[int], float]:
    """By scoring every text that is no longer than the one sound."""
    paths = texts_of_paths(network.ctc_scores(encoded)[:, 0].double())
    scores: dict[Text, float] = {}
    for length in range(int(encoded.lengths[0]) + 1):
        texts = list(itertools.product(range(FIRST, FIRST + WORDS), repeat=length))
        targets = torch.tensor([[*text, END_ID] for text in texts]).t()
        lengths = encoded.lengths.repeat(len(texts))
        repeated = Encoded(encoded.outputs.repeat(1, len(texts), 1), lengths, encoded.ends.repeat(len(texts), 1))
        batch = Batch(targets, lengths, targets, torch.full_like(lengths, length + 1))
        for text, nats in zip(texts, word_nats(network, repeated, batch).double().sum(0).tolist(), strict=True):
            of_ctc = share * paths.get(text, -math.inf) if share else 0.0
            scores[text] = of_ctc - (1 - share) * nats
    best = max(scores, key=lambda text: scores[text])
    return list(best), scores[best]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", [2, 5])
def test_a_wide_beam_finds_the_best_of_all_texts(share: float, seed: int) -> None:
    network, encoded, _ = heard(seed=seed)
    found = search(network, encoded, beam=WORDS ** (LONGEST + 1), ctc_share=share)
    narrow = search(network, encoded, beam=1, ctc_share=share)
    for column, each in enumerate(found):
        words, score = best_of_all(network, encoded.column(column), share)
        assert each.words == words and each.ended
        assert each.score == pytest.approx(score, abs=1e-5)
        assert not narrow[column].ended or narrow[column].score <= score + 1e-5
    assert any(each.words for each in found)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_a_beam_of_one_takes_the_likeliest_word_each_time(conditioning: str, seed: int) -> None:
    network, encoded, batch = heard(conditioning, seed)
    for column, found in enumerate(search(network, encoded)):
        alone, words, score = encoded.column(column), [END_ID], 0.0
        with torch.inference_mode():
            while True:
                hidden, _ = network.write(torch.tensor(words)[:, None], network.begin(alone))
                scores = network.logits(hidden[-1, 0]).double().log_softmax(-1)
                scores[UNKNOWN_ID] = -math.inf
                word = int(scores.argmax())
                if word == END_ID or len(words) > int(batch.frames[column]):
                    break
                words, score = [*words, word], score + float(scores[word])
        ended = word == END_ID
        assert (found.words, found.ended) == (words[1:], ended)
        assert found.score == pytest.approx(score + (float(scores[END_ID]) if ended else 0.0), abs=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("beam", [1, 3])
def test_what_is_written_does_not_hang_on_what_else_is_read(conditioning: str, beam: int) -> None:
    network, encoded, _ = heard(conditioning)
    for share in (0.0, 0.5) if network.ctc is not None else (0.0,):
        together = search(network, encoded, beam=beam, ctc_share=share)
        for column, found in enumerate(together):
            (alone,) = search(network, encoded.column(column), beam=beam, ctc_share=share)
            assert (alone.words, alone.ended) == (found.words, found.ended)
            assert alone.score == pytest.approx(found.score, abs=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_a_text_that_never_ends_is_cut_and_said_to_be(conditioning: str) -> None:
    network, encoded, batch = heard(conditioning)
    with torch.no_grad():
        network.language_model.output_bias[END_ID] = -1e4
    for beam in (1, 3):
        for found, frames in zip(search(network, encoded, beam=beam), batch.frames.tolist(), strict=True):
            assert not found.ended and len(found.words) == frames and math.isfinite(found.score)
    if network.ctc is not None:  # which alone says where the sound is over
        assert all(found.ended for found in search(network, encoded, beam=3, ctc_share=1.0))


def test_the_unknown_word_is_never_written() -> None:
    network, encoded, _ = heard()
    assert network.ctc is not None
    with torch.no_grad():
        network.language_model.output_bias[UNKNOWN_ID] = 1e3
        network.ctc.bias[UNKNOWN_ID] = 5.0
    for beam, share in itertools.product((1, 4), (0.0, 0.5, 1.0)):
        for found in search(network, encoded, beam=beam, ctc_share=share):
            assert UNKNOWN_ID not in found.words


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_a_network_that_has_diverged_writes_nothing(conditioning: str) -> None:
    network, encoded, _ = heard(conditioning)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(math.nan)
    for share in (0.0, 0.5) if network.ctc is not None else (0.0,):
        assert search(network, encoded, beam=2, ctc_share=share) == [Found([], -math.inf, False)] * 3
