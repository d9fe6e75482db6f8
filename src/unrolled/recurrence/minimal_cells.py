"""Cells whose gates do not read the state: minGRU and minLSTM (Feng et al. 2024, "Were RNNs All We Needed?").

    h' = f h + (1 - f) g,     dL/dh = f dL/dh'

The share f that is kept and the candidate g hang on the input alone, so they are computed for all time steps at once.
Nothing multiplies the state but f, unit by unit: a gradient never grows on its way back. There is no recurrent matrix.
The candidate is g = u + 0.5 for a drive u >= 0, else sigmoid(u), which is positive (their appendix B).
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unrolled.recurrence.cell import LayerWeights, Parts
from unrolled.recurrence.threads import one_thread


class Minimal:
    """What both share: one step of the state, and its adjoint. Of the gates, the candidate is the last."""

    extras, states = 1, 1  # extra: f
    recurrent, recurrent_bias, carries = False, False, True
    compiled_kind: int | None = None

    def step(
        self, activations: Tensor, gates: Parts, extra: Tensor, operands: Parts, before: Parts, after: Parts
    ) -> None:
        torch.lerp(gates[-1], before[0], extra, out=after[0])

    def adjoint(self, gates: Parts, others: Parts, d_hidden: Tensor, carried: Tensor | None) -> None:
        torch.mul(d_hidden, others[0], out=carried)

    def drive_gradient(self, d_gates: Tensor, others: Parts, d_hidden: Tensor) -> Tensor:
        return torch.cat([factor * d_hidden for factor in others[1:]], dim=-1)


class MinGRU(Minimal):
    """minGRU (Feng et al. 2024, "Were RNNs All We Needed?", section 3.1): h' = (1 - z) h + z g.

    z = sigmoid(W_z x + b_z), where a GRU's z is the share that is kept. Gates in the order z, g; z is never written:
    f = sigmoid(-..) stands in its place.
    """

    gates = 2

    @one_thread()
    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        update, candidate = drive.chunk(2, dim=-1)
        torch.neg(update, out=extra).sigmoid_()
        _activate(candidate)
        return ()

    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        candidate = activations.chunk(2, dim=-1)[1]
        written = 1 - extra
        of_update = (candidate - before[0]) * (extra * written)
        return activations.new_empty(len(activations), 0), extra, of_update, written * _slope(candidate)


class MinLSTM(Minimal):
    """minLSTM (Feng et al. 2024, section 3.2): h' = f' h + i' g, f' = f / (f + i), i' = i / (f + i) = 1 - f'.

    i, f = sigmoid(..). Gates in the order i, f, g; the activations are log i, log f, g, as f' = sigmoid(log f - log i)
    is a number even where both gates are closed.
    """

    gates = 3

    @one_thread()
    def prepare(self, drive: Tensor, extra: Tensor, weights: LayerWeights) -> Parts:
        log_i, log_f, candidate = drive.chunk(3, dim=-1)
        for gate in (log_i, log_f):
            gate.copy_(logsigmoid(gate))
        torch.sub(log_f, log_i, out=extra).sigmoid_()
        _activate(candidate)
        return ()

    @one_thread()
    def factors(self, activations: Tensor, extra: Tensor, before: Parts, after: Parts) -> Parts:
        """d(log f)/d(drive of f) is 1 - f, d(log i)/d(drive of i) is 1 - i."""
        log_i, log_f, candidate = activations.chunk(3, dim=-1)
        written = 1 - extra
        of_log_f = (before[0] - candidate) * (extra * written)
        gates = activations.new_empty(len(activations), 0)
        return gates, extra, of_log_f * log_i.expm1(), -of_log_f * log_f.expm1(), written * _slope(candidate)


def _activate(drive: Tensor) -> None:
    """The candidate of a minimal cell, in place: u + 0.5 for u >= 0, else sigmoid(u); sigmoid(0) is 0.5 itself."""
    above = drive.clamp(min=0)
    drive.clamp_(max=0).sigmoid_().add_(above)


def _slope(candidate: Tensor) -> Tensor:
    """Its derivative, from its value: 1 from 0.5 on, below that the sigmoid's. `torch.where` takes twice as long."""
    return torch.maximum(candidate - candidate * candidate, (candidate >= 0.5).to(candidate.dtype))
