"""Torch's fused layers, which a GPU takes where no profile is asked for: the same outputs, states and gradients."""

import pytest
import torch
from torch import Tensor, nn

from unrolled.recurrence import bptt
from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.fused import FUSED, runs_fused
from unrolled.recurrence.layer import RecurrentLayer, read_by_torch
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack
from unrolled.shell.device import find_device

T, B, E, H = 6, 4, 5, 3
NAMES = [name for name, cell in CELLS.items() if type(cell) in FUSED]
LENGTHS = torch.tensor([2, 6, 1, 4])
WHERE = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def read(layer: RecurrentLayer, profile: Profile | None, lengths: Tensor | None) -> list[Tensor]:
    """Outputs, final state, and the gradient of inputs, first state and weights, with dropout of weights."""
    torch.manual_seed(5)
    like = layer.weight_ih
    start = (torch.randn(B, H).to(like).requires_grad_() for _ in range(layer.cell.states))
    inputs, state = torch.randn(T, B, E).to(like).requires_grad_(), tuple(start)
    outputs, final = layer(inputs, state, profile, lengths, torch.Generator().manual_seed(1))
    loss = sum((part * torch.randn(part.shape).to(part)).sum() for part in (outputs, *final))
    gradients = torch.autograd.grad(loss, [inputs, *state, *layer.parameters()])
    return [outputs, *final, *gradients]


@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_our_own_loop_gives(
    name: str, dtype: torch.dtype, tolerance: float, reverse: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    if (device, dtype) == ("cuda", torch.float32):
        tolerance = 1e-4  # cuDNN's own rounding, 3e-5 on an H200; its ten bits, which must be off, would be 1e-3
    layer = RecurrentLayer(name, E, H, reverse=reverse, weight_dropout=0.4).to(find_device(device), dtype)
    calls = []
    monkeypatch.setattr(bptt, "runs_fused", lambda *_: True)
    monkeypatch.setattr(bptt, "fused", lambda *given: calls.append(1) or fused(*given))
    for lengths in (None, LENGTHS, torch.full((B,), T)):
        ours, theirs = read(layer, Profile(), lengths), read(layer, None, lengths)
        assert len(calls) == 1, "with a profile our own loop is due, without one torch's layer"
        calls.clear()
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(other, mine, rtol=tolerance, atol=tolerance)


def test_on_the_cpu_and_for_cells_that_torch_lacks_our_own_loop_is_the_choice() -> None:
    gpu = torch.empty(1, device="meta")
    assert not any(runs_fused(cell, torch.empty(1), False) or runs_fused(cell, gpu, False) for cell in CELLS.values())
    assert {name for name in CELLS if name not in NAMES} == {"mingru", "minlstm"}


@pytest.mark.parametrize("name", CELLS)
def test_a_network_that_only_reads_needs_no_loop_of_ours_for_an_lstm(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And reads the same, in either direction, padded or not; a profile comes from our own loop still."""
    torch.manual_seed(3)
    stack = Stack("s", name, inputs=E, hidden=H, layers=2, reverse=True, connection="residual")
    inputs, state = torch.randn(T, B, E), stack.initial_state(B)
    ours = {lengths: stack(inputs, state, lengths=lengths)[0] for lengths in (None, LENGTHS)}
    read_by_torch(nn.ModuleList([stack]))
    stack(inputs, state, profile=(profile := Profile()))[0].sum().backward()
    assert set(profile.norms) == {"s.0", "s.1"}
    if name == "lstm":
        monkeypatch.setattr(bptt, "pack", None)  # no loop of ours would come by without
    with torch.inference_mode():
        for lengths, outputs in ours.items():
            torch.testing.assert_close(stack(inputs, state, lengths=lengths)[0], outputs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("weight_ih", "weight_hh"), [(1e20, -3e38), (float("nan"), 1.0)])
def test_a_network_that_exploded_is_read_by_our_own_loops(weight_ih: float, weight_hh: float) -> None:
    """Whose sums of infinities are no numbers, as the evaluation says of them too; torch's LSTM finds some."""
    stack = Stack("s", "lstm", inputs=E, hidden=H, layers=1)
    layer = stack.layers[0]
    with torch.no_grad():
        for parameter, value in ((layer.weight_ih, weight_ih), (layer.weight_hh, weight_hh), (layer.bias, 0.0)):
            parameter.fill_(value)
        read_by_torch(stack)
        outputs = stack(torch.full((T, B, E), 1e30), stack.initial_state(B))[0]
    assert not layer.by_torch and outputs.isnan().any()


fused = bptt.fused
