"""The softmax over a large vocabulary and its gradient, a chunk of rows at a time.

    hidden [N, H]  ->  logits of one chunk [chunk, V]  ->  their nats, then overwritten by softmax - one-hot,
                                                           which is their gradient, used while it is still in the cache

So no N x V matrix is kept for the backward pass; on a CPU that is faster too, for a fresh matrix of that size costs
more to touch than to compute.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 256  # rows; flat between 128 and 512


def softmax_nats(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Summed -log softmax(hidden W^T + b)[targets], a scalar: cross entropy with ``reduction="sum"``.

    hidden [N, H], weight [V, H], bias [V], targets int64 [N].
    """
    nats: Tensor = _SoftmaxNats.apply(hidden, weight, bias, targets, chunk)
    return nats


class _SoftmaxNats(torch.autograd.Function):
    """The gradient is formed in the forward pass, up to the scalar that comes back in the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, chunk: int) -> Tensor:
        d_hidden, d_weight, d_bias = torch.empty_like(hidden), torch.zeros_like(weight), torch.zeros_like(bias)
        logits_of_chunk = hidden.new_empty(min(chunk, len(hidden)), len(weight))
        nats = hidden.new_zeros((), dtype=torch.float64)
        for rows in (slice(start, start + chunk) for start in range(0, len(hidden), chunk)):
            inputs, own = hidden[rows], targets[rows, None]
            logits = torch.addmm(bias, inputs, weight.t(), out=logits_of_chunk[: len(inputs)])
            logits.sub_(logits.amax(1, keepdim=True))
            own_logits = logits.gather(1, own)
            total = logits.exp_().sum(1, keepdim=True)
            nats += (total.log() - own_logits).sum(dtype=torch.float64)
            d_logits = logits.div_(total)
            d_logits.scatter_add_(1, own, d_logits.new_full((len(inputs), 1), -1.0))
            torch.mm(d_logits, weight, out=d_hidden[rows])
            d_weight.addmm_(d_logits.t(), inputs)
            d_bias += d_logits.sum(0)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return nats.to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_nats: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        return d_hidden * d_nats, d_weight * d_nats, d_bias * d_nats, None, None
