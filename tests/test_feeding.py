"""Words of its own in place of true ones: which, drawn how, with whose gradient, and what such training can reach."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from examples import V, task_of, tokens
from miniature import SIZES, arm_of, split_of, text_of
from unrolled.corpus.sources.agreement import Agreement
from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.dropout import WindowMasks
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.batches import Batch
from unrolled.tasks.language_model.model.feeding import Feeding, drawn, with_own_words
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.task import Task
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.fit import fit, steps
from unrolled.training.history import History
from unrolled.training.training import Training

SPLIT = split_of(tokens(150))


def by_sentence(feeding: str = "own", **changes: Any) -> Task:
    return task_of(**{"reset": "sentence", "seed": 1, "feeding": feeding} | changes)


def network(**changes: Any) -> Network:
    """In double precision, with every kind of dropout."""
    settings: dict[str, Any] = {"cell": "lstm", "bidirectional": False, "embedding": 6, "hidden": 6, "layers": 2}
    settings |= {"tied": False, "dropout": 0.3, "weight_dropout": 0.2, "embedding_dropout": 0.2} | changes
    return Network(V, **settings, generator=torch.Generator().manual_seed(0)).double()


def batch_of(task: Task) -> Batch:
    """The one with the longest sentence."""
    return max(task.batches(SPLIT), key=lambda batch: len(batch.window.left))


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(task: Task, net: Network, batch: Batch, random: torch.Generator) -> tuple[Tensor, list[Tensor]]:
    nats, _, _ = task.loss(net, batch, task.entry(net, batch, ()), generator=random)
    return nats, list(torch.autograd.grad(nats, list(net.parameters())))


def step_by_step(
    net: Network, batch: Batch, own: Tensor, random: torch.Generator
) -> tuple[Tensor, list[list[int]], list[Tensor]]:
    """Drawing and loss in one loop over time, through which autograd goes back: nats, words read, gradients."""
    window, lengths = batch.window, batch.lengths
    assert lengths is not None
    chances = torch.rand(own.shape, generator=random, dtype=torch.float64)
    masks, state = WindowMasks(len(own), random), net.initial_state(own.shape[1]).forward
    words, total, read = window.left[0], torch.zeros((), dtype=torch.float64), []
    for t in range(len(own)):
        inputs = torch.where(own[t], words, window.left[t])
        read.append(inputs.tolist())
        hidden, state = net.read("forward", inputs[None], state, masks.of(slice(t, t + 1)))
        logits, running = net.logits(hidden[0]), lengths > t
        total = total + cross_entropy(logits[running], window.target[t][running], reduction="sum")
        if t + 1 < len(own):  # inverse transform sampling, spelled out
            below = logits.detach().softmax(-1).cumsum(-1) <= chances[t + 1][:, None]
            words = below.sum(-1)
    return total, read, list(torch.autograd.grad(total, list(net.parameters())))


@pytest.mark.parametrize("cell", ["lstm", "rnn", "gru"])
@pytest.mark.parametrize("mask", ["step", "window"])
def test_words_and_gradients_are_those_of_a_loop_over_time(cell: str, mask: str) -> None:
    net, task = network(cell=cell, dropout_mask=mask), by_sentence(prompt=2)
    batch = batch_of(task)
    assert batch.lengths is not None
    own = task.feeding.own_places(batch.lengths, len(batch.window.left), 1)
    assert own.any() and not own.all()
    nats, read, expected = step_by_step(net, batch, own, seeded())
    ours, found = gradients(task, net, batch, seeded())
    assert ours.item() == pytest.approx(nats.item(), rel=1e-10)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
    random = seeded()
    state = net.initial_state(own.shape[1])
    again = with_own_words(net, batch.window.left, own, state, random, WindowMasks(len(own), random)).read
    inside = (torch.arange(len(own))[:, None] < batch.lengths).tolist()
    same = [
        a == b for t, row in enumerate(again.tolist()) for a, b, c in zip(row, read[t], inside[t], strict=True) if c
    ]
    assert all(same) and not torch.equal(again, batch.window.left)


def test_a_window_read_in_parts_has_the_masks_of_one_read_whole() -> None:
    net, left = network(), batch_of(by_sentence()).window.left
    state, whole, parts = net.initial_state(left.shape[1]), seeded(), seeded()
    hidden, _ = net.hidden(left, left, state, generator=whole)
    masks, after, found = WindowMasks(len(left), parts), state.forward, []
    for part in (slice(0, 3), slice(3, 4), slice(4, None)):
        outputs, after = net.read("forward", left[part], after, masks.of(part))
        found.append(outputs)
    torch.testing.assert_close(torch.cat(found), hidden["forward"])
    assert torch.equal(whole.get_state(), parts.get_state())
    again, _ = net.hidden(left, left, state, generator=masks.of(slice(None)))
    assert torch.equal(again["forward"], hidden["forward"]) and torch.equal(whole.get_state(), parts.get_state())


def test_words_are_drawn_as_often_as_they_are_expected() -> None:
    logits = torch.tensor([0.0, -math.inf, 2.0, 1.0]).expand(20000, -1)
    words, found = drawn(logits, torch.rand(20000, generator=seeded(), dtype=torch.float64))
    shares = torch.bincount(words, minlength=4) / 20000
    torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.01, rtol=0)
    assert shares[1] == 0
    torch.testing.assert_close(found, logits[0].double().log_softmax(-1)[words])
    assert (
        drawn(torch.full((2, 4), math.nan), torch.zeros(2, dtype=torch.float64))[0].max() < 4
    )  # diverged: shown later


def test_which_words_are_its_own() -> None:
    lengths = torch.tensor([6, 3, 1])
    assert Feeding("own", prompt=2).own_places(lengths, 6, 1).t().tolist() == [
        [False, False, False, True, True, True], [False] * 6, [False] * 6,
    ]  # fmt: skip
    horizon = Feeding("own", prompt=1, horizon=2)
    for epoch, own in ((1, [4, 5]), (2, [2, 3, 4, 5]), (9, [2, 3, 4, 5])):
        places = horizon.own_places(lengths, 6, epoch)
        assert torch.nonzero(places[:, 0])[:, 0].tolist() == own
        assert torch.nonzero(places[:, 1])[:, 0].tolist() == [2] and not places[:, 2].any()


@pytest.mark.parametrize("schedule", ["linear", "exponential", "inverse_sigmoid"])
@pytest.mark.parametrize("half", [1, 40, 10**9])
def test_half_of_the_words_are_true_after_as_many_updates_as_is_said(schedule: str, half: int) -> None:
    feeding = Feeding("scheduled", schedule=schedule, schedule_steps=half)
    shares = [feeding.true_share(updates) for updates in (0, half, 2 * half, 10**6 * half)]
    assert shares[1] == pytest.approx(0.5) and shares == sorted(shares, reverse=True)
    assert 0.5 < shares[0] <= 1 and shares[-1] == pytest.approx(0, abs=1e-9)
    if schedule != "inverse_sigmoid":
        assert shares[0] == 1


def test_as_many_words_are_true_as_the_schedule_says() -> None:
    own, feeding = torch.ones(300, 100, dtype=torch.bool), Feeding("scheduled", schedule_steps=50)
    assert feeding.chosen(own, 25, seeded()).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert Feeding("own").chosen(own, 25, seeded()).all()


def test_all_true_words_are_teacher_forcing_and_none_its_own_to_the_bit() -> None:
    net = network()
    teacher, scheduled, own = (by_sentence(each) for each in ("teacher", "scheduled", "own"))
    for one, other, updates in (
        (by_sentence("reinforce", prompt=10**9), teacher, 0),
        (scheduled, teacher, 0),
        (scheduled, own, 2),
        (by_sentence(teacher_epochs=1), teacher, 0),
    ):
        batch, randoms = batch_of(one)._replace(updates=updates), [seeded(), seeded()]
        first, second = (
            gradients(task, net, batch, random) for task, random in zip((one, other), randoms, strict=True)
        )
        assert torch.equal(first[0], second[0]) and all(map(torch.equal, first[1], second[1]))
        assert torch.equal(randoms[0].get_state(), randoms[1].get_state())
    assert not torch.equal(
        gradients(own, net, batch_of(own), seeded())[0], gradients(teacher, net, batch_of(own), seeded())[0]
    )


def test_updates_and_epochs_count_from_the_first_with_words_of_its_own() -> None:
    task = by_sentence("scheduled", teacher_epochs=2)
    counted = [(batch.epoch, batch.updates) for epoch in (2, 3, 4) for batch in task.batches(SPLIT, epoch=epoch)]
    steps_of_epoch = task.steps(SPLIT)
    assert [each for each, _ in counted] == [0] * steps_of_epoch + [1] * steps_of_epoch + [2] * steps_of_epoch
    assert [each for _, each in counted] == list(range(-steps_of_epoch, 2 * steps_of_epoch))


def test_no_word_is_its_own_without_a_generator_and_padding_changes_nothing() -> None:
    net, task = network(), by_sentence("own")
    batch = batch_of(task)
    entry = task.entry(net, batch, ())
    assert task.loss(net, batch, entry)[0] == by_sentence("teacher").loss(net, batch, entry)[0]
    wider = batch._replace(window=batch.window._make(torch.cat([each, each[:3]]) for each in batch.window))
    plain = network(dropout=0.0, weight_dropout=0.0, embedding_dropout=0.0)
    found = [task.loss(plain, each, entry, generator=seeded())[0].item() for each in (batch, wider)]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


CASES: dict[str, dict[str, Any]] = {
    "now and then from zero": {"reset": 0.3},
    "sentences": {"reset": "sentence"},
    "own words": {"reset": "sentence", "feeding": "own", "horizon": 3},
    "scheduled": {"reset": "sentence", "feeding": "scheduled", "schedule_steps": 7, "teacher_epochs": 1},
    "rated": {"reset": "sentence", "feeding": "reinforce", "teacher_epochs": 1, "horizon": 4},
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_cut_off_anywhere_goes_on_to_the_same_weights(tmp_path: Path, case: str) -> None:
    arm = arm_of("lstm-clipped-1", dropout=0.2, epochs=2, **CASES[case])
    train, valid = split_of(text_of(420)), split_of(text_of(60, seed=1))

    def trained(folder: Path, records: int | None) -> Training:
        training = Training.of(arm, SIZES)
        history = History(training)
        checkpoint = Checkpoint(folder, training, history, arm, "corpus")
        checkpoint.resume()
        for record in islice(fit(training, train, valid), records):
            history.add(record)
        checkpoint.write()
        return training

    whole = trained(tmp_path / "whole", None)
    for cut in (4, 3, 2):
        trained(tmp_path / "cut", cut)
    resumed = trained(tmp_path / "cut", None)
    assert whole.step == resumed.step > 9
    assert all(map(torch.equal, whole.model.parameters(), resumed.model.parameters()))
    assert whole.valid_losses == resumed.valid_losses


def test_validation_gives_the_loss_with_words_of_its_own_first_the_same_each_time() -> None:
    net, task = network(), by_sentence("scheduled")
    valid = task.validate(net, SPLIT)
    assert list(valid) == ["loss", "teacher_loss", "forward_perplexity"] and valid == task.validate(net, SPLIT)
    assert valid["teacher_loss"] == by_sentence("teacher").validate(net, SPLIT)["loss"] != valid["loss"]
    assert valid["loss"].terms == len(SPLIT.tokens)


# What training can reach, on text whose floors are known: T6 of the source's tests.

SOURCE = Agreement(classes=2, noise=0.1, distances=(1, 2), fillers=2)
SENTENCES = 3000


def sentences(count: int, seed: int) -> Split:
    text = SOURCE.draw(count, np.random.default_rng(seed))
    return split_of(np.where(text == len(SOURCE.words) - 1, END_ID, text + 2).astype(np.uint16))


def reached(feeding: str) -> float:
    """Nats a sentence behind its subject, which costs ln 2, after a short training."""
    arm = arm_of(
        "lstm-clipped-1", cell="gru", embedding=8, hidden=16, tied=False, reset="sentence", feeding=feeding,
        optimiser="adam", learning_rate=0.03, columns=200, clip_norm=1.0, initial_range=1.0,
    )  # fmt: skip
    training = Training.of(arm, {"vocabulary": len(SOURCE.words) + 2})
    text, valid = sentences(6000, 1), sentences(SENTENCES, 2)
    for epoch in range(7):
        list(steps(training, text))
        training.epoch, training.position, training.profiles, training.profiled = epoch + 1, 0, {}, 0
        if epoch > 2:
            training.optimiser.param_groups[0]["lr"] /= 2
    loss = training.task.validate(training.model, valid)["loss"]
    return loss.sum / SENTENCES - math.log(2)


def test_true_words_teach_it_down_to_the_causal_floor() -> None:
    floor = SOURCE.causal_rate * SOURCE.tokens_a_sentence - math.log(2)
    assert floor == pytest.approx(2.7510981054)
    assert floor - 0.06 < reached("teacher") < floor + 0.1  # 3,000 sentences: +- 0.03


def test_words_of_its_own_teach_it_to_heed_the_prompt_alone() -> None:
    """It cannot go below what the subject says of each place, however much it learns."""
    floor = SOURCE.own_words_nats
    assert floor == pytest.approx(4.7846771295)
    assert floor - 0.06 < reached("own") < floor + 0.2


@pytest.mark.parametrize(("prompt", "text", "said"), [(3, [5, 6, 1], "set it to 1 or less"), (1, [5, 1], "teacher")])
def test_a_prompt_that_leaves_nothing_to_be_drawn_is_refused(prompt: int, text: list[int], said: str) -> None:
    tokens = np.array(text * 20, dtype=np.uint16)
    split = split_of(tokens)
    corpus = Corpus(split, split, split, np.ones(9, np.int64), {}, "")
    arm = arm_of("lstm-clipped-1")["train"] | {"reset": "sentence", "feeding": "own", "prompt": prompt}
    with pytest.raises(UserError, match=said) as caught:
        Task(arm).sizes(corpus)
    assert "\n" not in str(caught.value)
    assert Task(arm | {"feeding": "teacher"}).sizes(corpus) == {"vocabulary": 9}
