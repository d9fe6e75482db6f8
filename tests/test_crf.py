"""A chain of tags against enumeration of all paths, against pytorch-crf, and against a softmax where it is one."""

import itertools

import pytest
import torch
import torchcrf
from torch import Tensor

from unrolled.recurrence.crf import Chain

SIZES = [(steps, tags) for steps in (1, 2, 4, 5) for tags in (1, 2, 4)]


def chain_of(tags: int, bound: float = 2.0) -> Chain:
    return Chain(tags, bound=bound, generator=torch.Generator().manual_seed(tags)).double()


def scores_of(steps: int, columns: int, tags: int) -> Tensor:
    return torch.randn(steps, columns, tags, dtype=torch.float64, generator=torch.Generator().manual_seed(steps))


@torch.no_grad()
def paths_of(chain: Chain, scores: Tensor) -> dict[tuple[int, ...], float]:
    """The score of every path of one column [T, K]."""
    steps, tags = scores.shape
    found = {}
    for path in itertools.product(range(tags), repeat=steps):
        total = chain.start[path[0]] + chain.end[path[-1]] + sum(scores[t, tag] for t, tag in enumerate(path))
        found[path] = float(total + sum(chain.transitions[a, b] for a, b in itertools.pairwise(path)))
    return found


@pytest.mark.parametrize(("steps", "tags"), SIZES)
def test_partition_best_path_and_marginals_are_those_of_all_paths(steps: int, tags: int) -> None:
    chain, scores = chain_of(tags), scores_of(steps, 3, tags)
    lengths = torch.tensor([steps, max(1, steps - 1), 1])
    partition, best, marginals = (
        chain.log_partition(scores, lengths),
        chain.best(scores, lengths),
        chain.log_marginals(scores, lengths).exp(),
    )
    for column, length in enumerate(lengths.tolist()):
        paths = paths_of(chain, scores[:length, column])
        total = torch.tensor(list(paths.values()), dtype=torch.float64).logsumexp(0)
        assert float(partition[column].detach()) == pytest.approx(float(total))
        assert tuple(best[:length, column].tolist()) == max(paths, key=lambda path: paths[path])
        for t, tag in itertools.product(range(length), range(tags)):
            mass = sum(float((score - total).exp()) for path, score in paths.items() if path[t] == tag)
            assert float(marginals[t, column, tag]) == pytest.approx(mass, abs=1e-9)
        path = torch.tensor(list(paths)[-1])[:, None]
        padded = torch.cat((path, path.new_zeros(steps - length, 1))).expand(-1, 3)
        nats = chain.nats(scores, padded, lengths)[column].detach()
        assert float(nats) == pytest.approx(float(total) - paths[tuple(path[:, 0].tolist())]) and nats > -1e-12


def test_it_is_what_pytorch_crf_computes() -> None:
    chain, scores = chain_of(5), scores_of(7, 4, 5)
    oracle = torchcrf.CRF(5).double()
    with torch.no_grad():
        for mine, theirs in (("start", "start_transitions"), ("end", "end_transitions"), ("transitions",) * 2):
            getattr(oracle, theirs).copy_(getattr(chain, mine))
    lengths = torch.tensor([7, 5, 2, 1])
    tags = torch.randint(5, (7, 4), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(7)[:, None] < lengths
    nats, expected = chain.nats(scores, tags, lengths), -oracle(scores, tags, mask, reduction="none")
    assert torch.allclose(nats, expected)
    for mine, theirs in zip(
        torch.autograd.grad(nats.sum(), list(chain.parameters())),
        torch.autograd.grad(expected.sum(), [oracle.transitions, oracle.start_transitions, oracle.end_transitions]),
        strict=True,
    ):
        assert torch.allclose(mine, theirs)
    best = chain.best(scores, lengths)
    assert [best[:length, column].tolist() for column, length in enumerate(lengths.tolist())] == oracle.decode(
        scores, mask
    )


def test_without_transitions_it_is_a_softmax() -> None:
    chain, scores, lengths = chain_of(4, bound=0.0), scores_of(6, 2, 4), torch.tensor([6, 3])
    marginals = chain.log_marginals(scores, lengths)
    assert torch.allclose(marginals[:, 0], scores[:, 0].log_softmax(-1))
    tags = scores.argmax(-1)
    inside = torch.arange(6)[:, None] < lengths
    own = scores.log_softmax(-1).gather(2, tags[..., None])[..., 0]
    assert torch.allclose(chain.nats(scores, tags, lengths), -torch.where(inside, own, 0.0).sum(0))


def test_padding_counts_for_nothing() -> None:
    chain, scores, lengths = chain_of(3), scores_of(5, 2, 3), torch.tensor([2, 4])
    tags = torch.zeros(5, 2, dtype=torch.int64)
    changed = scores.clone()
    changed[2:, 0], changed[4:, 1] = 99.0, -99.0
    assert torch.equal(chain.nats(scores, tags, lengths), chain.nats(changed, tags, lengths))
    assert torch.equal(chain.best(scores, lengths)[:2, 0], chain.best(changed, lengths)[:2, 0])


def test_a_chain_without_tags_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tag"):
        Chain(0)


@pytest.mark.parametrize("words", [30, 1000])
def test_marginals_of_a_long_sentence_are_those_of_double_precision(words: int) -> None:
    generator = torch.Generator().manual_seed(1)
    chain, lengths = Chain(17, generator=generator), torch.tensor([words, words // 2])
    scores = 2 * torch.randn(words, 2, 17, generator=generator)
    found, partition = chain.log_marginals(scores, lengths).exp(), chain.log_partition(scores, lengths)
    chain.double()
    torch.testing.assert_close(found.double(), chain.log_marginals(scores.double(), lengths).exp(), rtol=0, atol=3e-6)
    torch.testing.assert_close(partition.double(), chain.log_partition(scores.double(), lengths), rtol=1e-6, atol=0)
