"""From logits to their gradient in place, compiled: each row stays in the cache for everything that is done to it."""

import numpy as np
from numba import njit
from torch import Tensor

from unrolled.recurrence.compiled.arithmetic import CONTRACT, exp
from unrolled.recurrence.compiled.openmp import arguments, array, next_share, run

SHARES = 8  # of the rows; how many decides how sums are rounded, so it must not depend on the number of threads


@njit(error_model="numpy", fastmath={"contract", "reassoc", "nnan", "nsz"})
def _largest(logits, bias, row):
    """Add the bias and return the largest logit of the row; any of them where one is NaN."""
    largest = np.float32(-np.inf)
    for j in range(logits.shape[1]):
        logit = logits[row, j] + bias[j]
        logits[row, j] = logit
        largest = max(largest, logit)
    return largest


@njit(error_model="numpy", fastmath={"contract", "reassoc"})
def _exponentials(logits, row, largest):
    """Replace the logits by exp(logit - largest) and return their sum."""
    total = np.float32(0)
    for j in range(logits.shape[1]):
        power = exp(logits[row, j] - largest)
        logits[row, j] = power
        total += power
    return total


@njit(error_model="numpy", fastmath=CONTRACT)
def _rows(logits, bias, targets, nats, d_bias, share, first, last):
    for row in range(first, last):
        largest = _largest(logits, bias, row)
        own = targets[row]
        behind = largest - logits[row, own]
        total = _exponentials(logits, row, largest)
        nats[row] = behind + np.log(total)  # exact even where the target's probability underflows
        scale = np.float32(1) / total
        for j in range(logits.shape[1]):
            logits[row, j] *= scale
        logits[row, own] -= np.float32(1)
        for j in range(logits.shape[1]):
            d_bias[share, j] += logits[row, j]


def _softmax(data):
    _, shares, rows, words, logits, bias, targets, nats, d_bias = arguments(data, 7)
    every, own = array(logits, (rows, words)), array(targets, (rows,), np.int64)
    biases, every_nats, sums = array(bias, (words,)), array(nats, (rows,)), array(d_bias, (shares, words))
    share = next_share(data)
    while share < shares:
        first, last = share * rows // shares, (share + 1) * rows // shares
        _rows(every, biases, own, every_nats, sums, share, first, last)
        share = next_share(data)


def softmax_gradient(logits: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """-log softmax(logits + bias)[target] of each row [N], and the bias' gradient [V].

    The logits [N, V] (float32, contiguous) are overwritten by their gradient, softmax - one-hot. targets: int64 [N].
    """
    rows, words = logits.shape
    nats, d_bias = logits.new_empty(rows), logits.new_zeros(SHARES, words)
    run(_softmax, SHARES, (rows, words), (logits, bias.detach().contiguous(), targets.contiguous(), nats, d_bias))
    return nats, d_bias.sum(0)
