"""The adaptive softmax: rare words are predicted in two steps, and from fewer numbers (Grave et al. 2017).

p(word) = head(word)                                   of the most frequent words, those below the first cutoff
        = head(cluster) tail of the cluster(word)      of the others, a cluster between two cutoffs

The head is a softmax over the frequent words and one place for each cluster. The tail of cluster i, counted from 1,
reads the hidden state through a projection to H / 4^i numbers. So a step computes a rare word's logits only where one
is due; and the probabilities of all words sum to one exactly, as those of the full softmax do. It rests on words being
numbered by how frequent they are, as the vocabulary numbers them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.recurrence.softmax_loss import softmax_nats
from unrolled.recurrence.stack import drawn
from unrolled.recurrence.threads import one_thread

NARROWER = 4  # times, from one tail to the next: the paper's


class AdaptiveSoftmax(nn.Module):
    """The output of a network of H hidden units over a vocabulary, as `torch.nn.AdaptiveLogSoftmaxWithLoss` has it.

    ``cutoffs``: the numbers at which clusters begin, ascending; those beyond the vocabulary part nothing. Words' rows
    are drawn uniform in +- ``rows``, projections in +- ``inner``, the head's bias is 0. ValueError for cutoffs that do
    not ascend from 1.
    """

    def __init__(
        self, hidden: int, vocabulary: int, cutoffs: Sequence[int], rows: float, inner: float,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if not cutoffs or list(cutoffs) != sorted(set(cutoffs)) or cutoffs[0] < 1:
            raise ValueError(f"cutoffs must ascend from 1 or more, not {list(cutoffs)}")
        self.ends = [*(cutoff for cutoff in cutoffs if cutoff < vocabulary), vocabulary]
        self.head = drawn(nn.Linear, hidden, self.ends[0] + len(self.ends) - 1, rows, generator, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.ends[0] + len(self.ends) - 1))
        self.projections, self.tails = nn.ModuleList(), nn.ModuleList()
        for number, (first, end) in enumerate(pairwise(self.ends), 1):
            narrow = max(hidden // NARROWER**number, 1)
            self.projections.append(drawn(nn.Linear, hidden, narrow, inner, generator, bias=False))
            self.tails.append(drawn(nn.Linear, narrow, end - first, rows, generator, bias=False))

    def nats(self, hidden: Tensor, targets: Tensor, factors: Tensor | None = None) -> Tensor:
        """Summed -ln p of targets [N] given hidden [N, H], each times its factor [N], where there are such."""
        of_head, places = targets.clone(), []
        for number, (first, end) in enumerate(pairwise(self.ends)):
            inside = (targets >= first) & (targets < end)
            of_head[inside] = self.ends[0] + number
            places.append(inside.nonzero()[:, 0])
        total = softmax_nats(hidden, self.head.weight, self.bias, of_head, factors=factors)
        for number, rows in enumerate(places):
            read, own = self._projected(hidden[rows], number), targets[rows] - self.ends[number]
            (weight,) = self.tails[number].parameters()
            of_rows = None if factors is None else factors[rows]
            with one_thread():  # its products are long and narrow, and threads would split their sums
                total = total + softmax_nats(read, weight, weight.new_zeros(len(weight)), own, factors=of_rows)
        return total

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """ln p of every word: [..., H] -> [..., V]."""
        head = nn.functional.linear(hidden, self.head.weight, self.bias).log_softmax(-1)
        every = [head[..., : self.ends[0]]]
        for number, tail in enumerate(self.tails):
            of_cluster = head[..., self.ends[0] + number, None]
            every.append(of_cluster + tail(self._projected(hidden, number)).log_softmax(-1))
        return torch.cat(every, dim=-1)

    def _projected(self, hidden: Tensor, number: int) -> Tensor:
        projected: Tensor = _Narrowed.apply(hidden, self.projections[number].weight)
        return projected


class _Narrowed(torch.autograd.Function):
    """x W^T to few numbers: a sum over many rows in the weight's gradient, which threads would split."""

    @staticmethod
    @one_thread()
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return nn.functional.linear(hidden, weight)

    @staticmethod
    @once_differentiable
    @one_thread()
    def backward(ctx: Any, d_narrow: Tensor) -> tuple[Tensor, Tensor]:
        hidden, weight = ctx.saved_tensors
        return d_narrow @ weight, d_narrow.flatten(0, -2).t() @ hidden.flatten(0, -2)
