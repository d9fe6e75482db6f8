"""Additive attention with location features: which time steps of the audio the next word is heard in.

    energy_t = v . tanh(W query + U outputs_t + F location_t + b)       Bahdanau, Cho & Bengio 2015, appendix A.1.2
    location = convolution over time of what was attended to before     Chorowski et al. 2015, equation 8
    weights  = softmax of the energies over the audio's own time steps, 0 in the padding
    context  = sum of weights_t outputs_t

Two channels are convolved: the weights of the word before, and the sum of those of all words so far. Before the first
word all weight lies on the first time step, so that "a little further on" means the same at the beginning.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.recurrence.stack import drawn
from unrolled.recurrence.threads import one_thread


class Attended(NamedTuple):
    """What a batch's attention is over: outputs [B, T, D], what their energies start from [B, T, A], padding [B, T]."""

    outputs: Tensor
    keys: Tensor
    padding: Tensor

    def of(self, columns: Tensor) -> "Attended":
        """Those columns, in this order."""
        return Attended(*(each[columns] for each in self))


class Attention(nn.Module):
    """``size``: A; ``filters`` and ``width`` of the convolution, in time steps, odd; 0 filters: heed content alone."""

    def __init__(
        self, outputs: int, query: int, size: int, filters: int, width: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if width % 2 == 0:
            raise ValueError(f"width must be odd, not {width}")
        self.keys = drawn(nn.Linear, outputs, size, outputs**-0.5, generator)
        self.query = drawn(nn.Linear, query, size, query**-0.5, generator, bias=False)
        self.energy = drawn(nn.Linear, size, 1, size**-0.5, generator, bias=False)
        self.filters, self.width = filters, width
        if filters:
            self.kernel = drawn(nn.Linear, 2 * width, filters, (2 * width) ** -0.5, generator, bias=False)
            self.location = drawn(nn.Linear, filters, size, filters**-0.5, generator, bias=False)

    def over(self, outputs: Tensor, lengths: Tensor) -> Attended:
        """Prepare outputs [T, B, D] of so many time steps each, int64 [B]."""
        padding = torch.arange(len(outputs), device=outputs.device) >= lengths[:, None]
        columns = outputs.transpose(0, 1)
        return Attended(columns, self.keys(columns), padding)

    def start(self, attended: Attended) -> Tensor:
        """[B, 2, T]: the weights of the word before the first, and their sum."""
        start = attended.outputs.new_zeros(len(attended.outputs), 2, attended.outputs.shape[1])
        start[:, 0, 0] = 1.0
        return start

    def forward(self, query: Tensor, before: Tensor, attended: Attended) -> tuple[Tensor, Tensor]:
        """Context [B, D] of a query [B, H], and the weights [B, 2, T] to attend from next; ``before``: the last."""
        drive = attended.keys + self.query(query)[:, None]
        if self.filters:
            windows = nn.functional.pad(before, (self.width // 2, self.width // 2)).unfold(2, self.width, 1)
            drive += self.location(self.kernel(windows.transpose(1, 2).flatten(2)))
        energies = self.energy(drive.tanh_())[..., 0].masked_fill(attended.padding, -torch.inf)
        weights: Tensor = _Softmax.apply(energies)
        context = torch.bmm(weights[:, None], attended.outputs)[:, 0]
        return context, torch.stack([weights, before[:, 1] + weights], dim=1)


class _Softmax(torch.autograd.Function):
    """The softmax along the last axis. The bits of torch's own gradient depend on how many threads share it."""

    @staticmethod
    @one_thread()
    def forward(ctx: Any, energies: Tensor) -> Tensor:
        weights = energies.softmax(-1)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @once_differentiable
    @one_thread()
    def backward(ctx: Any, d_weights: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        weighted = weights * d_weights
        return torch.addcmul(weighted, weights, weighted.sum(-1, keepdim=True), value=-1)
