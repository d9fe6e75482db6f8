"""What to ask of a model with recurrent modules: how far back a loss reaches, and what the recurrence does to it."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.library.modules import CELL_OF_MODE, Unrolled, cell_of, layer_weights
from unrolled.library.sequences import opened
from unrolled.probing.exponents import lyapunov_exponents
from unrolled.recurrence.spectra import spectra_of
from unrolled.recurrence.stack import Stack
from unrolled.training.clipping import clip


class Norms(NamedTuple):
    """The gradient's L2 norm over all parameters together, before and after clipping."""

    before: float
    after: float


def lag_profile(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    """How far back one loss reaches, by recurrent layer: {"<module's path>.l0": [T], ...}, of a lone module {"l0": ..}.

    Element d is ||dL/dh||, Frobenius over batch and units, d time steps before the last that a sequence reads (Pascanu,
    Mikolov & Bengio 2013); padding does not count. Take the loss of the last output alone: one over all outputs has a
    term at every distance. The graph stays for `loss.backward()`, and every `.grad` as it was. ValueError if the loss
    is no scalar or reaches no RNN, GRU or LSTM of ours in ``model``. A module that is frozen is in it where a weight of
    ``model`` below it is not.

    >>> import torch, unrolled
    >>> model = torch.nn.ModuleDict({"rnn": unrolled.RNN(3, 4)})
    >>> outputs, _ = model["rnn"](torch.ones(5, 2, 3))
    >>> {name: len(norms) for name, norms in unrolled.lag_profile(outputs[-1].sum(), model).items()}
    {'rnn.l0': 5}
    """
    if not isinstance(loss, Tensor) or not isinstance(model, nn.Module):
        raise TypeError(
            f"lag_profile takes a loss, a tensor, and a model, not {type(loss).__name__} and {type(model).__name__}"
        )
    if loss.numel() != 1:
        raise ValueError(f"loss must be one number, not {list(loss.shape)}; take its sum or mean")
    modules = {name: module for name, module in model.named_modules() if isinstance(module, Unrolled)}
    wanted = [each for each in model.parameters() if each.requires_grad]  # all, for a frozen layer has others below it
    if not modules:
        raise ValueError("model holds no unrolled.RNN, GRU or LSTM; put one in the place of torch's")
    if not wanted or not loss.requires_grad:
        raise ValueError("the loss hangs on no weight of model that requires a gradient; compute it with gradients on")
    for module in modules.values():
        module.forget_profile()
    torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    found = {
        f"{name}.{layer}".removeprefix("."): norms
        for name, module in modules.items()
        for layer, norms in module.profile.items()
    }
    if not found:
        raise ValueError(
            "the loss reaches no unrolled.RNN, GRU or LSTM of the model; compute it from this model's outputs"
        )
    return found


def spectral_radius(layer: nn.RNNBase) -> dict[str, dict[str, float]]:
    """The largest modulus of an eigenvalue of each recurrent matrix [H, H], by layer and gate; ours or torch's module.

    An RNN has one matrix a layer, `hidden`: below 1 the gradients of a linear one vanish in the end (Pascanu, Mikolov &
    Bengio 2013, section 2.1), though they may grow at first, and tanh, whose slope is at most 1, shrinks them as a
    rule; `lyapunov_spectrum` measures what becomes of them along a sequence. A GRU has `reset`, `update`, `candidate`,
    an LSTM `input`, `forget`, `candidate`, `output`. nan where a weight is not finite. ValueError for a projection.

    >>> import torch, unrolled
    >>> rnn = unrolled.RNN(3, 2)
    >>> _ = rnn.weight_hh_l0.data.copy_(torch.tensor([[0.5, 1.0], [0.0, -2.0]]))
    >>> unrolled.spectral_radius(rnn)
    {'l0': {'hidden': 2.0}}
    """
    _check_recurrent(layer)
    names = [
        f"l{index}{end}" for index in range(layer.num_layers) for end in ("", "_reverse")[: 1 + layer.bidirectional]
    ]
    return {
        name: {gate: found.radius for gate, found in spectra_of(cell_of(layer), layer_weights(layer, name)[1]).items()}
        for name in names
    }


def lyapunov_spectrum(
    layer: nn.RNNBase, inputs: Tensor | PackedSequence, hx: Tensor | tuple[Tensor, Tensor] | None = None,
    *, count: int | None = None, settle: int | None = None,
) -> Tensor:  # fmt: skip
    """The Lyapunov exponents of a module that reads one sequence, in nats a time step, float64 [count], largest first.

    The first says by what factor exp(exponent) a step back makes a gradient grow: above 0 it explodes, below 0 it
    vanishes (Engelken et al. 2023). ``inputs``: [T, E], or a batch of one, packed or not; ``hx``: the state before it,
    as the module takes it. ``count``: how many of the exponents, of which there are as many as numbers in the state of
    all layers (None: all; the time is proportional to it). ``settle``: steps that the directions are given first
    (None: T // 10).
    nan where a state is not finite. ValueError for two directions, a projection, or several sequences.

    >>> import torch, unrolled
    >>> rnn = unrolled.RNN(3, 2, nonlinearity="relu", bias=False)
    >>> _ = rnn.weight_ih_l0.data.fill_(1.0), rnn.weight_hh_l0.data.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.25]]))
    >>> unrolled.lyapunov_spectrum(rnn, torch.ones(20, 3)).exp()
    tensor([0.5000, 0.2500], dtype=torch.float64)
    """
    _check_recurrent(layer)
    if layer.bidirectional:
        raise ValueError("layer must read in one direction: two have no common state whose growth could be measured")
    window = opened(layer, inputs, hx)
    steps, columns = window.inputs.shape[:2]
    if columns != 1:
        raise ValueError(f"inputs must be one sequence, [T, {layer.input_size}], not {columns}; measure each by itself")
    stack = Stack(
        "l", CELL_OF_MODE[layer.mode], inputs=layer.input_size, hidden=layer.hidden_size, layers=layer.num_layers,
        generator=torch.Generator(),  # of its own, for what is drawn here is overwritten
    ).double()  # fmt: skip
    for index, own in enumerate(stack.layers):
        weights = [each for each in layer_weights(layer, f"l{index}") if each is not None]
        for parameter, given in zip(own.parameters(), weights, strict=True):
            parameter.data.copy_(given)
    state = tuple(tuple(part[index].cpu() for part in window.state) for index in range(layer.num_layers))
    every = sum(part.shape[1] for parts in state for part in parts)
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    with torch.inference_mode(False), torch.enable_grad():  # whoever measures a trained model may have them off
        return lyapunov_exponents(
            stack, window.inputs.cpu().clone(), state, count=every if count is None else count,
            settle=steps // 10 if settle is None else settle,
        )  # fmt: skip


def clip_grad_norm(parameters: Tensor | Iterable[Tensor], clip_norm: float | None) -> Norms:
    """Scale all gradients in place so that their L2 norm together is at most ``clip_norm``; None: measure alone.

    Returns the norm before and after (Pascanu, Mikolov & Bengio 2013), in the units of loss over weight. A norm that is
    not finite is returned as it is, and those gradients are left alone, so that a divergence shows. ValueError if
    ``clip_norm`` is not positive or a parameter is given twice.

    >>> import torch, unrolled
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> unrolled.clip_grad_norm([weight], clip_norm=1.0).before
    5.0
    """
    whole = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for each in whole:
        if not isinstance(each, Tensor):
            raise TypeError(f"parameters must be tensors, as model.parameters() has them, not {type(each).__name__}")
    if len({id(each) for each in whole}) < len(whole):
        raise ValueError("a parameter is given twice: it would be measured and clipped twice")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be a positive number or None (measure only), not {clip_norm}")
    norms = clip({"all": whole}, clip_norm)
    return Norms(norms.before, float(norms.after))  # clip_norm may have been a tensor


def _check_recurrent(layer: nn.RNNBase) -> None:
    if not isinstance(layer, nn.RNNBase):
        raise TypeError(f"layer must be an RNN, GRU or LSTM, ours or torch's, not {type(layer).__name__}")
    if layer.proj_size:
        raise ValueError(f"layer has a projection (proj_size={layer.proj_size}), whose recurrent matrix is not square")
