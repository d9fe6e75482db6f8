"""Training on whole sentences: each is read from a zero state, scored once, and none sees another or its own target."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from examples import V, network, task_of, tokens
from miniature import split_of
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.profile import Profile
from unrolled.tasks.language_model.evaluation.reset import reset_nats
from unrolled.tasks.language_model.model.batches import POOL, Batch, in_even_pools
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import total_nats
from unrolled.tasks.language_model.model.sentences import LONGEST, Sentences
from unrolled.tasks.language_model.model.task import Task

SPLIT = split_of(tokens(307))


def by_sentence(**changes: Any) -> Task:
    return task_of(**{"reset": "sentence", "seed": 1} | changes)


def nats_of(task: Task, net: Network, batch: Batch) -> tuple[float, int]:
    nats, terms, carry = task.loss(net, batch, task.entry(net, batch, task.start(net)))
    assert carry == ()
    return nats.item(), terms


def test_a_sentence_is_what_ends_with_its_end_or_with_the_text() -> None:
    text = np.array([5, END_ID, END_ID, 7, 8, 9, END_ID, 4], dtype=np.uint16)
    window, lengths = Sentences.read(text).of(np.array([2, 3, 0, 1])).window()
    assert lengths.tolist() == [4, 1, 2, 1]
    target, e = [[7, 8, 9, END_ID], [4], [5, END_ID], [END_ID]], END_ID
    for column, (words, length) in enumerate(zip(target, lengths.tolist(), strict=True)):
        left, right = [e, *words[:-1]], [*words[1:], e]
        for each, wanted in zip(window, (left, words, right), strict=True):
            assert each[:length, column].tolist() == wanted


def test_a_sentence_of_too_many_words_is_cut() -> None:
    text = np.full(3 * LONGEST, 3, dtype=np.uint16)
    text[[LONGEST, 3 * LONGEST - 1]] = END_ID
    assert Sentences.read(text).lengths.tolist() == [LONGEST, LONGEST]
    assert by_sentence().tokens(next(by_sentence().batches(split_of(text)))) == 2 * LONGEST


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(1, 20), st.integers(0, 9))
def test_batches_of_a_pool_hold_about_as_many_tokens(lengths: list[int], size: int, seed: int) -> None:
    """Or a token of a short sentence would teach more than one of a long one; each batch is of about one length."""
    every = np.array(lengths)
    batches = in_even_pools(every, size, np.random.default_rng(seed))
    assert len(batches) == -(-len(lengths) // size) and all(map(len, batches))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    if len(batches) == POOL:
        largest = max(int(every[batch].sum()) for batch in batches)
        assert largest <= max(every.sum() / POOL + every.max(), every.max())
        ends = sorted((int(every[batch].min()), int(every[batch].max())) for batch in batches)
        assert all(before[1] <= behind[0] for before, behind in pairwise(ends))


def test_an_epoch_holds_every_sentence_once_in_an_order_of_its_own() -> None:
    task, orders = by_sentence(), []
    for epoch in (1, 2):
        batches = list(task.batches(SPLIT, epoch=epoch))
        assert len(batches) == task.steps(SPLIT)
        orders.append([batch.window.target[0].tolist() for batch in batches])
        words = torch.cat([batch.of_tokens(batch.window.target) for batch in batches])
        assert sorted(words.tolist()) == sorted(SPLIT.tokens.tolist())
        assert sum(task.tokens(batch) for batch in batches) == len(words)
        for batch in batches:
            assert batch.lengths is not None and len(batch.window.left) == batch.lengths.max()
        for first in (1, 4):
            again = list(task.batches(SPLIT, epoch=epoch, first=first))
            for batch, same in zip(batches[first:], again, strict=True):
                assert all(map(torch.equal, batch.window, same.window)) and batch[3:] == same[3:]
    assert orders[0] != orders[1]
    assert orders[0] != [batch.window.target[0].tolist() for batch in by_sentence(seed=2).batches(SPLIT)]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_loss_is_that_of_each_sentence_alone_and_of_the_evaluation_that_resets(bidirectional: bool) -> None:
    net, task = network(bidirectional=bidirectional), by_sentence(columns=7)
    found = [nats_of(task, net, batch) for batch in task.batches(SPLIT)]
    alone = [nats_of(task, net, batch) for batch in by_sentence(columns=1).batches(SPLIT)]
    nats, terms = (sum(each) for each in zip(*found, strict=True))
    assert terms == len(SPLIT.tokens) * (3 if bidirectional else 1) == sum(each for _, each in alone)
    assert nats == pytest.approx(sum(each for each, _ in alone), rel=1e-5)
    valid = task.validate(net, SPLIT)
    assert valid["loss"].terms == terms and valid["loss"].sum == pytest.approx(nats, rel=1e-5)
    heads = ["forward_perplexity", "backward_perplexity", "pseudo_perplexity"]
    assert list(valid) == ["loss", *heads[: 3 if bidirectional else 1]]
    assert valid["forward_perplexity"] == total_nats(net, SPLIT.tokens, window=512)["forward"]
    if not bidirectional:
        assert nats == pytest.approx(reset_nats(net, SPLIT.tokens).sum().item(), rel=1e-5)


def heads_of(net: Network, batch: Batch) -> dict[str, torch.Tensor]:
    state, window = net.initial_state(batch.window.target.shape[1]), batch.window
    return net.hidden(window.left, window.right, state, lengths=batch.lengths)[0]


def test_no_head_sees_its_target_or_another_sentence() -> None:
    """Not even at the right edge, from where the backward stack starts: every word exchanged, one after another."""
    net, text = network(bidirectional=True), np.array([5, 6, END_ID, 7, 8, 9, END_ID, 4, END_ID], dtype=np.uint16)
    task = by_sentence(columns=3)
    (batch,) = task.batches(split_of(text))
    before, lengths = heads_of(net, batch), [3, 4, 2]
    order = [lengths.index(length) for length in batch.lengths.tolist()]
    starts = np.array([0, 3, 7])[order]
    for column, start in enumerate(starts.tolist()):
        for place in range(lengths[order[column]] - 1):
            other = text.copy()
            other[start + place] = 10
            (changed,) = task.batches(split_of(other))
            for head, outputs in heads_of(net, changed).items():
                same = (outputs == before[head]).all(-1)
                assert same[place, column] and (head != "joined" or not same[:, column].all()), (head, place)
                assert same[:, [each for each in range(3) if each != column]].all()


def test_a_state_starts_anew_as_often_as_was_asked_for() -> None:
    net, task = network(bidirectional=True), task_of(reset=0.25, columns=300, window=1)
    split = split_of(np.random.default_rng(0).integers(0, V, 900).astype(np.uint16))
    _, batch, _ = task.batches(split)
    carried = net.initial_state(300)._replace(
        forward=tuple(tuple(torch.ones_like(part) for part in state) for state in net.initial_state(300).forward)
    )
    found = []
    for generator in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(1), None):
        profile = Profile()
        nats, _, after = task.loss(net, batch, task.entry(net, batch, carried), generator=generator, profile=profile)
        found.append((nats, after.forward[0][1]))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    anew = (found[0][1] != found[2][1]).any(1)  # all in the same state otherwise
    assert 0.15 < anew.float().mean() < 0.35
    zero, _, _ = task.loss(net, batch, task.entry(net, batch, net.initial_state(300)))
    assert zero != found[0][0] != found[2][0]


def test_a_loss_far_from_the_start_is_that_of_the_longest_sentences() -> None:
    net, task = network(bidirectional=True), by_sentence(columns=3)
    lengths = sorted(Sentences.read(SPLIT.tokens).lengths.tolist(), reverse=True)
    for stretch, steps in ((0, 100), (1, 100), (0, 4)):
        profile = Profile()
        task.single_loss(net, SPLIT, steps, profile, stretch=stretch).backward()
        wanted = min(lengths[3 * stretch + 2], steps)
        assert {name: len(norms) for name, norms in profile.norms.items()} == dict.fromkeys(profile.norms, wanted)
        assert set(profile.norms) == {f"{name}.{layer}" for name in ("forward", "backward") for layer in (0, 1)}
    with pytest.raises(IndexError, match="no 1001 times 3 sentences"):
        task.single_loss(net, SPLIT, 100, Profile(), stretch=1000)
