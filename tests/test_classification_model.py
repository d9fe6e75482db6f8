"""Text classification's network and batches: what must not change its answers, and tasks whose answer is known."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from labelled_texts import SMALL, TRAIN, accuracy, drawn, split_of, trained
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.profile import Profile, lag_profile
from unrolled.tasks.classification.model.batches import batch_of, epoch_order
from unrolled.tasks.classification.model.network import READ_OUTS, Network, pooled
from unrolled.tasks.classification.model.task import Task, alike, probabilities_of

TYPES = 8
EVERY = [
    pytest.param(read_out, both, skip, id=f"{read_out}{'-both' if both else ''}{'-skip' if skip else ''}")
    for read_out, both, skip in itertools.product(READ_OUTS, (False, True), (False, True))
]


def network_of(read_out: str, bidirectional: bool = False, **settings: Any) -> Network:
    own = SMALL | {"read_out": read_out, "bidirectional": bidirectional} | settings
    return Network(TYPES, 3, **own, generator=torch.Generator().manual_seed(1))


def texts_drawn(count: int, seed: int = 1) -> list[Any]:
    random = np.random.default_rng(seed)
    return [random.integers(2, TYPES, random.integers(1, 12)) for _ in range(count)]


# ---- invariance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read_out", "both", "skip"), EVERY)
def test_neither_padding_nor_neighbours_nor_order_change_an_answer(read_out: str, both: bool, skip: bool) -> None:
    network, texts = network_of(read_out, both, skip=skip), texts_drawn(40)
    together = probabilities_of(network, texts)
    alone = np.concatenate([probabilities_of(network, [text]) for text in texts])
    reversed_ = probabilities_of(network, texts[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together, reversed_, atol=1e-6)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-12)
    batch = batch_of(texts, [0] * len(texts))
    more = torch.cat([batch.ids, torch.full((5, len(texts)), 3)])  # padding of any id
    with torch.inference_mode():
        torch.testing.assert_close(network(more, batch.lengths), network(batch.ids, batch.lengths))


@pytest.mark.parametrize(("read_out", "both", "skip"), EVERY)
def test_a_gradient_is_that_of_the_texts_one_by_one(read_out: str, both: bool, skip: bool) -> None:
    texts, labels = texts_drawn(7), [0, 1, 2, 0, 1, 2, 0]
    together, alone = network_of(read_out, both, skip=skip), network_of(read_out, both, skip=skip)
    task = Task(TRAIN)
    loss, terms, _ = task.loss(together, batch_of(texts, labels), ())
    (loss / terms).backward()
    for text, label in zip(texts, labels, strict=True):
        (task.loss(alone, batch_of([text], [label]), ())[0] / len(texts)).backward()
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_validation_does_not_hang_on_how_texts_are_put_together() -> None:
    split = drawn(lambda text: text[0] % 2, count=50, lengths=(1, 9))
    network = network_of("mean")
    sums = Task(TRAIN).validate(network, split)
    probabilities = np.stack(
        [probabilities_of(network, [text])[0] for text in np.split(split.tokens, split.documents[1:])]
    )
    own = probabilities[np.arange(50), split.arrays["labels"]]
    assert sums["cross_entropy"].sum == pytest.approx(-np.log(own).sum(), rel=1e-5)
    assert next(iter(sums)) == "error" and sums["error"].sum == 50 - sums["accuracy"].sum
    assert {each.terms for each in sums.values()} == {50}
    assert sums["accuracy"].sum == (probabilities.argmax(1) == split.arrays["labels"]).sum()


def test_a_mean_of_embeddings_does_not_know_the_order_of_words() -> None:
    embedded, lengths = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([6, 4, 1])
    for column, length in enumerate(lengths.tolist()):
        other = embedded.clone()
        other[:length, column] = embedded[torch.randperm(length), column]
        for read_out in ("mean", "max"):
            torch.testing.assert_close(pooled(other, lengths, read_out), pooled(embedded, lengths, read_out))


def test_what_each_read_out_reads() -> None:
    outputs = torch.tensor([[1.0, -4.0], [5.0, -2.0], [3.0, 99.0]])[..., None]
    lengths = torch.tensor([3, 2])
    assert pooled(outputs, lengths, "last").tolist() == [[3.0], [-2.0]]
    assert pooled(outputs, lengths, "last", reverse=True).tolist() == [[1.0], [-4.0]]
    assert pooled(outputs, lengths, "max").tolist() == [[5.0], [-2.0]]
    padded = outputs.clone()
    padded[2, 1] = 0  # as a layer leaves it
    assert pooled(padded, lengths, "mean").tolist() == [[3.0], [-3.0]]


def test_a_skip_leads_the_words_around_the_stacks() -> None:
    """Where the head heeds nothing else: a sum over what each word alone is worth, in any order."""
    network, texts = network_of("mean", skip=True), texts_drawn(20)
    with torch.no_grad():
        network.head.weight[:, : SMALL["hidden"]] = 0
        worth = network.embedding.weight @ network.head.weight[:, SMALL["hidden"] :].t()
        expected = torch.stack([worth[torch.from_numpy(text)].mean(0) + network.head.bias for text in texts])
    for each in (texts, [np.flip(text).copy() for text in texts]):
        np.testing.assert_allclose(probabilities_of(network, each), expected.softmax(-1), atol=1e-6)


def test_neutral_words_are_read_after_each_texts_own_end() -> None:
    texts = texts_drawn(9)
    longer = [np.append(text, [END_ID] * 3) for text in texts]
    for read_out, both in itertools.product(READ_OUTS, (False, True)):
        given = probabilities_of(network_of(read_out, both, neutral_words=3), texts)
        np.testing.assert_allclose(given, probabilities_of(network_of(read_out, both), longer), atol=1e-6)


def test_every_text_is_read_once_an_epoch_beside_others_of_its_length() -> None:
    lengths = np.random.default_rng(1).integers(1, 60, 1000).tolist()
    first, again, second = (epoch_order(lengths, 32, seed=1, epoch=epoch) for epoch in (1, 1, 2))
    assert first == again != second and first != epoch_order(lengths, 32, seed=2, epoch=1)
    assert sorted(itertools.chain(*first)) == list(range(1000))
    padded = sum(max(lengths[index] for index in batch) * len(batch) for batch in first)
    assert padded < 1.1 * sum(lengths)


def test_a_training_goes_on_where_it_was_cut() -> None:
    split, task = drawn(lambda text: text[0] % 2, count=100, lengths=(1, 9)), Task(TRAIN)
    whole = list(task.batches(split, epoch=2))
    rest = list(task.batches(split, epoch=2, first=2))
    assert len(whole) == task.steps(split) == 4 and len(rest) == 2
    assert all(torch.equal(one.ids, other.ids) for one, other in zip(whole[2:], rest, strict=True))


def test_dropped_words_are_unknown_ones_and_the_padding_stays() -> None:
    network, batch = network_of("max", word_dropout=0.5), batch_of(texts_drawn(200), [0] * 200)
    dropped = network._words_dropped(batch.ids, torch.Generator().manual_seed(1))
    real = torch.arange(len(batch.ids))[:, None] < batch.lengths
    assert torch.equal(dropped[~real], batch.ids[~real])
    assert set(dropped[real & (dropped != batch.ids)].tolist()) == {0}
    assert (dropped[real] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert network._words_dropped(batch.ids, None) is batch.ids


# ---- known answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_first_word_is_remembered_by_the_last_state_for_a_few_steps(cell: str) -> None:
    split = drawn(lambda text: text[0] % 2, count=600, lengths=(3, 5))
    assert accuracy(trained(split, network={"cell": cell, "read_out": "last"}), split) == 1


def test_the_first_word_of_long_texts_is_beyond_the_last_state_of_a_tanh_network() -> None:
    """The gradient at the first word vanishes, and nothing is learned of it; a stack that ends there learns it."""
    long = drawn(lambda text: text[0] % 2, count=400, lengths=(80, 80))
    network = {"cell": "rnn", "bidirectional": False}
    last = trained(long, network=network | {"read_out": "last"}, epochs=3)
    batch = alike(long, 32, 80)

    def loss(profile: Profile) -> torch.Tensor:
        return cross_entropy(last(batch.ids, batch.lengths, profile=profile), batch.labels, reduction="sum")

    norms = lag_profile(loss, last.parameters())["left_to_right.0"]
    assert norms[-1] < 1e-2 * norms[0]
    assert accuracy(last, drawn(lambda text: text[0] % 2, count=400, lengths=(80, 80), seed=2)) < 0.58
    both = trained(long, network={"cell": "rnn", "bidirectional": True, "read_out": "last"}, epochs=3)
    assert accuracy(both, long) > 0.99  # the other stack ends at the first word


def marked(length: int, seed: int) -> Any:
    """Half of the texts hold the word 7 once, anywhere."""
    random = np.random.default_rng(seed)
    texts, labels = random.integers(2, 7, (400, length)), random.integers(0, 2, 400)
    for text, label in zip(texts, labels, strict=True):
        if label:
            text[random.integers(length)] = 7
    return split_of(texts.tolist(), labels.tolist())


@pytest.mark.parametrize("length", [10, 200])
def test_a_marker_anywhere_is_found_by_max_at_any_length(length: int) -> None:
    network = trained(
        marked(length, 1), network={"read_out": "max", "embedding_range": 1.0}, texts=8, learning_rate=0.01
    )
    assert accuracy(network, marked(length, 2)) > 0.99


def test_parity_takes_recurrence() -> None:
    def odd(text: Any) -> bool:
        return bool((text == 3).sum() % 2)

    split = drawn(odd, count=600, lengths=(2, 5), types=4)
    network = {"cell": "rnn", "read_out": "last", "hidden": 24}
    assert accuracy(trained(split, types=4, network=network, epochs=40, learning_rate=0.01), split) > 0.99


def test_parity_is_beyond_a_sum_of_words_worths() -> None:
    """As pooling makes it without a stack: of texts of five words at most 11 in 16 are right, of longer ones fewer."""
    for length, bound in ((5, 11 / 16), (13, 0.5 + 924 / 2**13)):
        threes = np.array([sum(text) for text in itertools.product((0, 1), repeat=length)])
        odd = threes % 2
        best = max(((sign * (threes - least) >= 0) == odd).mean() for sign in (-1, 1) for least in range(length + 1))
        found = LogisticRegression().fit(threes[:, None], odd).score(threes[:, None], odd)
        assert found <= best == pytest.approx(bound)


def test_shuffled_labels_fall_to_chance() -> None:
    random = np.random.default_rng(1)
    split = drawn(lambda text: random.integers(2), count=600, lengths=(3, 12))
    network = trained(split, network={"read_out": "max"}, epochs=2)
    fresh = drawn(lambda text: random.integers(2), count=2000, lengths=(3, 12), seed=2)
    assert accuracy(network, fresh) == pytest.approx(0.5, abs=0.04)


def test_the_lag_profile_counts_from_the_end_that_a_stack_reads_to() -> None:
    split, task = drawn(lambda text: text[0] % 2, count=100, lengths=(5, 40)), Task(TRAIN)
    network = network_of("last", True, cell="rnn", dropout=0.0)
    found = lag_profile(lambda profile: task.single_loss(network, split, 100, profile), network.parameters())
    assert set(found) == {"left_to_right.0", "right_to_left.0"}
    for norms in found.values():
        assert norms[0] == norms.max() and norms[-1] < 1e-3 * norms[0]
    shorter = lag_profile(lambda profile: task.single_loss(network, split, 4, profile), network.parameters())
    assert all(len(norms) == 4 for norms in shorter.values())
