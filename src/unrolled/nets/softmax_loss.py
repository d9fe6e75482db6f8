"""The softmax over a large vocabulary and its gradient, a chunk of rows at a time.

    hidden [N, H]  ->  logits of one chunk [chunk, V]  ->  overwritten by their softmax, which gives the nats, and then
                                                           by softmax - one-hot, their gradient, used while in the cache

So no N x V matrix is kept for the backward pass; on a CPU that is faster too, for a fresh matrix of that size costs
more to touch than to compute.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS = 2**22  # numbers in a chunk's logits, 16 MB: more is not faster, and from 32 MB on malloc takes fresh pages
ROWS = 64  # and at least so many rows, or the products are slow


def softmax_nats(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, chunk: int | None = None) -> Tensor:
    """Summed -log softmax(hidden W^T + b)[targets], a scalar: cross entropy with ``reduction="sum"``.

    hidden [N, H], weight [V, H], bias [V], targets int64 [N]; ``chunk``: rows at a time, None for what is fast.
    """
    if chunk is None:
        chunks = math.ceil(len(hidden) / max(LOGITS // len(weight), ROWS))
        chunk = math.ceil(len(hidden) / max(chunks, 1))
    nats: Tensor = _SoftmaxNats.apply(hidden, weight, bias, targets, chunk)
    return nats


def _nats_of_chunk(hidden: Tensor, weight: Tensor, bias: Tensor, own: Tensor, logits: Tensor) -> Tensor:
    """Summed nats of a chunk; leaves its softmax in ``logits`` [chunk, V].

    -log p = (largest logit - own logit) - log p(largest): exact also where p has underflowed, as it does once an
    unclipped arm has exploded.
    """
    torch.addmm(bias, hidden, weight.t(), out=logits)
    behind = logits.amax(1) - logits.gather(1, own)[:, 0]
    torch.softmax(logits, 1, out=logits)
    return (behind - logits.amax(1).log()).sum(dtype=torch.float64)


class _SoftmaxNats(torch.autograd.Function):
    """The gradient is formed in the forward pass, up to the scalar that comes back in the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, chunk: int) -> Tensor:
        d_hidden, d_bias = torch.empty_like(hidden), torch.zeros_like(bias)
        words, width = weight.shape  # MKL sums into rows that begin on 32-byte boundaries 1.5 times as fast
        d_weight = weight.new_empty(words, width + -width % 8)[:, :width]
        if not len(hidden):
            d_weight.zero_()
        logits_of_chunk = hidden.new_empty(min(chunk, len(hidden)), len(weight))
        nats = hidden.new_zeros((), dtype=torch.float64)
        for rows in (slice(start, start + chunk) for start in range(0, len(hidden), max(chunk, 1))):
            inputs, own = hidden[rows], targets[rows, None]
            d_logits = logits_of_chunk[: len(inputs)]
            nats += _nats_of_chunk(inputs, weight, bias, own, d_logits)
            d_logits.scatter_add_(1, own, d_logits.new_full((len(inputs), 1), -1.0))
            torch.mm(d_logits, weight, out=d_hidden[rows])
            d_weight.addmm_(d_logits.t(), inputs, beta=int(rows.start > 0))
            d_bias += d_logits.sum(0)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return nats.to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_nats: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        scaled = torch.mul(d_weight, d_nats, out=d_weight.new_empty(d_weight.shape))
        return d_hidden * d_nats, scaled, d_bias * d_nats, None, None
