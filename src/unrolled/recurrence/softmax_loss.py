"""The softmax over a large vocabulary and its gradient, a chunk of rows at a time.

    hidden [N, H]  ->  logits of one chunk [chunk, V]  ->  overwritten by their softmax, which gives the nats, and then
                                                           by softmax - one-hot, their gradient, used while in the cache

So no N x V matrix is kept for the backward pass; on a CPU that is faster too, as touching a fresh matrix of that size
takes longer than computing it.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.recurrence.compiled.dispatch import runs_compiled
from unrolled.recurrence.threads import one_thread

LOGITS = 7 * 2**20  # numbers in a chunk's logits, 29 MB: from 32 MB on malloc takes fresh pages
ROWS = 64  # but at least this many rows, or the products are slow


def softmax_nats(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor,
    *, factors: Tensor | None = None, chunk: int | None = None,
) -> Tensor:  # fmt: skip
    """Summed -log softmax(hidden W^T + b)[targets], a scalar: cross entropy with ``reduction="sum"``.

    hidden [N, H], weight [V, H], bias [V], targets int64 [N]; ``factors`` [N]: what each row's nats are multiplied by
    before they are summed, constants without a gradient; ``chunk``: rows at a time; None for a fast number.
    """
    if chunk is None:
        chunks = math.ceil(len(hidden) / max(LOGITS // len(weight), ROWS))
        chunk = math.ceil(len(hidden) / max(chunks, 1))
    if not torch.is_grad_enabled():
        return _nats_alone(hidden, weight, bias, targets, factors, chunk)
    nats: Tensor = _SoftmaxNats.apply(hidden, weight, bias, targets, factors, chunk)
    return nats


def _nats_alone(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, factors: Tensor | None, chunk: int
) -> Tensor:
    """As `_SoftmaxNats`, to the bit, without the products that only a gradient wants: two of three."""
    logits_of_chunk = hidden.new_empty(min(chunk, len(hidden)), len(weight))
    nats = hidden.new_zeros((), dtype=torch.float64)
    for rows in (slice(start, start + chunk) for start in range(0, len(hidden), max(chunk, 1))):
        logits = torch.mm(hidden[rows], weight.t(), out=logits_of_chunk[: len(hidden[rows])])
        nats += _gradient_of_chunk(logits, bias, targets[rows], None if factors is None else factors[rows])[0]
    return nats.to(hidden.dtype)


def _gradient_of_chunk(logits: Tensor, bias: Tensor, own: Tensor, factors: Tensor | None) -> tuple[Tensor, Tensor]:
    """Summed nats of a chunk and the bias' gradient [V]; the logits [chunk, V] are overwritten by their gradient."""
    nats, d_bias = _rows_of_chunk(logits, bias, own)
    if factors is None:
        return _sum(nats), d_bias
    logits *= factors[:, None]
    with one_thread():
        return _sum(nats * factors), logits.sum(0)


def _rows_of_chunk(logits: Tensor, bias: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """As above, but the nats of each row.

    -log p = (largest logit - own logit) - log p(largest): exact even where p underflows, as it does once an unclipped
    arm has exploded.
    """
    if runs_compiled(logits):
        from unrolled.recurrence.compiled.softmax import softmax_gradient  # here: see its `dispatch.py`

        return softmax_gradient(logits, bias, own)
    logits += bias
    behind = logits.amax(1) - logits.gather(1, own[:, None])[:, 0]
    torch.softmax(logits, 1, out=logits)
    nats = behind - logits.amax(1).log()
    logits.scatter_add_(1, own[:, None], logits.new_full((len(logits), 1), -1.0))
    return nats, logits.sum(0)


@one_thread()
def _sum(nats: Tensor) -> Tensor:
    """In double precision; of as many rows as a small vocabulary leaves in a chunk, threads would round otherwise."""
    return nats.sum(dtype=torch.float64)


class _SoftmaxNats(torch.autograd.Function):
    """The gradient is computed in the forward pass, but for the scalar factor that arrives in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, factors: Tensor | None, chunk: int
    ) -> Tensor:
        d_hidden, d_bias = torch.empty_like(hidden), torch.zeros_like(bias)
        words, width = weight.shape  # MKL is 1.5 times as fast at summing into rows that begin on 32-byte boundaries
        d_weight = weight.new_empty(words, width + -width % 8)[:, :width]
        if not len(hidden):
            d_weight.zero_()
        logits_of_chunk = hidden.new_empty(min(chunk, len(hidden)), len(weight))
        nats = hidden.new_zeros((), dtype=torch.float64)
        for rows in (slice(start, start + chunk) for start in range(0, len(hidden), max(chunk, 1))):
            inputs = hidden[rows]
            d_logits = torch.mm(inputs, weight.t(), out=logits_of_chunk[: len(inputs)])
            of_chunk = None if factors is None else factors[rows]
            nats_of_chunk, d_bias_of_chunk = _gradient_of_chunk(d_logits, bias, targets[rows], of_chunk)
            nats += nats_of_chunk
            d_bias += d_bias_of_chunk
            torch.mm(d_logits, weight, out=d_hidden[rows])
            d_weight.addmm_(d_logits.t(), inputs, beta=int(rows.start > 0))
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return nats.to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_nats: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        scaled = torch.mul(d_weight, d_nats, out=d_weight.new_empty(d_weight.shape))
        return d_hidden * d_nats, scaled, d_bias * d_nats, None, None, None
