"""The tagger: what no batching changes, and tasks whose best accuracy is known."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tagging_corpora import NETWORK, TRAIN, drawn, encoded, told, trained, untrained
from unrolled.ground.corpus import Corpus
from unrolled.ground.sequences import by_length
from unrolled.recurrence.profile import Profile
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.evaluation.checks import reads_the_right_side_if_bidirectional
from unrolled.tasks.tagging.model.batches import UNSCORED, Sentences, batches
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import Task, gold_of, longest, predictions, tag

WORDS = ("da", "be", "co", "du", "ef")
ARCHS = {
    "rnn": {"cell": "rnn"},
    "lstm": {"cell": "lstm"},
    "bilstm": {"cell": "lstm", "bidirectional": True},
}
KINDS: dict[str, dict[str, Any]] = {
    **ARCHS,
    "chain": ARCHS["bilstm"] | {"chain": True},
    "without_letters": {"letter_hidden": 0},
    "layers": ARCHS["bilstm"] | {"layers": 2},
}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    def own(words: Any, place: int) -> str:
        return f"T{WORDS.index(words[place]) % 3}"

    def beside(words: Any, place: int) -> str:
        return f"G{place % 3}"

    splits = (drawn(count, WORDS, own, seed=seed) for seed, count in enumerate((40, 15, 15)))
    return encoded(*(told(sentences, beside) for sentences in splits))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 3, 40])
def test_loss_and_gradient_do_not_hang_on_the_batch(corpus: Corpus, kind: str, size: int) -> None:
    """Neither on its size, nor on the padding that it makes, nor on the order of the sentences."""

    def of_size(size: int) -> tuple[float, int, list[Any]]:
        network, task = untrained(corpus, **KINDS[kind]), Task(TRAIN)
        total, words = 0.0, 0
        for batch in batches(corpus.train, size, np.random.default_rng(size)):
            nats, terms, _ = task.loss(network, batch, ())
            nats.backward()
            total, words = total + nats.item(), words + terms
        gradients = [torch.zeros(()) if each.grad is None else each.grad for each in network.parameters()]
        return total, words, gradients

    (nats, words, gradients), (expected, _, whole) = of_size(size), of_size(7)
    assert words == len(corpus.train.tokens) and nats == pytest.approx(expected, rel=1e-5)
    for mine, theirs in zip(gradients, whole, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_word_is_tagged_once_whatever_stands_beside_its_sentence(corpus: Corpus, kind: str) -> None:
    network = untrained(corpus, **KINDS[kind])
    said = predictions(network, corpus.test)
    sentences = Sentences.of(corpus.test)
    assert len(said.tags) == len(corpus.test.tokens) == sentences.lengths.sum()
    for number, (first, last) in enumerate(pairwise(sentences.borders)):
        alone = tag(network, sentences.batch(np.array([number])))
        assert alone.tags.tolist() == said.tags[first:last].tolist()
        assert alone.confidence.numpy() == pytest.approx(said.confidence[first:last], abs=1e-5)
        assert alone.log_probabilities.exp().sum(1).numpy() == pytest.approx(1, abs=1e-5)
    sums = Task(TRAIN).validate(network, corpus.test)
    gold = corpus.test.arrays["tags"]
    assert sums["errors"].sum == int((said.tags != gold).sum()) and sums["errors"].terms == len(gold)
    assert sums["cross_entropy"].sum == pytest.approx(float(said.nats.sum()), rel=1e-5)


def test_batches_are_the_same_for_the_same_index_and_hold_every_sentence_once(corpus: Corpus) -> None:
    task = Task(TRAIN)
    whole = list(task.batches(corpus.train, epoch=3))
    assert len(whole) == task.steps(corpus.train)
    assert sum(task.tokens(batch) for batch in whole) == len(corpus.train.tokens)
    (rest,) = list(task.batches(corpus.train, epoch=3, first=len(whole) - 1))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(rest, whole[-1], strict=True))
    other = next(task.batches(corpus.train, epoch=4))
    assert not (whole[0].words.shape == other.words.shape and torch.equal(whole[0].words, other.words))
    lengths = [len(batch.words) for batch in batches(corpus.train, 8)]
    assert lengths == sorted(lengths)  # so hardly any padding
    order = np.concatenate(by_length(Sentences.of(corpus.train).lengths, 8, np.random.default_rng(1)))
    assert sorted(order.tolist()) == list(range(40))


def test_a_batch_spells_each_distinct_word_once(corpus: Corpus) -> None:
    sentences = Sentences.of(corpus.train)
    batch = sentences.batch(np.arange(10))
    letters, forms = corpus.names["letters"], corpus.names["forms"]
    spelled = {
        "".join(letters[each] for each in batch.letters[:length, form].tolist())
        for form, length in enumerate(batch.letter_lengths.tolist())
    }
    words = sentences.forms[: sentences.borders[10]]
    assert spelled == {forms[each] for each in words.tolist()} and batch.letters.shape[1] == len(spelled)
    assert (batch.tags == UNSCORED).sum() == batch.tags.numel() - len(words)
    assert gold_of(batch).tolist() == sentences.tags[: sentences.borders[10]].tolist()


@pytest.mark.parametrize("arch", ARCHS)
def test_a_prediction_hangs_on_the_next_word_in_a_bilstm_alone(corpus: Corpus, arch: str) -> None:
    """The tag is no input, so to read all of the sentence is legal; one-sided networks do not, exactly."""
    network = untrained(corpus, **ARCHS[arch])
    batch = longest(corpus.train, 1, 5)
    embedded = network.embedded(batch).detach().requires_grad_()
    network.embedded = lambda batch, generator=None: embedded  # type: ignore[method-assign]
    for place in range(len(batch.words) - 1):
        (gradient,) = torch.autograd.grad(network(batch)[place].square().sum(), embedded, retain_graph=True)
        ahead = gradient[place + 1 :].abs().amax(dim=(1, 2))
        assert bool((ahead > 0).all()) if arch == "bilstm" else not ahead.any()
    del network.embedded
    reads_the_right_side_if_bidirectional(network, corpus.test)


def test_a_network_that_reads_ahead_against_its_name_is_refused(corpus: Corpus) -> None:
    class Ahead(Network):
        @property
        def bidirectional(self) -> bool:
            return False

    sizes = Task(TRAIN).sizes(corpus)
    network = Ahead(sizes["words"], sizes["letters"], sizes["tags"], **NETWORK | ARCHS["bilstm"])
    with pytest.raises(UserError, match="a one-sided network reads ahead"):
        reads_the_right_side_if_bidirectional(network, corpus.test)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("lag", [0, -1, 1])
def test_a_copy_of_a_word_beside_is_learned_where_it_can_be_seen(arch: str, lag: int) -> None:
    """The tag is the word itself, the one before, the one after: all of it, or exactly what is guessed unseen."""

    def copied(words: Any, place: int) -> str:
        return str(words[place + lag]) if 0 <= place + lag < len(words) else "none"

    corpus = encoded(*(drawn(count, WORDS, copied, seed=seed, longest=6) for seed, count in enumerate((600, 50, 400))))
    network, _ = trained(corpus, ARCHS[arch] | {"letter_hidden": 0}, epochs=8, sentences=16, learning_rate=0.03)
    right = predictions(network, corpus.test).tags == corpus.test.arrays["tags"]
    if lag < 1 or arch == "bilstm":
        assert right.all()
        return
    # Whether a sentence ends here cannot be seen from the left either: one word more or the end, the likeliest guess.
    lengths = Sentences.of(corpus.test).lengths
    left = np.concatenate([np.arange(length - 1, -1, -1) for length in lengths])
    assert right.mean() <= (left == 0).mean() + 1 / len(WORDS) * (left > 0).mean() + 0.03


def hidden_markov(count: int, seed: int) -> tuple[Any, Any]:
    """Sentences of ten words, each emitted by one of three states; the tag is the state."""
    random = np.random.default_rng(seed)
    transition = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]])
    emission = np.array([[0.6, 0.2, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.1, 0.1, 0.2, 0.6]])
    made, posteriors = [], []
    for _ in range(count):
        states = [int(random.integers(3))]
        while len(states) < 10:
            states.append(int(random.choice(3, p=transition[states[-1]])))
        words = [int(random.choice(4, p=emission[state])) for state in states]
        forward, backward = [np.full(3, 1 / 3) * emission[:, words[0]]], [np.ones(3)]
        for word in words[1:]:
            forward.append(forward[-1] @ transition * emission[:, word])
        for word in reversed(words[1:]):
            backward.append(transition @ (emission[:, word] * backward[-1]))
        filtered = np.array(forward)
        posteriors.append((filtered.argmax(1) == states, (filtered * backward[::-1]).argmax(1) == states))
        made.append(([WORDS[word] for word in words], [f"S{state}" for state in states]))
    return made, [np.concatenate(each) for each in zip(*posteriors, strict=True)]


@pytest.mark.parametrize(("arch", "best"), [("lstm", 0), ("bilstm", 1)])
def test_no_network_exceeds_what_can_be_known_of_a_hidden_markov_source(arch: str, best: int) -> None:
    """Filtering for what reads the left side alone, smoothing for what reads both; near it, and never above."""
    (train, _), (valid, _), (test, bayes) = hidden_markov(1000, 1), hidden_markov(50, 2), hidden_markov(600, 3)
    corpus = encoded(train, valid, test)
    network, _ = trained(corpus, ARCHS[arch] | {"letter_hidden": 0}, epochs=4, sentences=32, learning_rate=0.02)
    right = predictions(network, corpus.test).tags == corpus.test.arrays["tags"]
    difference = right.astype(float) - bayes[best]
    noise = difference.std() / np.sqrt(len(difference) / 10)
    assert bayes[1].mean() > bayes[0].mean() + 0.02
    assert -0.02 < difference.mean() < 3 * noise


def test_shuffled_tags_fall_to_chance() -> None:
    random = np.random.default_rng(1)

    def any_tag(words: Any, place: int) -> str:
        return f"T{random.integers(4)}"

    corpus = encoded(*(drawn(count, WORDS, any_tag, seed=seed) for seed, count in enumerate((300, 30, 300))))
    network, _ = trained(corpus, ARCHS["bilstm"], epochs=3)
    right = predictions(network, corpus.test).tags == corpus.test.arrays["tags"]
    assert right.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / len(right)))


@pytest.mark.parametrize("arch", ["lstm", "bilstm"])
def test_what_is_given_beside_a_word_is_learned_from(arch: str) -> None:
    """The tag is what is given of the word after, which no word tells: all of it, or what is guessed unseen."""
    draw = np.random.default_rng(1)

    def coins(count: int, seed: int) -> Any:
        made = []
        for words, _ in drawn(count, WORDS, lambda *_: "", seed=seed, longest=6):
            coin = [f"C{each}" for each in draw.integers(0, 2, len(words))]
            made.append((words, [*coin[1:], "C0"], coin))
        return made

    corpus = encoded(coins(300, 1), coins(50, 2), coins(200, 3))
    network, _ = trained(corpus, ARCHS[arch] | {"letter_hidden": 0}, epochs=6, sentences=16, learning_rate=0.03)
    right = (predictions(network, corpus.test).tags == corpus.test.arrays["tags"]).mean()
    assert right == 1 if arch == "bilstm" else 0.4 < right < 0.8
    without = [(words, tags) for words, tags, _ in coins(20, 4)]
    assert Task(TRAIN).sizes(encoded(without, without, without))["given"] == 0


def test_a_chain_learns_what_follows_what() -> None:
    """Tags alternate and words say little: a chain knows it."""

    def alternating(words: Any, place: int) -> str:
        return f"T{place % 2}"

    corpus = encoded(*(drawn(count, WORDS, alternating, seed=seed) for seed, count in enumerate((200, 20, 40))))
    network, _ = trained(corpus, ARCHS["lstm"] | {"chain": True}, epochs=4)
    assert (predictions(network, corpus.test).tags == corpus.test.arrays["tags"]).all()


def test_a_word_drops_out_the_more_often_the_rarer_it_is(corpus: Corpus) -> None:
    network = untrained(corpus, word_dropout=20.0, letter_hidden=0)
    with torch.no_grad():
        network.embedding.weight.copy_(
            torch.arange(len(network.embedding.weight))[:, None].expand_as(network.embedding.weight)
        )
    batch = next(batches(corpus.train, 40))
    generator = torch.Generator().manual_seed(1)
    reads = torch.stack([network.embedded(batch, generator)[..., 0] for _ in range(400)])
    share = (reads == 0).float().mean(0)[batch.inside]
    expected = (20 / (20 + batch.counts))[batch.inside]
    assert torch.allclose(share, expected, atol=0.12) and expected.unique().numel() > 2
    assert torch.equal(network.embedded(batch)[..., 0].long(), batch.words)  # in evaluation none does


def test_a_tag_that_training_lacks_is_an_error(corpus: Corpus) -> None:
    def own(words: Any, place: int) -> str:
        return "NEW" if words[place] == "ef" else "T0"

    small = encoded(drawn(20, WORDS[:4], own, seed=1), drawn(5, WORDS, own, seed=2), drawn(30, WORDS, own, seed=3))
    network = untrained(small)
    said = predictions(network, small.test)
    assert network.output.out_features == 1 and np.isfinite(said.nats).all()
    assert ((said.tags == small.test.arrays["tags"]) == (small.test.arrays["tags"] == 0)).all()


def test_one_loss_reaches_each_stack_from_its_own_end(corpus: Corpus) -> None:
    network, task, profile = untrained(corpus, **ARCHS["bilstm"]), Task(TRAIN), Profile()
    task.single_loss(network, corpus.train, 100, profile).backward()
    norms = profile.norms
    assert set(norms) == {"forward.0", "backward.0"} and profile.reversed == {"backward.0"}
    assert norms["forward.0"].argmax() == len(norms["forward.0"]) - 1 and norms["backward.0"].argmax() == 0
