"""The adaptive softmax against torch's, and the network that has one in place of the full softmax."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from examples import task_of, tokens
from miniature import arm_of, corpus_of, made_of, section_of, split_of, text_of
from unrolled.ground.evaluation import Evaluation
from unrolled.scoring.evaluation import write_evaluation
from unrolled.tasks.language_model.evaluation.evaluate import evaluate, kneser_ney
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.model.adaptive_softmax import AdaptiveSoftmax
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions
from unrolled.training.fit import Epoch, fit
from unrolled.training.training import Training

H, V = 17, 40


def output(*cutoffs: int, seed: int = 1) -> AdaptiveSoftmax:
    made = AdaptiveSoftmax(H, V, cutoffs, 0.8, 0.5, torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        made.bias.uniform_(-1, 1)
    return made


def twin_of(ours: AdaptiveSoftmax) -> nn.AdaptiveLogSoftmaxWithLoss:
    """Torch's, of the very same parameters."""
    theirs = nn.AdaptiveLogSoftmaxWithLoss(H, V, ours.ends[:-1], div_value=4.0, head_bias=True)
    theirs.head.weight, theirs.head.bias = ours.head.weight, ours.bias
    for pair, projection, tail in zip(theirs.tail, ours.projections, ours.tails, strict=True):
        pair[0].weight, pair[1].weight = projection.weight, tail.weight
    return theirs


def read(rows: int, words: range = range(V)) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, H, dtype=torch.float64, generator=random).requires_grad_()
    return hidden, torch.tensor(list(words))[torch.randint(len(words), (rows,), generator=random)]


@given(st.sets(st.integers(1, V - 1), min_size=1, max_size=2), st.integers(1, 50))
def test_nats_gradients_and_probabilities_are_torchs(cutoffs: set[int], rows: int) -> None:
    ours = output(*sorted(cutoffs))
    theirs, (hidden, targets) = twin_of(ours), read(rows)
    nats, twins = ours.nats(hidden, targets), -theirs(hidden, targets).output.sum()
    torch.testing.assert_close(nats, twins, rtol=1e-10, atol=1e-10)
    parameters = [hidden, *ours.parameters()]
    both = (torch.autograd.grad(each, parameters, allow_unused=True) for each in (nats, twins))
    for mine, twin in zip(*both, strict=True):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if twin is None else twin, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.log_probabilities(hidden), theirs.log_prob(hidden), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cutoffs", [(1,), (5, 30), (3, 9, 27), (39,), (40,), (10**6,)])
def test_all_words_sum_to_one_and_cost_what_training_says(cutoffs: tuple[int, ...]) -> None:
    ours, (hidden, targets) = output(*cutoffs), read(60)
    every = ours.log_probabilities(hidden.view(3, 20, H)).view(60, V)
    torch.testing.assert_close(every.exp().sum(-1), torch.ones(60, dtype=torch.float64), rtol=0, atol=1e-13)
    own, factors = every.gather(1, targets[:, None])[:, 0], torch.linspace(-1, 2, 60, dtype=torch.float64)
    torch.testing.assert_close(ours.nats(hidden, targets), -own.sum())
    torch.testing.assert_close(ours.nats(hidden, targets, factors), -(own * factors).sum())


def test_beyond_the_vocabulary_a_cutoff_parts_nothing() -> None:
    full, (hidden, targets) = output(V, 2 * V), read(9)
    theirs = nn.functional.cross_entropy(hidden @ full.head.weight.t() + full.bias, targets, reduction="sum")
    torch.testing.assert_close(full.nats(hidden, targets), theirs)
    assert not list(full.tails)


@pytest.mark.parametrize("words", [range(5), range(5, 30), range(30, V)])
def test_a_cluster_that_no_target_is_of_gets_no_gradient_but_a_dense_one(words: range) -> None:
    ours, (hidden, targets) = output(5, 30), read(8, words)
    gradients = torch.autograd.grad(ours.nats(hidden, targets), [each.weight for each in ours.tails])
    for (first, end), gradient in zip(pairwise(ours.ends), gradients, strict=True):
        assert gradient.any().item() == (words == range(first, end))


@pytest.mark.parametrize("cutoffs", [(), (0, 3), (3, 3), (9, 3)])
def test_cutoffs_that_do_not_ascend_are_refused(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cutoffs must ascend from 1 or more"):
        output(*cutoffs)


# ---- the network -----------------------------------------------------------------------------------------------------


def network(**changes: Any) -> Network:
    settings = {"cell": "lstm", "bidirectional": True, "embedding": 6, "hidden": 9, "layers": 1, "tied": False}
    adaptive = {"softmax": "adaptive", "cutoffs": (4, 8)}
    return Network(13, **settings | adaptive | changes, generator=torch.Generator().manual_seed(0)).double()


def test_a_tied_one_is_refused_and_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="cannot be tied"):
        network(tied=True, embedding=9)
    with pytest.raises(ValueError, match="full, adaptive"):
        network(softmax="hierarchical")


def test_the_loss_of_training_is_what_scoring_finds() -> None:
    """Of each head, over the same window: the one by clusters, the other by every word's probability."""
    net, text, task = network(), tokens(41), task_of(columns=1, window=41)
    (batch,) = task.batches(split_of(text))
    nats, scored, _ = task.loss(net, batch, task.entry(net, batch, task.start(net)))
    assert scored == 3 * len(text)
    found = [each.nats(head).sum() for each in predictions(net, text, window=16) for head in each.log_probabilities]
    torch.testing.assert_close(nats, sum(found[1:], found[0]))


def test_an_arm_learns_and_is_scored_in_every_way_there_is(tmp_path: Path) -> None:
    """Trained, then scored plainly, started anew, mixed with n-grams and a cache, and moved as it reads."""
    arm = arm_of("lstm-clipped-1", softmax="adaptive", cutoffs=[3, 7], tied=False, epochs=6)
    corpus = corpus_of(*(split_of(text_of(length, seed=length)) for length in (3000, 300, 300)))
    training = Training.of(arm, {"vocabulary": len(corpus.counts)})
    losses = [each.valid_loss for each in fit(training, corpus.train, corpus.valid) if isinstance(each, Epoch)]
    assert losses[-1] < 0.7 * losses[0]
    settings = section_of(
        "evaluate", temperatures=[0.5, 2.0], cache_windows=[20], dynamic_rates=[1e-3], own_sentences=0,
        bootstrap_samples=20,
    )  # fmt: skip
    write_evaluation(tmp_path, "kneser_ney", kneser_ney(corpus, settings), SCORES, made_of(settings))
    net = training.model
    assert isinstance(net, Network)
    scored = evaluate(net, corpus, settings, {"kneser_ney": Evaluation.read(tmp_path)})
    ways = ("forward", "reset", "interpolated", "temperature", "cache", "dynamic")
    assert {f"{way}_perplexity" for way in ways} <= set(scored.units)
    with torch.no_grad():
        read = list(predictions(net, corpus.test.tokens, window=512))
        powers = torch.cat([each.log_probabilities["forward"].exp() for each in read])
    powers = powers ** (1 / scored.measures["softmax_temperature"])
    own = powers.gather(1, torch.cat([each.targets for each in read])[:, None])[:, 0] / powers.sum(1)
    assert scored.units["temperature_perplexity"] == pytest.approx(-own.log().numpy(), rel=1e-4, abs=1e-6)
