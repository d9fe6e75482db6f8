"""The compiled masks beside the numbers of torch's own generator."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.recurrence.compiled import masks
from unrolled.recurrence.compiled.masks import BLOCK, PAIRS, draw_kept, masked


def generator_after(seed: int, draws: int) -> torch.Generator:
    """A generator that stands ``draws`` words further than its seed; torch draws a float from one word."""
    generator = torch.Generator().manual_seed(seed)
    torch.rand(draws, generator=generator)
    return generator


def drawn_by_torch(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """What `bernoulli_` draws wherever it does not ask MKL, as it does on Intel's processors."""
    return torch.rand(shape, dtype=torch.float64, generator=generator) < share


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2 * BLOCK),
    st.integers(1, 2 * PAIRS + 3),
    st.floats(0, 1, exclude_min=True),
)
def test_masks_and_what_is_drawn_after_them_are_those_of_torchs_generator(
    seed: int, before: int, count: int, share: float
) -> None:
    ours, theirs = generator_after(seed, before), generator_after(seed, before)
    assert torch.equal(draw_kept(torch.Size([count]), share, ours), drawn_by_torch((count,), share, theirs))
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_a_half_used_normal_number_stays() -> None:
    ours, theirs = generator_after(5, 0), generator_after(5, 0)
    for each, draw in ((ours, draw_kept), (theirs, drawn_by_torch)):
        torch.randn(1, generator=each)  # two are made, and one waits in the state
        draw(torch.Size([7]), 0.5, each)
    assert torch.equal(torch.randn(3, generator=ours), torch.randn(3, generator=theirs))


def test_the_masks_of_a_seed_stay_what_they_are() -> None:
    kept = draw_kept(torch.Size([35, 20, 200]), 0.8, torch.Generator().manual_seed(1))
    assert kept.sum().item() == 111_904  # counted in what `bernoulli_(0.8)` drew before there were kernels
    assert (~kept).flatten().nonzero()[:5, 0].tolist() == [20, 21, 22, 23, 24]


def test_a_state_of_another_shape_leaves_the_drawing_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = generator_after(7, 3), generator_after(7, 3)
    monkeypatch.setattr(masks, "STATE", 16)
    assert torch.equal(draw_kept(torch.Size([500]), 0.3, ours), drawn_by_torch((500,), 0.3, theirs))
    assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("shape", [(1,), (9, 5, 33), (1, 5, 33), (33,)])
def test_masked_values_are_the_product_to_the_last_bit(shape: tuple[int, ...]) -> None:
    values = torch.randn(9, 5, 33)
    values[0, 0, :4] = torch.tensor([math.nan, math.inf, -math.inf, -0.0])
    kept = torch.rand(shape) < 0.5
    scale = torch.ones(1).div_(0.7)
    expected = values * (kept * scale)
    assert torch.equal(masked(values, kept, scale).view(torch.int32), expected.view(torch.int32))
