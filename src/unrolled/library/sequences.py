"""torch's forms of a sequence, checked, as the engine's window; and what comes out in the form that went in."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Window(NamedTuple):
    """What a module reads. Columns of a PackedSequence stand in its own order, from the longest to the shortest."""

    inputs: Tensor  # [T, B, E]
    state: tuple[Tensor, ...]  # h, or h and c: [L D, B, H] each
    lengths: Tensor | None  # int64 [B]; None: all are T


def opened(module: nn.RNNBase, given: Tensor | PackedSequence, hx: Any) -> Window:
    """Time first, batched, the state spelled out; TypeError, ValueError or RuntimeError for what does not fit."""
    packed = given if isinstance(given, PackedSequence) else None
    data = packed.data if packed else given
    if not isinstance(data, Tensor):
        raise TypeError(f"input must be a Tensor or a PackedSequence, not {type(given).__name__}")
    if not packed and data.dim() not in (2, 3):
        raise ValueError(f"{module._get_name()}: Expected input to be 2D or 3D, got {data.dim()}D instead")
    single = not packed and data.dim() == 2
    if single:
        data = data.unsqueeze(0 if module.batch_first else 1)
    weight = module.all_weights[0][0]
    if autocasting(data.device):  # half of a layer below; the engine stays with the weights
        data = data.to(weight.dtype)
    check_placed(data, "input", weight)
    if weight.device.type == "cpu" and weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"on the CPU weights must be float32 or float64, not {weight.dtype}; convert: module.float()")
    state = _state(module, hx, data, packed.batch_sizes if packed else None, single)
    if packed:
        inputs, lengths = pad_packed_sequence(PackedSequence(data, packed.batch_sizes))
        return Window(inputs, _permuted(state, packed.sorted_indices), lengths)
    inputs = data.transpose(0, 1) if module.batch_first else data
    if not len(inputs):
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    return Window(inputs, state, None)


def closed(
    module: nn.RNNBase, given: Tensor | PackedSequence, window: Window, outputs: Tensor, final: tuple[Tensor, ...]
) -> tuple[Any, Any]:
    """Outputs [T, B, D H] and the final state in the form of what was given."""
    form: Tensor | PackedSequence
    if isinstance(given, PackedSequence):
        assert window.lengths is not None
        data = pack_padded_sequence(outputs, window.lengths).data
        form, final = given._replace(data=data), _permuted(final, given.unsorted_indices)
    else:
        if outputs.requires_grad and not module.bidirectional:
            outputs = outputs.clone()  # a view of what the backward pass needs; whoever calls may write into its own
        form = outputs.transpose(0, 1) if module.batch_first else outputs
        if given.dim() == 2:
            form, final = outputs.squeeze(1), tuple(part.squeeze(1) for part in final)
    return form, final if isinstance(module, nn.LSTM) else final[0]


def dropped(passed: Tensor, lengths: Tensor | None, share: float, training: bool) -> Tensor:
    """[T, B, H] with ``share`` of it dropped out; as in torch's modules nothing is drawn for padding."""
    if lengths is None or not training or not share:
        return nn.functional.dropout(passed, share, training)
    packed = pack_padded_sequence(passed, lengths)
    drawn = packed._replace(data=nn.functional.dropout(packed.data, share, training))
    return pad_packed_sequence(drawn)[0]


def _state(module: nn.RNNBase, hx: Any, data: Tensor, batch_sizes: Tensor | None, single: bool) -> tuple[Tensor, ...]:
    """hx, batched and checked with the input beside it; zeros for None. ``single``: it is of one sequence, [L D, H]."""
    of_lstm = isinstance(module, nn.LSTM)
    size = module.get_expected_hidden_size(data, batch_sizes)
    if hx is None:
        parts = tuple(data.new_zeros(size) for _ in range(1 + of_lstm))
    else:
        parts = tuple(hx) if of_lstm and isinstance(hx, tuple | list) else (hx,)
        if len(parts) != 1 + of_lstm or not all(isinstance(part, Tensor) for part in parts):
            raise TypeError("hx must be " + ("a pair of tensors (h_0, c_0)" if of_lstm else "a tensor h_0"))
        dims, shown = 2 if single else 3, ", ".join(f"{part.dim()}-D" for part in parts)
        if any(part.dim() != dims for part in parts):
            raise RuntimeError(
                f"For {'unbatched' if single else 'batched'} input, hx should be {dims}-D, [layers x directions, "
                f"{'' if single else 'batch, '}hidden], but got {shown}"
            )
        parts = tuple(part.unsqueeze(1) for part in parts) if single else parts
    module.check_forward_args(data, parts if of_lstm else parts[0], batch_sizes)  # type: ignore[arg-type]
    weight = module.all_weights[0][0]
    if autocasting(data.device):
        parts = tuple(part.to(weight.dtype) for part in parts)
    for part in parts:
        check_placed(part, "hx", weight)
    return parts


def autocasting(device: torch.device) -> bool:
    """Not every device knows of autocast: where nothing is computed, on "meta", asking is an error."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def check_placed(tensor: Tensor, name: str, weight: Tensor) -> None:
    """Where the weights are, in their type."""
    if tensor.device != weight.device:
        raise RuntimeError(f"{name} is on {tensor.device}, the weights on {weight.device}; move one to the other")
    if tensor.dtype != weight.dtype:
        raise ValueError(f"{name} is {tensor.dtype}, and the weights are {weight.dtype}; convert one to the other")


def _permuted(state: tuple[Tensor, ...], order: Tensor | None) -> tuple[Tensor, ...]:
    return state if order is None else tuple(part.index_select(1, order) for part in state)
