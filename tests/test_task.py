"""The loss and the scores: every token once, whatever the window, and the sums of a definition written out."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from examples import V, network, task_of, tokens
from miniature import corpus_of, split_of
from unrolled.ground.perplexity import perplexity
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD, predictions, total_nats
from unrolled.tasks.language_model.model.task import state_from_the_right
from unrolled.tasks.language_model.model.windows import windows


@pytest.mark.parametrize("bidirectional", [False, True])
def test_scores_do_not_depend_on_the_window(bidirectional: bool) -> None:
    net, split = network(bidirectional=bidirectional), tokens()
    whole = total_nats(net, split, window=len(split))
    assert set(whole) == ({"forward", "backward", "joined"} if bidirectional else {"forward"})
    for window in (1, 2, 7, 50, 100, 1000):
        again = total_nats(net, split, window=window)
        for head, sums in whole.items():
            assert again[head].terms == sums.terms == len(split)
            assert again[head].sum == pytest.approx(sums.sum, rel=1e-5)


def test_the_definition_written_out() -> None:
    """-log p(w_t | w_<t) from a fresh reading of the whole prefix for every single token."""
    net, split = network(bidirectional=False), tokens(20)
    stream = [END_ID, *split.tolist()]
    nats = []
    for t in range(len(split)):
        prefix = torch.tensor(stream[: t + 1])[:, None]
        hidden, _ = net.hidden(prefix, prefix, net.initial_state(1))
        nats.append(cross_entropy(net.logits(hidden["forward"][-1]), torch.tensor([stream[t + 1]])).item())
    scored = torch.cat([each.nats("forward") for each in predictions(net, split, window=7)])
    assert scored.tolist() == pytest.approx(nats, rel=1e-5)


def test_a_backward_head_scores_the_mirrored_text_as_a_forward_one() -> None:
    net, split = network(bidirectional=True), tokens(40)
    mirrored = network(bidirectional=False)
    mirrored.load_state_dict(
        {
            name.replace("backward_stack", "forward_stack"): value
            for name, value in net.state_dict().items()
            if "forward_stack" not in name and "join" not in name
        }
    )
    backward = torch.cat([each.nats("backward") for each in predictions(net, split, window=9)])
    flipped = np.ascontiguousarray(split[::-1])
    forward = torch.cat([each.nats("forward") for each in predictions(mirrored, flipped, window=40)])
    assert backward.flip(0).tolist() == pytest.approx(forward.tolist(), rel=1e-4)


def test_the_probabilities_sum_to_one() -> None:
    for prediction in predictions(network(bidirectional=True), tokens(), window=30):
        for log_probabilities in prediction.log_probabilities.values():
            assert log_probabilities.exp().sum(-1).tolist() == pytest.approx([1.0] * len(prediction.targets), rel=1e-5)


def test_an_untrained_network_with_zero_weights_is_uniform() -> None:
    net = network(bidirectional=True)
    for parameter in net.parameters():
        parameter.data.zero_()
    for sums in total_nats(net, tokens(), window=10).values():
        assert perplexity(*sums) == pytest.approx(V)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_loss_of_one_column_is_the_score(bidirectional: bool) -> None:
    """Training's loss over one window that holds the whole split, and evaluation's sum over its heads."""
    net, split = network(bidirectional=bidirectional), tokens()
    whole = task_of(columns=1, window=len(split))
    (batch,) = whole.batches(split_of(split))
    nats, terms, _ = whole.loss(net, batch, whole.entry(net, batch, whole.start(net)))
    scored = total_nats(net, split, window=10)
    assert terms == len(split) * len(scored)
    assert nats.item() == pytest.approx(sum(sums.sum for sums in scored.values()), rel=1e-5)


def test_the_state_from_the_right_is_the_window_ahead_read() -> None:
    net, split = network(bidirectional=True), tokens(40)
    _, second = windows(split, columns=2, window=10)
    warm = state_from_the_right(net, second, 2)
    expected = net.read("backward", second.right, net.initial_state(2).backward)[1]
    for layer, other in zip(warm, expected, strict=True):
        for part, same in zip(layer, other, strict=True):
            assert torch.equal(part, same) and not part.requires_grad and part.abs().sum() > 0
    assert all(part.abs().sum() == 0 for layer in state_from_the_right(net, None, 2) for part in layer)


def test_a_broken_network_has_infinite_nats_not_nan() -> None:
    net = network(bidirectional=False)
    net.output_bias.data[3] = math.nan
    assert total_nats(net, tokens(), window=10)["forward"].sum == math.inf


@pytest.mark.parametrize("bidirectional", [False, True])
def test_validation_gives_the_loss_over_all_heads_first_and_then_each_heads_score(bidirectional: bool) -> None:
    net, split = network(bidirectional=bidirectional), tokens()
    (first, loss), *scores = task_of().validate(net, split_of(split)).items()
    heads = total_nats(net, split, window=100)
    assert first == "loss" and dict(scores) == {SCORE_OF_HEAD[head]: sums for head, sums in heads.items()}
    assert loss.sum == pytest.approx(sum(sums.sum for sums in heads.values())) and loss.terms == len(split) * len(heads)


def test_the_same_index_is_the_same_batch_in_every_epoch() -> None:
    task, split = task_of(), split_of(tokens(107))
    batches = list(task.batches(split))
    assert len(batches) == task.steps(split) == 3
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        assert (batch.ahead is None) == (following is None)
        assert following is None or all(map(torch.equal, batch.ahead, following.window))
    for first in (1, 2):
        for batch, again in zip(batches[first:], task.batches(split, epoch=7, first=first), strict=True):
            assert all(map(torch.equal, batch.window, again.window))
    assert [task.tokens(batch) for batch in batches] == [40, 40, 24]  # 26 steps of four columns


def test_what_is_carried_on_is_the_state_cut_from_the_graph() -> None:
    task, net, split = task_of(window=100), network(bidirectional=False), split_of(tokens(60))
    (whole,), halves = task.batches(split), task_of(window=8)
    carry, total = halves.start(net), 0.0
    for batch in halves.batches(split):
        nats, _, carry = halves.loss(net, batch, halves.entry(net, batch, carry))
        total += nats.item()
        assert not any(part.requires_grad for stack in carry for layer in stack for part in layer)
    nats, terms, _ = task.loss(net, whole, task.entry(net, whole, task.start(net)))
    assert total == pytest.approx(nats.item(), rel=1e-5) and terms == 60


def test_the_sizes_are_those_of_the_corpus_and_the_network_has_them() -> None:
    split = split_of(tokens())
    sizes = task_of().sizes(corpus_of(split, split, split, types=V))
    net = task_of().model(
        sizes, {"cell": "rnn", "bidirectional": False, "embedding": 4, "hidden": 4, "layers": 1, "tied": True}
    )
    assert sizes == {"vocabulary": V} and net.output_weight.shape == (V, 4)
