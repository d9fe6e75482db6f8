import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.ground.evaluation import Resampling
from unrolled.ground.special_tokens import END_ID
from unrolled.probing.context import Given, context_needed
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions
from unrolled.tasks.language_model.probes.context import context_nats

V = 11
TOKENS = np.random.default_rng(0).integers(0, V, 300).astype(np.uint16)


def network(*, bidirectional: bool = False, cell: str = "lstm") -> Network:
    return Network(V, cell=cell, bidirectional=bidirectional, embedding=6, hidden=6, layers=2, tied=True, dropout=0.5)


@settings(max_examples=15)
@given(st.lists(st.integers(12, 299), min_size=1, max_size=6, unique=True), st.integers(1, 12), st.booleans())
def test_it_is_the_score_of_a_text_that_begins_there(places: list[int], context: int, bidirectional: bool) -> None:
    """One token at a time: the text from ``context`` tokens before each position on, scored as any text is."""
    trained = network(bidirectional=bidirectional)
    found = context_nats(trained, TOKENS, np.array(places), [context])[context]
    for place, nats in zip(places, found.tolist(), strict=True):
        # A text's first token is predicted from <eos>; here the state starts from the token itself.
        state, total = trained.initial_state(1).forward, None
        for token in TOKENS[place - context : place]:
            read, state = trained.read("forward", torch.tensor([[int(token)]]), state)
            total = torch.log_softmax(trained.logits(read[0, 0]), -1)[int(TOKENS[place])]
        assert nats == pytest.approx(-total.item(), rel=1e-5)


def test_all_of_the_context_is_what_evaluation_gives() -> None:
    """The whole text with <eos> before it, seen from its last token."""
    trained = network()
    text = np.concatenate([[END_ID], TOKENS]).astype(np.uint16)
    whole = torch.cat([each.nats("forward") for each in predictions(trained, TOKENS, window=37)])
    found = context_nats(trained, text, np.array([len(TOKENS)]), [len(TOKENS)])[len(TOKENS)]
    assert found.item() == pytest.approx(whole[-1].item(), rel=1e-5)


def test_more_positions_than_columns_keep_their_order() -> None:
    places = np.concatenate([np.arange(20, 300), np.arange(20, 300)[::-1]])
    found = context_nats(network(), TOKENS, places, [3])[3]
    torch.testing.assert_close(found[:280], found[280:].flip(0))


def test_a_context_that_the_text_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="positions must be 20 to 299"):
        context_nats(network(), TOKENS, np.array([19]), [5, 20])
    with pytest.raises(ValueError, match="positions must be 5 to 299"):
        context_nats(network(), TOKENS, np.array([300]), [5])


def test_an_arm_that_exploded_needs_no_context_and_has_none() -> None:
    """Its nats are alike whatever it is given, and no perplexity comes of them."""
    resampling, documents = Resampling(block=10, samples=20, confidence=0.95, seed=1), np.arange(50)
    for nats, expected in (
        ([1e17] * 3, math.nan),
        ([4.5, 4.02, 4.0], 5.0),
        ([4.0] * 3, 1.0),
        ([9.0, 8.0, 4.0], math.inf),
    ):
        given = Given(
            {each: np.full(50, of) for each, of in zip((1.0, 5.0, math.inf), nats, strict=True)}, documents, documents
        )
        needed, interval = context_needed(given, SCORES[0], resampling)
        assert [needed, *interval] == pytest.approx([expected] * 3, nan_ok=True)


def test_a_network_that_exploded_predicts_nothing() -> None:
    trained = network()
    with torch.no_grad():
        trained.output_bias.fill_(math.nan)
    assert context_nats(trained, TOKENS, np.array([50]), [5])[5].tolist() == [math.inf]
