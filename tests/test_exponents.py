"""Lyapunov exponents where they are known: linear networks, and the norms of a gradient that is really sent back."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.probing.exponents import lyapunov_exponents
from unrolled.recurrence.profile import lag_profile
from unrolled.recurrence.spectra import spectra
from unrolled.recurrence.stack import Stack


def linear(weight: torch.Tensor) -> Stack:
    """h' = W h + 1: a ReLU network that never leaves the side where it is linear, for W and h are nowhere negative."""
    stack = Stack("forward", "relu", inputs=1, hidden=len(weight), layers=1).double()
    with torch.no_grad():
        stack.layers[0].weight_ih.zero_()
        stack.layers[0].weight_hh.copy_(weight)
        stack.layers[0].bias.fill_(1)
    return stack


def measured(stack: Stack, *, steps: int = 60, settle: int = 20, count: int = 99) -> np.ndarray:
    inputs = torch.zeros(steps, 1, 1, dtype=torch.float64)
    state = tuple(tuple(part.double() for part in layer) for layer in stack.initial_state(1))
    return lyapunov_exponents(stack, inputs, state, count=count, settle=settle).numpy()


@settings(max_examples=20)
@given(st.floats(0.3, 1.5), st.integers(1, 6))
def test_of_a_times_the_identity_all_are_log_a(a: float, size: int) -> None:
    """The one network of which everything is known: exponents log a, spectral radius a, lag profile a^k."""
    stack = linear(a * torch.eye(size, dtype=torch.float64))
    np.testing.assert_allclose(measured(stack), np.full(size, math.log(a)), atol=1e-12)
    assert spectra(stack.layers[0])["hidden"].radius == pytest.approx(a)

    def last_loss(profile):  # type: ignore[no-untyped-def]
        inputs = torch.zeros(12, 1, 1, dtype=torch.float64)
        outputs, _ = stack(inputs, stack.initial_state(1), profile=profile)
        return outputs[-1].sum()

    profile = lag_profile(last_loss, stack.parameters())["forward.0"]
    np.testing.assert_allclose(profile / profile[0], a ** np.arange(12), rtol=1e-12)


def test_of_a_symmetric_matrix_they_are_the_logs_of_its_eigenvalues() -> None:
    weight = torch.tensor([[0.9, 0.2, 0.1], [0.2, 0.5, 0.05], [0.1, 0.05, 0.2]], dtype=torch.float64)
    expected = np.sort(np.log(np.abs(np.linalg.eigvalsh(weight.numpy()))))[::-1]
    np.testing.assert_allclose(measured(linear(weight), steps=400, settle=200), expected, atol=1e-9)


def test_a_permutation_neither_grows_nor_fades() -> None:
    np.testing.assert_allclose(measured(linear(torch.eye(4, dtype=torch.float64)[[1, 2, 3, 0]])), 0, atol=1e-12)


def test_fewer_are_the_largest_of_all() -> None:
    weight = torch.diag(torch.tensor([0.9, 0.5, 0.7, 0.1], dtype=torch.float64))
    stack = linear(weight)
    every = measured(stack, steps=400, settle=200)
    np.testing.assert_allclose(every, np.log([0.9, 0.7, 0.5, 0.1]), atol=1e-9)
    np.testing.assert_allclose(measured(stack, steps=400, settle=200, count=2), every[:2], atol=1e-9)


@pytest.mark.parametrize("connection", ["plain", "highway", "dense"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru", "minlstm"])
def test_their_sum_is_the_growth_of_volume(cell: str, connection: str) -> None:
    """sum of all exponents = mean log |det J_t|, the Jacobians taken by autograd through a step in plain torch."""
    sizes = [2, 3] if connection == "plain" else [3, 3]
    stack = Stack("forward", cell, inputs=2, hidden=sizes, layers=2, connection=connection, dropout=0.5).double()
    inputs = torch.randn(30, 1, 2, dtype=torch.float64)
    state = stack.initial_state(1)
    flat = torch.cat([part for layer in state for part in layer], dim=-1)
    found = lyapunov_exponents(stack, inputs, state, count=99, settle=0)
    assert found.shape == (flat.shape[1],)

    def step(flat: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        parts = iter(flat.split([part.shape[1] for layer in state for part in layer], dim=-1))
        before = tuple(tuple(next(parts) for _ in layer) for layer in state)
        return torch.cat([part for layer in stack(row, before)[1] for part in layer], dim=-1)

    logs = []
    for row in inputs.split(1):
        jacobian = torch.autograd.functional.jacobian(lambda each, row=row: step(each, row), flat)[0, :, 0]
        logs.append(torch.linalg.slogdet(jacobian)[1])
        flat = step(flat, row).detach()
    assert found.sum().item() == pytest.approx(torch.stack(logs).mean().item(), rel=1e-8)


@pytest.mark.parametrize("reverse", [False, True])
def test_of_a_mingru_they_are_the_time_means_of_log_1_minus_z(reverse: bool) -> None:
    """By the formula, from z alone; the same again where the directions of gradients are followed step by step."""
    stack = Stack("forward", "mingru", inputs=3, hidden=8, layers=1, reverse=reverse)
    inputs = 3 * torch.randn(400, 1, 3)
    found = lyapunov_exponents(stack, inputs, stack.initial_state(1), count=5, settle=40)
    layer = stack.layers[0]
    z = torch.sigmoid((inputs.double() @ layer.weight_ih.double().T + layer.bias.double())[:, 0, :8])
    expected = (1 - z).log().mean(0).sort(descending=True).values[:5].detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    followed = diagonal_followed(stack, inputs.double())[:5]
    torch.testing.assert_close(found, followed, rtol=0, atol=1e-12)


def test_of_a_minlstm_they_are_the_time_means_of_log_f_over_f_plus_i() -> None:
    stack = Stack("forward", "minlstm", inputs=3, hidden=4, layers=1).double()
    inputs = 3 * torch.randn(200, 1, 3, dtype=torch.float64)
    found = lyapunov_exponents(stack, inputs, stack.initial_state(1), count=99, settle=20)
    drive = inputs[:, 0] @ stack.layers[0].weight_ih.T + stack.layers[0].bias
    i, f = drive[:, :4].sigmoid(), drive[:, 4:8].sigmoid()
    expected = (f / (f + i)).log().mean(0).sort(descending=True).values.detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def diagonal_followed(stack: Stack, inputs: torch.Tensor) -> torch.Tensor:
    """What is left at the start of the gradient of each unit at the end, in logarithms a step."""
    state = tuple(tuple(part.double().requires_grad_() for part in layer) for layer in stack.initial_state(1))
    _, final = stack.double()(inputs.flip(0) if stack.layers[0].reverse else inputs, state)
    (left,) = torch.autograd.grad(final[0][0].sum(), state[0][0])
    return left[0].log().div(len(inputs)).sort(descending=True).values


def test_a_state_that_is_wiped_out_has_no_growth_and_one_that_explodes_none_that_is_known() -> None:
    assert (measured(linear(torch.zeros(2, 2, dtype=torch.float64))) == -math.inf).all()
    assert np.isnan(measured(linear(torch.full((2, 2), 1e200, dtype=torch.float64)))).all()


def test_settling_must_leave_a_step() -> None:
    with pytest.raises(ValueError, match="at least one of 5 steps, not be 5"):
        measured(linear(torch.eye(2, dtype=torch.float64)), steps=5, settle=5)
