"""The chunked softmax against torch's cross entropy."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from unrolled.recurrence.softmax_loss import softmax_nats


def inputs(rows: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    vocabulary, hidden = 7, 3
    random = torch.Generator().manual_seed(rows)
    parts = [
        (torch.randn(shape, dtype=torch.float64, generator=random) * scale).requires_grad_()
        for shape in ((rows, hidden), (vocabulary, hidden), (vocabulary,))
    ]
    return parts[0], parts[1], parts[2], torch.randint(0, vocabulary, (rows,), generator=random)


@given(st.integers(1, 40), st.integers(1, 50))
def test_value_and_gradients_are_those_of_cross_entropy(rows: int, chunk: int) -> None:
    *parts, targets = inputs(rows)
    hidden, weight, bias = parts
    ours = softmax_nats(hidden, weight, bias, targets, chunk=chunk)
    theirs = cross_entropy(linear(hidden, weight, bias), targets, reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, twin in zip(torch.autograd.grad(3 * ours, parts), torch.autograd.grad(3 * theirs, parts), strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.integers(1, 40), st.integers(1, 50))
def test_factors_are_those_of_each_rows_cross_entropy(dtype: torch.dtype, rows: int, chunk: int) -> None:
    *parts, targets = inputs(rows)
    parts = [part.detach().to(dtype).requires_grad_() for part in parts]
    factors = torch.randn(rows, generator=torch.Generator().manual_seed(1), dtype=dtype)
    ours = softmax_nats(*parts, targets, factors=factors, chunk=chunk)
    theirs = (cross_entropy(linear(*parts), targets, reduction="none") * factors).sum()
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-11}
    torch.testing.assert_close(ours, theirs, **close)
    for mine, twin in zip(torch.autograd.grad(3 * ours, parts), torch.autograd.grad(3 * theirs, parts), strict=True):
        torch.testing.assert_close(mine, twin, **close)
    with torch.no_grad():
        assert torch.equal(softmax_nats(*parts, targets, factors=factors, chunk=chunk), ours)
        ones = torch.ones_like(factors)
        assert torch.equal(
            softmax_nats(*parts, targets, factors=ones, chunk=chunk), softmax_nats(*parts, targets, chunk=chunk)
        )


@pytest.mark.parametrize("hidden", [24, 33])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])  # 30: targets whose probability is no float32 number
def test_float32_of_real_size_is_that_of_cross_entropy_in_float64(scale: float, hidden: int) -> None:
    random = torch.Generator().manual_seed(1)
    shapes = ((300, hidden), (500, hidden), (500,))
    parts = [(torch.randn(shape, generator=random) * scale).requires_grad_() for shape in shapes]
    twins = [part.detach().double().requires_grad_() for part in parts]
    targets = torch.randint(0, 500, (300,), generator=random)
    ours = softmax_nats(*parts, targets, chunk=128)
    theirs = cross_entropy(linear(*twins), targets, reduction="sum")
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    for mine, twin in zip(torch.autograd.grad(ours, parts), torch.autograd.grad(theirs, twins), strict=True):
        torch.testing.assert_close(mine.double(), twin, rtol=1e-3, atol=2e-4 * scale)


def test_gradcheck() -> None:
    *parts, targets = inputs(5)
    assert torch.autograd.gradcheck(lambda *each: softmax_nats(*each, targets, chunk=2), parts)
    factors = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *each: softmax_nats(*each, targets, factors=factors, chunk=2), parts)


def test_no_rows_are_no_nats_and_no_gradient() -> None:
    hidden, weight, bias, targets = inputs(6)
    nats = softmax_nats(hidden[:0], weight, bias, targets[:0])
    assert nats == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(nats, (weight, bias)))


def test_large_logits_do_not_overflow() -> None:
    hidden, weight, bias, targets = inputs(6, scale=1e3)
    assert torch.isfinite(softmax_nats(hidden, weight, bias, targets))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    hidden, weight, bias, targets = inputs(6)
    with torch.no_grad():
        hidden[2, 1] = bad
    assert not torch.isfinite(softmax_nats(hidden, weight, bias, targets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_gradient_the_nats_are_the_same_bits(dtype: torch.dtype) -> None:
    *parts, targets = inputs(40, scale=3.0)
    parts = [part.detach().to(dtype).requires_grad_() for part in parts]
    nats = softmax_nats(*parts, targets, chunk=7)
    with torch.no_grad():
        alone = softmax_nats(*parts, targets, chunk=7)
    assert torch.equal(alone, nats) and not alone.requires_grad
    with torch.no_grad():
        assert softmax_nats(parts[0][:0], *parts[1:], targets[:0]) == 0
