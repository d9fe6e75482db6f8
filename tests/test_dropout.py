"""Dropout: the mean is kept, a generator decides, and a mask lasts as long as was asked for."""

import pytest
import torch
from torch import Tensor

from unrolled.recurrence.dropout import DROPOUT_MASKS, dropout


@pytest.mark.parametrize("mask", DROPOUT_MASKS)
def test_it_keeps_the_mean_and_is_off_without_a_generator(mask: str) -> None:
    ones = torch.ones(2, 200, 400, dtype=torch.float64)
    dropped = dropout(ones, 0.25, torch.Generator().manual_seed(0), mask)
    assert set(dropped.unique().tolist()) == {0.0, 1 / 0.75}
    assert abs(dropped.mean().item() - 1) < 0.01
    assert dropout(ones, 0.25, None, mask) is ones
    assert torch.equal(dropped, dropout(ones, 0.25, torch.Generator().manual_seed(0), mask))


def test_a_step_mask_is_another_each_step_and_a_window_mask_the_same() -> None:
    ones, generator = torch.ones(5, 3, 50), torch.Generator().manual_seed(0)
    by_step, by_window = (dropout(ones, 0.5, generator, mask) for mask in ("step", "window"))
    for dropped, lasting in ((by_step, False), (by_window, True)):
        for t in range(1, 5):
            assert torch.equal(dropped[t], dropped[0]) == lasting
        for column in range(1, 3):
            assert not torch.equal(dropped[0, column], dropped[0, 0])
    assert not torch.equal(by_window, dropout(ones, 0.5, generator, "window"))  # the next window has another


@pytest.mark.parametrize("mask", DROPOUT_MASKS)
def test_single_precision_drops_what_double_precision_does_and_so_does_its_gradient(mask: str) -> None:
    values = torch.randn(5, 3, 50)
    single, double = values.clone().requires_grad_(), values.double().requires_grad_()
    weight = torch.randn(3, 5, 50).transpose(0, 1)  # not contiguous
    dropped = [dropout(each, 0.3, torch.Generator().manual_seed(1), mask) for each in (single, double)]
    torch.testing.assert_close(dropped[0].double(), dropped[1], rtol=1e-6, atol=0)
    for each in dropped:
        (each * weight.to(each.dtype)).sum().backward()
    assert single.grad is not None
    assert double.grad is not None
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-6, atol=0)


def test_its_gradient_has_a_gradient() -> None:
    values = torch.randn(4, 2, 9, requires_grad=True)
    dropped = dropout(values, 0.5, torch.Generator().manual_seed(2))
    (first,) = torch.autograd.grad(dropped.square().sum(), values, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), values)
    assert torch.equal(second, 2 * (dropped / values).square())  # 0 or 2 x 2, squared: exact


def test_neither_masks_nor_values_depend_on_the_threads() -> None:
    values, threads = torch.randn(35, 20, 200, requires_grad=True), torch.get_num_threads()

    def run() -> list[Tensor]:
        generator = torch.Generator().manual_seed(1)
        dropped = [dropout(values, 0.2, generator, mask) for mask in DROPOUT_MASKS]
        return [*dropped, *torch.autograd.grad(sum(each.square().sum() for each in dropped), values)]

    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append([each.detach().numpy().tobytes() for each in run()])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]
