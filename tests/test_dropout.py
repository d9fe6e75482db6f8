"""Dropout: the mean is kept, a generator decides, and a mask lasts as long as was asked for."""

import pytest
import torch

from unrolled.nets.dropout import DROPOUT_MASKS, dropout


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
