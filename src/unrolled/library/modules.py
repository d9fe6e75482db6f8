"""RNN, GRU and LSTM in place of torch's: the same arguments, inputs, outputs, weights and errors, and a `profile`.

They are torch's modules, so that whatever asks `isinstance(module, torch.nn.LSTM)` still finds one. What runs is the
engine of `recurrence/`. What it does not do is refused in one line: projections, half precision on the CPU, gradients
of gradients, being traced, scripted or exported.
"""

from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.library.distances import DistanceNorms
from unrolled.library.sequences import Window, autocasting, check_placed, closed, dropped, opened
from unrolled.recurrence.bptt import unroll
from unrolled.recurrence.cell import Cell, LayerWeights
from unrolled.recurrence.cells import CELLS

CELL_OF_MODE = {"RNN_TANH": "rnn", "RNN_RELU": "relu", "GRU": "gru", "LSTM": "lstm"}  # torch's modes
REFUSED = b"unrolled's RNN, GRU and LSTM have no gradients of gradients; take torch.nn's for them"
EXPORTING = getattr(torch.compiler, "is_exporting", bool)  # torch before 2.7 does not tell
ROWS = {"GRU": 3, "LSTM": 4}  # blocks of hidden_size rows in a weight


class Unrolled(nn.RNNBase):
    """What the three share. Theirs are torch's parameters; two biases are added, as the engine has one."""

    _distances: DistanceNorms

    @property
    def profile(self) -> dict[str, Tensor]:
        """How far back the latest loss reached, found by its backward pass: {"l0": [T], "l0_reverse": [T], ...}.

        Element d is ||dL/dh||, Frobenius over batch and units, d time steps before the last that a sequence reads;
        padding does not count, and an `l0_reverse` reads the first token last. Of a loss of the last output alone this
        is the lag profile of Pascanu, Mikolov & Bengio 2013. If the module was called several times before the
        backward pass, as one step at a time, the steps of all calls count. Empty before the first backward pass.

        >>> import torch, unrolled
        >>> lstm = unrolled.LSTM(3, 4)
        >>> outputs, _ = lstm(torch.ones(5, 2, 3))
        >>> outputs[-1].sum().backward()
        >>> [name for name in lstm.profile], lstm.profile["l0"].shape
        (['l0'], torch.Size([5]))
        """
        return self._distances.norms

    def forget_profile(self) -> None:
        """Empty the profile."""
        self._distances.clear()

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Outputs and final state, of the form that torch's module gives for such an input and initial state `hx`.

        input: [T, B, E], with `batch_first` [B, T, E], of one sequence [T, E], or a PackedSequence. RuntimeError or
        ValueError, as torch's, in one line for what does not fit.
        """
        if torch._C._get_tracing_state() is not None or EXPORTING():
            raise self._not_torchs_to_run()
        window = opened(self, input, hx)
        device = window.inputs.device
        with torch.autocast(device.type, enabled=False) if autocasting(device) else nullcontext():
            outputs, final = self._run(window)
        return closed(self, input, window, outputs, final)

    def _run(self, window: Window) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs [T, B, D H] and the final state, [L D, B, H] each; L layers of D directions."""
        cell, directions = cell_of(self), 1 + self.bidirectional
        passed = window.inputs
        final: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer:
                passed = dropped(passed, window.lengths, self.dropout, self.training)
            read = []
            for direction in range(directions):
                name, state = f"l{layer}" + "_reverse" * direction, [part[len(final)] for part in window.state]
                outputs, after = unroll(
                    cell, passed, layer_weights(self, name), tuple(state), reverse=direction == 1,
                    lengths=window.lengths, profile=self._distances, name=name,
                )  # fmt: skip
                if outputs.grad_fn is not None:
                    outputs.grad_fn.register_hook(_once)
                read.append(outputs)
                final.append(after)
            passed = torch.cat(read, dim=-1) if self.bidirectional else read[0]
        return passed, tuple(torch.stack(parts) for parts in zip(*final, strict=True))

    def __prepare_scriptable__(self) -> nn.Module:
        """What `torch.jit.script` asks of a module first."""
        raise self._not_torchs_to_run()

    def _not_torchs_to_run(self) -> RuntimeError:
        name = self._get_name()
        return RuntimeError(
            f"unrolled.{name} is neither traced nor scripted nor exported; load its state_dict into torch.nn.{name}, "
            "which is"
        )


def _once(d_inputs: tuple[Tensor | None, ...], d_outputs: tuple[Tensor | None, ...]) -> Any:
    """A hook of the backward pass: of what `create_graph` asks to be differentiated again the gradient is an error.

    torch's `once_differentiable` sees to it only where the gradients that come in hang on something; a penalty on the
    gradient of a plain sum would else be a constant, and teach nothing.
    """
    if not torch.is_grad_enabled():
        return None
    refuse = torch._C._functions.DelayedError(REFUSED, len(d_inputs))
    found: list[Any] = [None if each is None else each.detach().requires_grad_() for each in d_inputs]
    return tuple(refuse(*found)) if len(found) > 1 else (refuse(*found),)


def cell_of(module: nn.RNNBase) -> Cell:
    return CELLS[CELL_OF_MODE[module.mode]]


def layer_weights(module: nn.RNNBase, name: str) -> LayerWeights:
    """Those of the layer "l0", "l0_reverse", ... of a module, ours or torch's, as the engine has them.

    RuntimeError or ValueError for one that was put in another's place and does not fit there.
    """
    weight_ih, weight_hh = _weight(module, f"weight_ih_{name}"), _weight(module, f"weight_hh_{name}")
    if module.bias:
        bias, bias_hh = _weight(module, f"bias_ih_{name}"), _weight(module, f"bias_hh_{name}")
    else:
        bias = bias_hh = weight_ih.new_zeros(len(weight_ih))
    if module.mode != "GRU":
        return LayerWeights(weight_ih, weight_hh, bias + bias_hh)
    size = module.hidden_size
    outside = torch.cat((bias_hh[: 2 * size], bias_hh.new_zeros(size)))  # the candidate's stays in the product
    return LayerWeights(weight_ih, weight_hh, bias + outside, bias_hh[2 * size :])


def _weight(module: nn.RNNBase, name: str) -> Tensor:
    """The module's tensor of that name; the compiled loops would read beyond the end of one that is too small."""
    found, first = (cast(Tensor, getattr(module, each)) for each in (name, "weight_ih_l0"))
    size = module.hidden_size
    rows = ROWS.get(module.mode, 1) * size
    shape = (rows,) if name.startswith("bias") else (rows, size if "_hh_" in name else found.shape[-1])
    if found.shape != shape:
        raise RuntimeError(f"{name} must be {list(shape)}, not {list(found.shape)}")
    check_placed(found, name, first)
    return found


def _refuse_projection(proj_size: int) -> None:
    """All three take it, as torch's do by its place; only torch's LSTM takes another size than 0."""
    if proj_size:
        raise ValueError(f"proj_size must be 0, not {proj_size}: projections are not unrolled; use torch.nn.LSTM")


class RNN(Unrolled, nn.RNN):
    """`torch.nn.RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990), or max(0, ..) with nonlinearity="relu".

    Input [T, B, E] and h_0 [L D, B, H] to outputs [T, B, D H] and h_n [L D, B, H], for L layers of D directions; all
    arguments, weights and errors are torch's. `profile` says how far back the latest loss reached.

    >>> import torch, unrolled
    >>> rnn = unrolled.RNN(3, 4, nonlinearity="relu")
    >>> outputs, h_n = rnn(torch.ones(5, 2, 3))
    >>> outputs.shape, h_n.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        _refuse_projection(proj_size)
        nn.RNN.__init__(
            self, input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
        )  # fmt: skip
        self._distances = DistanceNorms()


class GRU(Unrolled, nn.GRU):
    """`torch.nn.GRU` (Cho et al. 2014), the reset gate after the recurrent product, as in cuDNN.

    r, z = sigmoid(..);  n = tanh(W_in x + b_in + r (W_hn h + b_hn));  h' = n + z (h - n). Shapes as `RNN`; all
    arguments, weights and errors are torch's. `profile` says how far back the latest loss reached.

    >>> import torch, unrolled
    >>> gru = unrolled.GRU(3, 4, bidirectional=True)
    >>> outputs, h_n = gru(torch.ones(5, 2, 3))
    >>> outputs.shape, h_n.shape
    (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        _refuse_projection(proj_size)
        nn.GRU.__init__(
            self, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
        )  # fmt: skip
        self._distances = DistanceNorms()


class LSTM(Unrolled, nn.LSTM):
    """`torch.nn.LSTM` with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(..), g = tanh(..);  c' = f c + i g;  h' = o tanh(c'). Shapes as `RNN`, the state a pair (h, c);
    all arguments, weights and errors are torch's, but for `proj_size`: ValueError if it is not 0. `profile` says how
    far back the latest loss reached.

    >>> import torch, unrolled
    >>> lstm = unrolled.LSTM(3, 4, num_layers=2)
    >>> outputs, (h_n, c_n) = lstm(torch.ones(5, 2, 3))
    >>> outputs.shape, h_n.shape, c_n.shape
    (torch.Size([5, 2, 4]), torch.Size([2, 2, 4]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        _refuse_projection(proj_size)
        nn.LSTM.__init__(
            self, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
        )  # fmt: skip
        self._distances = DistanceNorms()
