"""The gradient from the words whose tag needs their sentence most, to either side, beside plain autograd."""

from typing import Any

import numpy as np
import pytest
from torch.nn.functional import cross_entropy

from tagging_corpora import drawn, encoded, untrained
from unrolled.ground.corpus import Corpus
from unrolled.recurrence.profile import Profile
from unrolled.tasks.tagging.model.batches import Sentences
from unrolled.tasks.tagging.model.task import predictions
from unrolled.tasks.tagging.probes import probes

WORDS = [f"w{number}" for number in range(7)]
ARCHS = {
    "rnn": {"cell": "rnn"},
    "lstm": {},
    "bilstm": {"bidirectional": True},
    "deep": {"bidirectional": True, "layers": 2},
}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    def next_word(words: Any, place: int) -> str:
        return words[place + 1] if place + 1 < len(words) else "none"

    return encoded(*(drawn(count, WORDS, next_word, seed=seed) for seed, count in enumerate((60, 20, 120))))


@pytest.mark.parametrize("arch", ARCHS)
def test_norms_are_those_of_one_batch_with_one_loss_a_column(
    corpus: Corpus, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "BESIDE", 3)
    network, test = untrained(corpus, **ARCHS[arch]), corpus.test
    found = probes.targets(network, test, None, {})["targets"]
    assert set(found["stack"]) == set(network.stacks) and found["distance"].max() == 3
    sentences = Sentences.of(test)
    amid, _ = probes._amid(sentences.borders, np.ones(len(test.tokens), dtype=bool))
    alone = predictions(network, test, sentences._replace(borders=np.arange(len(test.tokens) + 1))).nats
    falls = alone[amid] - predictions(network, test).nats[amid]
    chosen = np.sort(amid[np.argsort(-falls, kind="stable")[:64]])
    cut = sentences._replace(borders=np.stack([chosen - 3, chosen + 4], axis=1).ravel())
    batch, profile = cut.batch(np.arange(0, 2 * len(chosen), 2)), Profile()
    scores = network.output(network.hidden(batch, profiles=dict.fromkeys(network.stacks, profile)))
    cross_entropy(scores[3], batch.tags[3], reduction="sum").backward()
    for name, stack in network.stacks.items():
        for number, layer in enumerate(stack.layers):
            mine = found[(found["stack"] == name) & (found["layer"] == number)]
            norms = profile.norms[layer.name]
            expected = norms[3:] if layer.reverse else norms[:4].flip(0)
            assert mine["norm"].tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-9)


def test_targets_have_as_many_words_on_either_side_as_most_have() -> None:
    borders = np.array([0, 3, 4, 11])
    positions, beside = probes._amid(borders, np.ones(11, dtype=bool))
    assert (positions.tolist(), beside) == ([7], 3)  # fewer than 64 stand amid others: the one farthest from an end
    known = np.ones(11, dtype=bool)
    known[7] = False
    positions, beside = probes._amid(borders, known)
    assert (positions.tolist(), beside) == ([6, 8], 2)
    assert probes._amid(np.arange(5), np.ones(4, dtype=bool))[1] == 0
