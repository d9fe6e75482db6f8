"""Sentences of the network's own, rated by a model of the text: the model, the gradient in expectation, its end."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from examples import task_of
from miniature import arm_of, split_of
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.ngrams import NGrams
from unrolled.tasks.language_model.model.reading import with_sentences_of_its_own
from unrolled.tasks.language_model.model.task import Task
from unrolled.training.fit import steps
from unrolled.training.training import Training

TEXT = np.array([2, 3, END_ID, 2, 2, 3, END_ID, END_ID, 3, 2, END_ID, 2, 3], dtype=np.uint16)
V = 5  # of which 0 and 4 stand nowhere


def by_sentence(**changes: Any) -> Task:
    return task_of(**{"reset": "sentence", "seed": 1, "feeding": "reinforce"} | changes)


def witten_bell(word: int, before: list[int], counted: list[tuple[list[int], int]]) -> float:
    """The definition written out; ``before``: the context, ``counted``: each context of the text with its word."""
    shorter = 1 / V if not before else witten_bell(word, before[1:], counted)
    after = Counter(each for context, each in counted if context[len(context) - len(before) :] == before)
    return (after[word] + len(after) * shorter) / (after.total() + len(after)) if after else shorter


@pytest.mark.parametrize("order", [1, 2, 3, 5, 9])
def test_the_rating_model_is_its_definition_and_sums_to_one(order: int) -> None:
    padded, counted, context = [END_ID] * (order - 1), [], [END_ID] * (order - 1)
    for word in TEXT.tolist():
        counted.append((context, word))
        context = padded if word == END_ID else [*context, word][1:] if order > 1 else []
    model = NGrams(TEXT, order, V)
    for sentence in ([2, 3], [2, 2, 3], [0, 2], [4, 4, 4, 3], [3, 2, 2]):
        columns = np.array([[END_ID] * V, *([word] * V for word in sentence), list(range(V))])
        found = model.log_probabilities(columns)
        assert np.exp(found[-1]).sum() == pytest.approx(1)
        for t, word in enumerate([*sentence, V - 1]):
            before = (padded + sentence[:t])[len(padded + sentence[:t]) - order + 1 :]
            assert found[t, -1] == pytest.approx(math.log(witten_bell(word, before, counted))), (sentence, t)


def small(**changes: Any) -> Network:
    settings: dict[str, Any] = {"cell": "rnn", "bidirectional": False, "embedding": 3, "hidden": 3, "layers": 1}
    settings |= {"tied": False, "initial_range": 1.0} | changes
    return Network(V, **settings, generator=torch.Generator().manual_seed(2)).double()


def expected_loss(net: Network, rewards: NGrams, entropy_weight: float) -> Tensor:
    """Of one sentence that begins with the word 2, three places at most: over all ends that it may find."""
    total = torch.zeros((), dtype=torch.float64)
    for second in range(V):
        for third in range(V) if second != END_ID else (0,):
            read = torch.tensor([END_ID, 2, second, third])[:, None]
            hidden, _ = net.read("forward", read[:3], net.initial_state(1).forward)
            log_q = net.logits(hidden[:, 0]).log_softmax(-1).gather(1, read[1:])[:, 0]
            log_p = torch.from_numpy(rewards.log_probabilities(read.numpy())[:, 0])
            places = [1] if second == END_ID else [1, 2]
            worth = log_p[places] - entropy_weight * log_q[places]
            total = total - log_q[places].sum().exp() * worth.sum()
    return total - log_q[0]


@pytest.mark.parametrize("entropy_weight", [0.0, 1.0])
def test_the_gradient_is_in_the_mean_that_of_the_expected_worth(entropy_weight: float) -> None:
    columns = 20000
    net, task = small(), by_sentence(columns=columns, entropy_weight=entropy_weight, reward_order=2)
    text = split_of(np.tile(np.array([2, 3, END_ID], dtype=np.uint16), columns))
    (batch,) = task.batches(text)
    random = torch.Generator().manual_seed(1)
    loss, terms, _ = task.loss(net, batch, task.entry(net, batch, ()), generator=random)
    assert 2 * columns < terms < 3 * columns
    exact = expected_loss(net, NGrams(text.tokens, 2, V), entropy_weight)
    assert loss.item() / columns == pytest.approx(exact.item(), abs=0.05)
    parameters = list(net.parameters())
    ours, wanted = torch.autograd.grad(loss / columns, parameters), torch.autograd.grad(exact, parameters)
    size = torch.cat([each.flatten() for each in wanted]).abs().max().item()
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.04 * size)


def test_what_was_drawn_is_as_likely_where_it_is_scored_under_dropout_too() -> None:
    net = small(cell="lstm", dropout=0.3, weight_dropout=0.2, embedding_dropout=0.2)
    task, random = by_sentence(prompt=2, columns=5, reward_order=2), torch.Generator().manual_seed(4)
    text = split_of(np.array([2, 3, 4, 3, 2, END_ID] * 5 + [2, END_ID], dtype=np.uint16))
    rewards, batches = NGrams(text.tokens, 2, V), list(task.batches(text))
    batch = max(batches, key=task.tokens)
    entry = task.entry(net, batch, ())
    reading = with_sentences_of_its_own(task.feeding, rewards, net, batch, entry, random)
    read, factors = reading.batch, reading.factors
    assert read.lengths is not None and factors is not None
    assert torch.equal(read.window.target[:2], batch.window.target[:2]) and (factors[:2] == 1).all()
    for column, length in enumerate(read.lengths.tolist()):
        said = read.window.target[2:length, column].tolist()
        assert END_ID not in said[:-1] and (said[-1:] in ([], [END_ID]) or length == len(factors))
    hidden, _ = net.read("forward", read.window.left, entry.forward, reading.masks, lengths=read.lengths)
    log_q = net.logits(hidden).log_softmax(-1).gather(2, read.window.target[..., None])[..., 0]
    log_p = rewards.log_probabilities(torch.cat([read.window.left, read.window.target[-1:]]).numpy())
    own = torch.zeros_like(factors, dtype=torch.bool)
    for column, length in enumerate(read.lengths.tolist()):
        own[2:length, column] = True
    worth = (torch.from_numpy(log_p) - log_q)[own].sum()
    loss, _, _ = task.loss(net, batch, entry, generator=torch.Generator().manual_seed(4))
    assert loss.item() == pytest.approx(-log_q[:2].sum().item() - worth.item(), rel=1e-9)


def test_validation_gives_what_its_sentences_are_worth_without_dropout_the_same_each_time() -> None:
    net = small(cell="lstm", dropout=0.3, weight_dropout=0.2, embedding_dropout=0.2)
    task = by_sentence(columns=5, reward_order=2, horizon=1, teacher_epochs=3)  # of training alone
    count = 3000
    text = split_of(np.tile(np.array([2, 3, END_ID], dtype=np.uint16), count))
    before = task.validate(net, text)
    assert list(before) == ["loss", "teacher_loss", "forward_perplexity"] and before["loss"] == before["teacher_loss"]
    next(iter(task.batches(text)))
    found = task.validate(net, text)
    assert found == task.validate(net, text) and found["teacher_loss"] == before["teacher_loss"]
    assert found["loss"].terms == len(text.tokens)
    exact = expected_loss(net, NGrams(text.tokens, 2, V), task.feeding.entropy_weight)
    assert found["loss"].sum / count == pytest.approx(exact.item(), abs=0.12)


def markov(sentences: int) -> np.ndarray:
    """Sentences of the words 2 and 3 that mostly follow themselves."""
    random, text = np.random.default_rng(3), []
    for _ in range(sentences):
        word = int(random.integers(2, 4))
        while True:
            text.append(word)
            if random.random() < 0.3:
                break
            word = word if random.random() < 0.8 else 5 - word
        text.append(END_ID)
    return np.array(text, dtype=np.uint16)


@pytest.mark.parametrize("entropy_weight", [1.0, 0.0])
def test_it_comes_to_say_what_the_rating_model_says_or_only_the_likeliest(entropy_weight: float) -> None:
    """Where KL(q || p) is 0, if its own entropy counts, and else where q is one word; from an untrained network."""
    arm = arm_of(
        "lstm-clipped-1", cell="gru", embedding=8, hidden=12, tied=False, reset="sentence", feeding="reinforce",
        reward_order=2, entropy_weight=entropy_weight, optimiser="adam", learning_rate=0.02, columns=300,
        clip_norm=None, initial_range=0.5, epochs=10,
    )  # fmt: skip
    training = Training.of(arm, {"vocabulary": V})
    text = split_of(markov(3000))
    for epoch in range(10):
        list(steps(training, text))
        training.epoch, training.position, training.profiles, training.profiled = epoch + 1, 0, {}, 0
    model = training.model
    assert isinstance(model, Network)
    hidden, _ = model.read("forward", torch.tensor([[END_ID], [2]]), model.initial_state(1).forward)
    after_two = model.logits(hidden[1, 0]).softmax(-1).tolist()
    if entropy_weight:
        p = np.exp(NGrams(text.tokens, 2, V).log_probabilities(np.array([[END_ID] * V, [2] * V, list(range(V))]))[1])
        assert after_two == pytest.approx(p.tolist(), abs=0.05)
    else:
        assert max(after_two) > 0.95
