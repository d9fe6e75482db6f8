"""What a torch layer makes of the same weights: the oracle of cells and stacks."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unrolled.recurrence.layer import RecurrentLayer


class MinimalTwin(nn.Module):
    """minGRU and minLSTM as they are written down (Feng et al. 2024), one column and one step after another."""

    def __init__(self, layer: RecurrentLayer, cell: str) -> None:
        super().__init__()
        self.cell = cell
        self.weight_ih_l0 = nn.Parameter(layer.weight_ih.detach().clone())
        self.weight_hh_l0 = nn.Parameter(layer.weight_hh.detach().clone())
        self.bias_ih_l0 = nn.Parameter(layer.bias.detach().clone())

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [T, B, E] and state [1, B, H], as torch's layers have it."""
        hidden, outputs = state[0], []
        for x in inputs:
            hidden = self.step(x, hidden)
            outputs.append(hidden)
        return torch.stack(outputs), hidden[None]

    def step(self, x: Tensor, hidden: Tensor) -> Tensor:
        drive = x @ self.weight_ih_l0.T + self.bias_ih_l0
        *gates, candidate = drive.split(hidden.shape[1], dim=1)
        candidate = torch.where(candidate >= 0, candidate + 0.5, torch.sigmoid(candidate))
        hidden = hidden + self.weight_hh_l0.sum()  # which has no rows: nothing is added, but autograd sees it
        if self.cell == "mingru":
            (z,) = map(torch.sigmoid, gates)
            return (1 - z) * hidden + z * candidate
        i, f = map(torch.sigmoid, gates)
        return f / (f + i) * hidden + i / (f + i) * candidate


def twin_of(layer: RecurrentLayer, cell: str) -> nn.Module:
    """The torch layer with the same weights; its second bias is zero but for the GRU's candidate."""
    if not layer.cell.recurrent:
        return MinimalTwin(layer, cell)
    inputs, hidden = layer.weight_ih.shape[1], layer.hidden
    twins = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    twin = nn.RNN(inputs, hidden, nonlinearity="relu") if cell == "relu" else twins[cell](inputs, hidden)
    twin = twin.to(layer.weight_ih.dtype)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(layer.weight_ih)
        twin.weight_hh_l0.copy_(layer.weight_hh)
        twin.bias_ih_l0.copy_(layer.bias)
        twin.bias_hh_l0.zero_()
        if layer.bias_hh is not None:
            twin.bias_hh_l0[-hidden:] = layer.bias_hh
    return twin


def run_twin(twin: nn.Module, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    outputs, final = twin(inputs, tuple(part[None] for part in state) if len(state) > 1 else state[0][None])
    return outputs, tuple(part[0] for part in (final if isinstance(final, tuple) else (final,)))


def run_packed_twin(
    twin: nn.Module, inputs: Tensor, state: tuple[Tensor, ...], lengths: Tensor, reverse: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The twin on torch's PackedSequence, as one direction of a bidirectional layer: torch has no other reverse one."""
    if isinstance(twin, MinimalTwin):
        return _column_by_column(twin, inputs, state[0], lengths, reverse)
    both = type(twin)(twin.input_size, twin.hidden_size, bidirectional=True).to(inputs.dtype)
    both.mode = twin.mode  # tanh or relu
    for name, parameter in twin.named_parameters():
        setattr(both, name, parameter)
        setattr(both, f"{name}_reverse", parameter)
    pair = tuple(torch.stack((part, part)) for part in state)
    packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    outputs, final = both(packed, pair if len(state) > 1 else pair[0])
    padded, _ = pad_packed_sequence(outputs, total_length=len(inputs))
    final = final if isinstance(final, tuple) else (final,)
    return padded.chunk(2, dim=-1)[int(reverse)], tuple(part[int(reverse)] for part in final)


def _column_by_column(
    twin: MinimalTwin, inputs: Tensor, state: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    outputs, final = torch.zeros(*inputs.shape[:2], state.shape[1], dtype=inputs.dtype), []
    for column, length in enumerate(lengths.tolist()):
        read = inputs[:length, column, None]
        found, last = twin(read.flip(0) if reverse else read, state[None, column, None])
        outputs[:length, column] = (found.flip(0) if reverse else found)[:, 0]
        final.append(last[0, 0])
    return outputs, (torch.stack(final),)
