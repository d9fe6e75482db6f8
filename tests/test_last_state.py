"""Rows of a table read by their ids: the final state and all gradients are those of the rows laid out in a window."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from unrolled.recurrence.bptt import unroll_table
from unrolled.recurrence.cells import CELLS, LayerWeights
from unrolled.recurrence.layer import RecurrentLayer

T, B, E, H = 6, 4, 5, 7
ROWS = 3  # fewer than places, so that each is read again and again; and row 2 by none
PRECISIONS = [(torch.float64, 1e-12), (torch.float32, 2e-6)]  # step by step, compiled


def example(cell: str, dtype: torch.dtype, reverse: bool) -> tuple[RecurrentLayer, Tensor, Tensor, tuple[Tensor, ...]]:
    """A layer, a table, ids of its first two rows and a state."""
    torch.manual_seed(5)
    layer = RecurrentLayer(cell, E, H, reverse=reverse).to(dtype)
    state = tuple(torch.randn(B, H).to(dtype).requires_grad_() for _ in range(layer.cell.states))
    return layer, torch.randn(ROWS, E).to(dtype).requires_grad_(), torch.randint(0, ROWS - 1, (T, B)), state


@pytest.mark.parametrize("lengths", [None, [6, 1, 4, 4], [2, 3, 1, 2]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_the_window_of_its_rows(
    cell: str, dtype: torch.dtype, tolerance: float, reverse: bool, lengths: list[int] | None
) -> None:
    layer, table, ids, state = example(cell, dtype, reverse)
    each = None if lengths is None else torch.tensor(lengths)
    found = []
    for final in (layer.last_state(table, ids, state, each), layer(table[ids], state, lengths=each)[1]):
        loss = torch.stack([part.sin().sum() for part in final]).sum()
        found.append([*final, *torch.autograd.grad(loss, [table, *state, *layer.parameters()])])
    torch.testing.assert_close(found[0], found[1], rtol=tolerance, atol=tolerance)
    of_table = found[0][layer.cell.states]
    assert of_table[:2].all() and not of_table[2].any()  # a row that is never read has no part in the loss


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_is_the_numerical_one(cell: str) -> None:
    layer, table, ids, state = example(cell, torch.float64, False)
    lengths = torch.tensor([2, 6, 1, 3])

    def forward(table: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        owned = len(list(layer.parameters()))
        return unroll_table(layer.cell, table, ids, LayerWeights(*rest[:owned]), rest[owned:], lengths=lengths)

    assert torch.autograd.gradcheck(forward, (table, *layer.parameters(), *state), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cell", CELLS)
def test_without_gradients_and_with_any_number_of_threads_the_same_bits(cell: str, dtype: torch.dtype) -> None:
    layer, table, ids, state = example(cell, dtype, True)
    lengths = torch.tensor([2, 6, 1, 3])
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        final = layer.last_state(table, ids, state, lengths)
        found.append([*final, *torch.autograd.grad([part.sum() for part in final], [table, *layer.parameters()])])
    torch.set_num_threads(before)
    with torch.no_grad():
        read = layer.last_state(table, ids, state, lengths)
    assert all(not part.requires_grad for part in read)
    for one, other in pairwise([found[0], found[1], [*read, *found[0][len(read) :]]]):
        assert all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def test_a_layer_of_torchs_own_reads_the_same() -> None:
    layer, table, ids, state = example("lstm", torch.float32, True)
    lengths = torch.tensor([2, 6, 1, 3])
    with torch.no_grad():
        ours = layer.last_state(table, ids, state, lengths)
        layer.by_torch = True
        torch.testing.assert_close(layer.last_state(table, ids, state, lengths), ours, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": torch.zeros(T, B)}, r"ids must be int64 \[T, B\].*not torch.float32 \[6, 4\]"),
        ({"ids": torch.zeros(T, dtype=torch.int64)}, r"ids must be int64 \[T, B\].*not torch.int64 \[6\]"),
        ({"ids": torch.zeros(0, B, dtype=torch.int64)}, r"inputs must be \[T, B, 5\].*not \[0, 4, 5\]"),
        ({"table": torch.zeros(ROWS, E + 1)}, r"inputs must be \[T, B, 5\].*not \[6, 4, 6\]"),
        ({"table": torch.zeros(ROWS, E).double()}, "inputs must be torch.float32.*not torch.float64"),
        ({"state": (torch.zeros(B, H),)}, r"state must have 2 part\(s\), not 1"),
        ({"lengths": torch.tensor([1, 7, 6, 2])}, "lengths must be between 1 and 6, .* not 7"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(change: dict[str, object], message: str) -> None:
    layer, table, ids, state = example("lstm", torch.float32, False)
    with pytest.raises(ValueError, match=message) as error:
        layer.last_state(**{"table": table, "ids": ids, "state": state, **change})
    assert "\n" not in str(error.value)
