"""A text whose sentences are scored each as if it stood alone."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.evaluation.reset import reset_nats
from unrolled.tasks.language_model.model.network import Network

V = 13


def network(*, bidirectional: bool) -> Network:
    return Network(
        V, cell="lstm", bidirectional=bidirectional, embedding=6, hidden=6, layers=2, tied=False,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@pytest.mark.parametrize("bidirectional", [False, True])
def test_started_anew_each_sentence_is_scored_as_if_it_stood_alone(bidirectional: bool) -> None:
    net = network(bidirectional=bidirectional)
    text = np.random.default_rng(4).integers(0, V, 211).astype(np.uint16)  # ends within a sentence
    expected, first = [], 0
    for end in [*(np.flatnonzero(text == END_ID) + 1).tolist(), len(text)]:
        sentence = torch.from_numpy(text[first:end].astype(np.int64))
        left = torch.cat([torch.tensor([END_ID]), sentence[:-1]])[: len(sentence), None]
        hidden, _ = net.read("forward", left, net.initial_state(1).forward) if len(left) else (torch.empty(0, 1, 6), ())
        expected.append(cross_entropy(net.logits(hidden[:, 0]), sentence, reduction="none"))
        first = end
    for columns, window in ((32, 16), (1, 1), (3, 100)):
        nats = reset_nats(net, text, columns=columns, window=window)
        torch.testing.assert_close(nats, torch.cat(expected).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", [[END_ID] * 5, [3, 4, 5], [3, END_ID]])
def test_texts_without_a_sentences_end_or_of_nothing_else(text: list[int]) -> None:
    assert len(reset_nats(network(bidirectional=False), np.array(text, dtype=np.uint16))) == len(text)
