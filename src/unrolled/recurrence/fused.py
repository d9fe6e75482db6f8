"""A window read by torch's own layer, fused, where nobody asks for its profile.

A GPU waits for each of the small steps of a loop over time; cuDNN's layers hide them, and with them the gradient of
every time step. On the CPU the compiled loops are as fast, and have the norms for nothing; but whoever only reads a
text by an LSTM is spared their compiler, which takes half a second and 140 MB, by `RecurrentLayer.by_torch`. (torch's
GRU and RNN take three times as long as those loops do, at 128 units.)
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.recurrence.cell import Cell, LayerWeights, Parts
from unrolled.recurrence.cells import GRU, LSTM, ReLURNN, TanhRNN

FUSED: dict[type, Callable[..., Any]] = {
    TanhRNN: torch.rnn_tanh,
    ReLURNN: torch.rnn_relu,
    GRU: torch.gru,
    LSTM: torch.lstm,
}


def runs_fused(cell: Cell, inputs: Tensor, by_torch: bool) -> bool:
    """Whether torch has a layer of this cell that is faster on such inputs, or is wanted and as fast."""
    return type(cell) in FUSED and (inputs.device.type == "cuda" or (by_torch and isinstance(cell, LSTM)))


def fused(
    cell: Cell, inputs: Tensor, weights: LayerWeights, state: Parts, reverse: bool, lengths: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As `unroll`, with the same results but for rounding."""
    if lengths is not None and int(lengths.min()) == len(inputs):
        lengths = None
    read = _turned(inputs, lengths) if reverse else inputs
    before = [part[None].contiguous() for part in state]
    layer = (_as_torch_has_them(weights), True, 1, 0.0, torch.is_grad_enabled(), False)
    if lengths is None:
        outputs, *after = FUSED[type(cell)](read, _state(before), *layer, False)
    else:
        packed = pack_padded_sequence(read, lengths.cpu(), enforce_sorted=False)
        before = [part[:, packed.sorted_indices] for part in before]
        rows, *after = FUSED[type(cell)](packed.data, packed.batch_sizes, _state(before), *layer)
        outputs, _ = pad_packed_sequence(PackedSequence(rows, *packed[1:]), total_length=len(inputs))
        after = [part[:, packed.unsorted_indices] for part in after]
    return _turned(outputs, lengths) if reverse else outputs, tuple(part[0] for part in after)


def _state(parts: list[Tensor]) -> Tensor | list[Tensor]:
    return parts if len(parts) > 1 else parts[0]


def _as_torch_has_them(weights: LayerWeights) -> list[Tensor]:
    """W_ih, W_hh and two biases, of which the second is zero but for a GRU's candidate.

    As views of one piece in cuDNN's order: it would copy them to such a piece at each call, and warn of it.
    """
    bias, size = weights.bias, weights.weight_hh.shape[1]
    second = bias.new_zeros(len(bias))
    if weights.bias_hh is not None:
        second = torch.cat((second[size:], weights.bias_hh))
    parts = [weights.weight_ih, weights.weight_hh, bias, second]
    if bias.device.type != "cuda":
        return parts
    whole = torch.cat([part.flatten() for part in parts]).split([part.numel() for part in parts])
    return [piece.view_as(part) for piece, part in zip(whole, parts, strict=True)]


def _turned(window: Tensor, lengths: Tensor | None) -> Tensor:
    """[T, B, features] with each column's tokens in the opposite order, and its padding behind them still."""
    if lengths is None:
        return window.flip(0)
    steps = torch.arange(len(window), device=window.device)[:, None]
    places = (lengths.to(window.device) - 1 - steps) % len(window)
    return window.take_along_dim(places[:, :, None], 0)
