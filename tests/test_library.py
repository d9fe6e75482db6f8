"""What `import unrolled` offers beside its modules: the examples as they are written, and what is known exactly."""

import ast
import contextlib
import doctest
import io
import math
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import unrolled
from unrolled.library.measures import lag_profile, lyapunov_spectrum
from unrolled.library.modules import Unrolled
from unrolled.probing.exponents import lyapunov_exponents
from unrolled.recurrence.stack import Stack

# But for what needs a trained run: that example runs in test_inference.py, which has one.
OFFERED = [*(getattr(unrolled, name) for name in unrolled.__all__ if name != "load"), Unrolled]


@pytest.mark.parametrize("offered", OFFERED)
def test_the_example_of_each_name_is_what_comes_out(offered: object) -> None:
    found = doctest.DocTestFinder().find(offered, globs={})
    assert any(each.examples for each in found) or offered is unrolled.Norms
    assert sum(doctest.DocTestRunner().run(each).failed for each in found) == 0


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = unrolled.GRU(3, 4, bidirectional=True), unrolled.LSTM(8, 4)
        self.unread = unrolled.RNN(3, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.above(self.below(inputs)[0])[0]
        return outputs


def test_a_lag_profile_names_the_layers_that_a_loss_reaches_and_leaves_all_as_it_was() -> None:
    model = Tagger()
    inputs = torch.randn(5, 2, 3)
    model.unread(inputs)[0].sum().backward()
    loss = model(inputs)[-1].sum()
    profile = lag_profile(loss, model)
    assert list(profile) == ["below.l0", "below.l0_reverse", "above.l0"]
    assert all(each.grad is None for each in model.below.parameters()) and model.unread.weight_hh_l0.grad is not None
    loss.backward()  # the graph is still there
    assert all(torch.equal(profile[f"above.{name}"], norms) for name, norms in model.above.profile.items())


def test_a_frozen_module_is_in_the_lag_profile_of_a_model_that_learns_below_it() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(3, 3), "rnn": unrolled.RNN(3, 4).requires_grad_(False)})
    outputs, _ = model["rnn"](model["embedding"](torch.arange(3)))
    assert len(lag_profile(outputs[-1].sum(), model)["rnn.l0"]) == 3


def test_a_linear_recurrence_has_the_profile_of_its_powers() -> None:
    rnn = unrolled.RNN(1, 1, nonlinearity="relu", dtype=torch.float64)
    rnn.weight_hh_l0.data.fill_(0.5)
    rnn.bias_ih_l0.data.fill_(9.0)
    outputs, _ = rnn(torch.zeros(6, 1, 1, dtype=torch.float64))
    assert lag_profile(outputs[-1].sum(), rnn)["l0"].tolist() == [0.5**distance for distance in range(6)]


@pytest.mark.parametrize(
    ("loss", "model", "said"),
    [
        (torch.ones(2), unrolled.RNN(1, 1), r"one number, not \[2\]"),
        (torch.ones(()), nn.RNN(1, 1), "holds no unrolled.RNN, GRU or LSTM"),
        (torch.ones(()), unrolled.RNN(1, 1), "hangs on no weight of model"),
        (torch.ones((), requires_grad=True) * 2, unrolled.RNN(1, 1), "reaches no unrolled.RNN, GRU or LSTM"),
    ],
)
def test_a_loss_without_a_lag_profile_is_refused(loss: torch.Tensor, model: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lag_profile(loss, model)


@pytest.mark.parametrize("wrong", [0.5, nn.ModuleList(), [nn.LSTM(1, 1)], nn.LSTMCell(1, 1), None])
def test_what_is_no_model_loss_module_or_parameter_is_named(wrong: object) -> None:
    name = type(wrong).__name__
    for ask in (
        lambda: lag_profile(wrong, unrolled.RNN(1, 1)), lambda: unrolled.spectral_radius(wrong),
        lambda: lyapunov_spectrum(wrong, torch.ones(2, 1)), lambda: unrolled.clip_grad_norm([wrong], 1.0),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=f"not {name}"):
            ask()


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_exponents_are_those_of_the_stack_with_the_same_weights(kind: str) -> None:
    """Of ours and of torch's; float64 throughout, and no random number of the caller's is drawn."""
    torch.manual_seed(3)
    module = getattr(unrolled, kind)(3, 4, num_layers=2, dtype=torch.float64)
    twin = getattr(nn, kind)(3, 4, num_layers=2, dtype=torch.float64)
    twin.load_state_dict(module.state_dict())
    inputs, before = torch.randn(30, 3, dtype=torch.float64), torch.get_rng_state()
    found = lyapunov_spectrum(module, inputs)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(found, lyapunov_spectrum(twin, inputs[:, None])) and len(found) == 8 * (1 + (kind == "LSTM"))
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert torch.equal(found, lyapunov_spectrum(module, inputs + 0))
    if kind == "RNN":
        stack = Stack("l", "rnn", inputs=3, hidden=4, layers=2).double()
        for index, layer in enumerate(stack.layers):
            layer.weight_ih.data = getattr(module, f"weight_ih_l{index}")
            layer.weight_hh.data = getattr(module, f"weight_hh_l{index}")
            layer.bias.data = getattr(module, f"bias_ih_l{index}") + getattr(module, f"bias_hh_l{index}")
        state = tuple(tuple(part.double() for part in parts) for parts in stack.initial_state(1))
        assert torch.equal(found, lyapunov_exponents(stack, inputs[:, None], state, count=8, settle=3))


def test_a_packed_sequence_that_is_alone_has_the_spectrum_of_its_tensor() -> None:
    layer, sequence = unrolled.GRU(3, 2), torch.randn(5, 3)
    assert torch.equal(*(lyapunov_spectrum(layer, each) for each in (sequence, pack_sequence([sequence]))))


def test_what_has_no_spectrum_is_refused() -> None:
    sequence = torch.ones(5, 3)
    with pytest.raises(ValueError, match="must read in one direction"):
        lyapunov_spectrum(unrolled.RNN(3, 2, bidirectional=True), sequence)
    with pytest.raises(ValueError, match=r"one sequence, \[T, 3\], not 2"):
        lyapunov_spectrum(unrolled.RNN(3, 2), torch.ones(5, 2, 3))
    with pytest.raises(ValueError, match="settle must leave at least one of 5 steps"):
        lyapunov_spectrum(unrolled.RNN(3, 2), sequence, settle=5)
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        lyapunov_spectrum(unrolled.RNN(3, 2), sequence, count=0)
    with pytest.raises(ValueError, match=r"layer has a projection \(proj_size=1\)"):
        unrolled.spectral_radius(nn.LSTM(3, 2, proj_size=1))


def test_radii_are_told_by_layer_direction_and_gate() -> None:
    radii = unrolled.spectral_radius(unrolled.LSTM(3, 4, num_layers=2, bidirectional=True))
    assert list(radii) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert list(radii["l0"]) == ["input", "forget", "candidate", "output"]


def test_clipping_tells_both_norms_and_hides_no_divergence() -> None:
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert unrolled.clip_grad_norm(weight, None) == (5, 5)
    assert unrolled.clip_grad_norm(iter([weight]), 1.0) == pytest.approx((5, 1), rel=1e-6)
    weight.grad = torch.tensor([math.inf, 1.0])
    assert unrolled.clip_grad_norm([weight], 1.0) == (math.inf, math.inf) and weight.grad.tolist() == [math.inf, 1.0]
    with pytest.raises(ValueError, match="clip_norm must be a positive number or None"):
        unrolled.clip_grad_norm([weight], 0.0)
    with pytest.raises(ValueError, match="a parameter is given twice"):
        unrolled.clip_grad_norm([weight, weight], 1.0)


def test_what_needs_the_laboratory_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("trained", "resolved"):  # which may have been imported before
        monkeypatch.delitem(sys.modules, f"unrolled.ground.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(
        ImportError, match=r"^unrolled.load: this needs the laboratory, .* pip install 'unrolled\[lab\]'$"
    ):
        unrolled.load(tmp_path / "runs" / "lstm")


def run(program: str) -> tuple[str, float]:
    """What it prints, and its last loss."""
    said, names = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        exec(compile(program, "docs/library.md", "exec"), names)
    return said.getvalue(), names["loss"].item()


def test_the_version_is_that_which_is_installed_and_unknown_of_a_folder_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert unrolled.__version__ == metadata.version("unrolled")
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.Distribution.from_name(f"no-{name}"))
    assert unrolled.__version__ == "unknown"


def test_the_script_of_the_manual_learns_what_it_learns_with_torch_and_shows_how_far_back() -> None:
    manual = (Path(__file__).parents[1] / "docs" / "library.md").read_text(encoding="utf-8")
    assert all(f"`{name}" in manual for name in {*unrolled.__all__} - {"LSTM", "Norms"})
    (script,) = re.findall(r"^```python\n(.*?)^```", manual, re.M | re.S)
    assert len(script.splitlines()) == 15
    said, loss = run(script)
    assert loss == pytest.approx(run(script.rsplit("\n", 2)[0].replace("from unrolled", "from torch.nn"))[1], rel=1e-3)
    norms = [ast.literal_eval(text) for text in (said, re.findall(r"^    (\[.*\])$", manual, re.M)[0])]
    assert [float(norm) for norm in norms[0]] == pytest.approx([float(norm) for norm in norms[1]], rel=0.5)
