"""What a torch layer makes of the same weights: the oracle of cells and stacks."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unrolled.recurrence.layer import RecurrentLayer


def twin_of(layer: RecurrentLayer, cell: str) -> nn.RNNBase:
    """The torch layer with the same weights; its second bias is zero but for the GRU's candidate."""
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


def run_twin(twin: nn.RNNBase, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    outputs, final = twin(inputs, tuple(part[None] for part in state) if len(state) > 1 else state[0][None])
    return outputs, tuple(part[0] for part in (final if isinstance(final, tuple) else (final,)))


def run_packed_twin(
    twin: nn.RNNBase, inputs: Tensor, state: tuple[Tensor, ...], lengths: Tensor, reverse: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The twin on torch's PackedSequence, as one direction of a bidirectional layer: torch has no other reverse one."""
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
