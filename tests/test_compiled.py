"""The compiled kernels beside torch: the same numbers but for rounding, and the same bytes whatever the threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.compiled import openmp
from unrolled.recurrence.compiled.arithmetic import exp, sigmoid, tanh
from unrolled.recurrence.compiled.matmul import COLUMNS, WIDTH, multiply, pack_panel
from unrolled.recurrence.compiled.softmax import softmax_gradient
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.softmax_loss import softmax_nats

LOOPS = ("columns", "time_loops", "gru_loop")  # the modules that run kernels of them
COMPILED = [name for name, cell in CELLS.items() if cell.compiled_kind is not None]


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts torch's threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def one_window(
    cell: str, dtype: torch.dtype, sizes: tuple[int, int, int, int] = (9, 7, 5, 13), reverse: bool = False,
    lengths: Tensor | None = None,
) -> tuple[list[Tensor], Profile]:  # fmt: skip
    """Outputs, final state, all gradients and the norms of a window, from the same numbers in either precision."""
    steps, columns, features, hidden = sizes
    torch.manual_seed(3)
    layer = RecurrentLayer(cell, features, hidden, reverse=reverse).to(dtype)
    state = tuple(torch.randn(columns, hidden).to(dtype).requires_grad_() for _ in range(layer.cell.states))
    inputs = torch.randn(steps, columns, features).to(dtype).requires_grad_()
    weight = torch.randn(steps, columns, hidden).to(dtype)
    profile = Profile(addends_wanted=True)
    outputs, final = layer(inputs, state, profile, lengths)
    ((outputs * weight).sum() + sum(part.square().sum() for part in final)).backward()
    gradients = [part.grad for part in (inputs, *state, *layer.parameters())]
    return [outputs.detach(), *(part.detach() for part in final), *gradients], profile


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", COMPILED)
@settings(deadline=None, max_examples=25)
@given(sizes=st.tuples(st.integers(1, 6), st.integers(1, 2 * COLUMNS + 1), st.integers(1, 9), st.integers(1, 40)))
def test_a_compiled_window_is_that_of_double_precision(
    cell: str, reverse: bool, sizes: tuple[int, int, int, int]
) -> None:
    ours, profile = one_window(cell, torch.float32, sizes, reverse)
    theirs, twin = one_window(cell, torch.float64, sizes, reverse)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(profile.norms["layer"].double(), twin.norms["layer"], rtol=1e-5, atol=1e-5)
    for mine, other in zip(profile.addends["layer"], twin.addends["layer"], strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("lengths", [None, [2, 9, 4, 1, 9, 3, 5]])
@pytest.mark.parametrize("cell", COMPILED)
def test_the_bytes_do_not_depend_on_the_threads_nor_on_who_starts_them(
    cell: str, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> list[bytes]:
        # All that training uses: the initial state's gradient is a small product of torch's, without that promise.
        each = None if lengths is None else torch.tensor(lengths)
        parts = one_window(cell, torch.float32, sizes=(9, 7, 16, 16), lengths=each)[0]
        return [part.numpy().tobytes() for part in parts if part.shape != (7, 16)]

    found = []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        found.append(run())
    monkeypatch.setattr(openmp, "_gomp_parallel", None)  # as where torch has no OpenMP of that kind
    found.append(run())
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("cell", COMPILED)
def test_the_compiled_loop_is_taken_and_only_where_it_can_be(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    run = openmp.run
    for module in LOOPS:
        monkeypatch.setattr(
            f"unrolled.recurrence.compiled.{module}.run",
            lambda *given: (taken.append(given[0].__name__), run(*given)),
        )
    one_window(cell, torch.float64)
    assert not taken
    one_window(cell, torch.float32)
    one_window(cell, torch.float32, lengths=torch.tensor([2, 9, 4, 1, 9, 3, 5]))
    assert taken == ["_pack", "_gru_loop" if cell == "gru" else "_time_loop"] * 4


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels turned off, and a failure if one runs all the same."""
    monkeypatch.setenv("UNROLLED_COMPILED", "0")
    for module in (*LOOPS, "softmax"):
        monkeypatch.setattr(f"unrolled.recurrence.compiled.{module}.run", None)


@pytest.mark.parametrize("lengths", [None, [2, 9, 4, 1, 9, 3, 5]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", COMPILED)
def test_loops_turned_off_give_the_same_numbers(
    cell: str, reverse: bool, lengths: list[int] | None, request: pytest.FixtureRequest
) -> None:
    each = None if lengths is None else torch.tensor(lengths)
    compiled, profile = one_window(cell, torch.float32, reverse=reverse, lengths=each)
    request.getfixturevalue("uncompiled")
    plain, twin = one_window(cell, torch.float32, reverse=reverse, lengths=each)
    torch.testing.assert_close(plain, compiled, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(twin.norms, profile.norms, rtol=1e-5, atol=1e-5)


def test_the_softmax_turned_off_gives_the_same_numbers(request: pytest.FixtureRequest) -> None:
    random = torch.Generator().manual_seed(1)
    parts = [torch.randn(shape, generator=random).requires_grad_() for shape in ((37, 5), (101, 5), (101,))]
    targets = torch.randint(0, 101, (37,), generator=random)

    def both() -> list[Tensor]:
        nats = softmax_nats(*parts, targets, chunk=16)
        return [nats, *torch.autograd.grad(nats, parts)]

    compiled = both()
    request.getfixturevalue("uncompiled")
    torch.testing.assert_close(both(), compiled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", COMPILED)
def test_the_backward_pass_takes_the_loop_of_the_forward_pass(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned off between the two: what the one loop has kept is of no use to the other."""
    layer, inputs = RecurrentLayer(cell, 5, 8), torch.randn(4, 3, 5)
    outputs, _ = layer(inputs, layer.initial_state(3))
    expected = torch.autograd.grad(outputs.sum(), layer.weight_hh, retain_graph=True)[0]
    monkeypatch.setenv("UNROLLED_COMPILED", "0")
    assert torch.equal(torch.autograd.grad(outputs.sum(), layer.weight_hh)[0], expected)


@pytest.mark.parametrize("cell", COMPILED)
def test_gradients_that_come_in_strange_layouts_are_read_right(cell: str) -> None:
    """sum() sends back one number spread over the outputs; a transposed weight is no contiguous matrix."""
    torch.manual_seed(1)
    layer = RecurrentLayer(cell, 5, 8)
    inputs, state = torch.randn(4, 3, 5), tuple(torch.randn(8, 3).t() for _ in range(layer.cell.states))
    layer.weight_hh.data = layer.weight_hh.data.t().contiguous().t()
    twin = RecurrentLayer(cell, 5, 8).double()
    twin.load_state_dict(layer.state_dict())
    layer(inputs, state)[0].sum().backward()
    twin(inputs.double(), tuple(part.double() for part in state))[0].sum().backward()
    for mine, other in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), other.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", COMPILED)
def test_what_is_not_a_number_is_not_hidden(cell: str) -> None:
    layer, inputs = RecurrentLayer(cell, 5, 8), torch.randn(4, 3, 5)
    inputs[1, 2, 0] = torch.nan
    outputs, _ = layer(inputs, layer.initial_state(3))
    assert outputs[1:, 2].isnan().all() and outputs[:1].isfinite().all() and outputs[:, :2].isfinite().all()


@given(st.integers(1, 3 * COLUMNS), st.integers(1, 40), st.integers(1, 3 * WIDTH), st.booleans())
@settings(deadline=None)
def test_a_packed_product_is_the_product(columns: int, depth: int, width: int, transposed: bool) -> None:
    random = np.random.default_rng(columns * depth)
    inputs = random.standard_normal((columns, depth), np.float32)
    weight = random.standard_normal((width, depth) if transposed else (depth, width), np.float32)
    panels = np.empty((-(-width // WIDTH), depth, WIDTH), np.float32)
    for panel in range(len(panels)):
        pack_panel(weight, transposed, panels, panel)
    outputs = np.full((columns + 1, len(panels) * WIDTH), 7, np.float32)
    multiply(inputs, panels, outputs, 0, columns)
    expected = inputs.astype(float) @ (weight.T if transposed else weight).astype(float)
    np.testing.assert_allclose(outputs[:columns, :width], expected, rtol=1e-4, atol=1e-5)
    assert (outputs[columns] == 7).all() and not outputs[:columns, width:].any()


@given(st.floats(-200, 200, width=32))
def test_the_elementary_functions_are_those_of_double_precision(x: float) -> None:
    single = np.float32(x)
    if -87 <= x <= 88:
        assert exp(single) == pytest.approx(np.exp(np.float64(single)), rel=3e-7)
    assert sigmoid(single) == pytest.approx(1 / (1 + np.exp(-np.float64(single))), rel=3e-7, abs=2e-38)
    assert tanh(single) == pytest.approx(np.tanh(np.float64(single)), abs=3e-7)


def test_the_elementary_functions_at_the_edges() -> None:
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    assert (sigmoid(inf), sigmoid(-inf), tanh(inf), tanh(-inf)) == (1, pytest.approx(0, abs=1e-37), 1, -1)
    assert np.isnan([exp(nan), sigmoid(nan), tanh(nan)]).all()


@pytest.mark.usefixtures("threads")
def test_the_softmax_does_not_depend_on_the_threads() -> None:
    random = torch.Generator().manual_seed(1)
    logits, bias = torch.randn(37, 101, generator=random), torch.randn(101, generator=random)
    targets = torch.randint(0, 101, (37,), generator=random)
    found = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        gradient = logits.clone()
        found.append([part.numpy().tobytes() for part in (*softmax_gradient(gradient, bias, targets), gradient)])
    assert all(each == found[0] for each in found)
    nats = torch.nn.functional.cross_entropy((logits + bias).double(), targets, reduction="none")
    torch.testing.assert_close(softmax_gradient(logits, bias, targets)[0].double(), nats, rtol=1e-5, atol=1e-6)
