"""The part `gpu`: training on a GPU, by how many steps are profiled, beside the loop of word_language_model."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.contestants import Shape, plain_step
from benchmarks.page import columns, paragraph, row
from benchmarks.processes import CASE
from benchmarks.stage import RECIPE, SHAPE, arm_with, training_of
from benchmarks.timing import Conditions, race
from unrolled.shell.device import describe, find_device

SHAPES = [SHAPE, SHAPE._replace(hidden=650)]  # of the recipe, and of Zaremba et al. 2014, medium
TURN = 20  # steps: two that are profiled, where each tenth is
PROFILED = {"each": 1, "each tenth": 10, "the first": 10**9}  # of an epoch's steps


def gpu_section(conditions: Conditions) -> Iterator[str]:
    device = find_device("cuda")
    yield paragraph(
        f"{describe(device)}, torch {torch.__version__}; wall time, medians of {conditions.few} alternating turns of",
        f"{TURN} steps. An LSTM of two layers over {SHAPE.words:,} words, the recipe `{RECIPE}` and wider: as the",
        "stage runs it, with the gradient by time of each step profiled, of each tenth, or of the epoch's first alone;",
        "and PyTorch's word_language_model, whose layer is the one that unprofiled steps take.",
    )
    yield from columns("hidden", "profiled steps", "tokens/s", "ms a step", "plain / ours", text=2)
    for shape in SHAPES:
        with ExitStack() as stack:
            places = {name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for name in PROFILED}
            turns = {name: _ours(shape, PROFILED[name], place, device) for name, place in places.items()}
            turns["plain"] = _turn(plain_step("lstm", shape, **CASE._asdict(), device=device))
            taken = {name: each.median / TURN for name, each in race(turns, rounds=conditions.few).items()}
        for name, seconds in taken.items():
            rate, times = shape.steps * shape.columns / seconds, taken["plain"] / seconds
            yield row(shape.hidden, name, f"{rate:,.0f}", f"{seconds * 1e3:.2f}", f"{times:.2f}")


def _ours(shape: Shape, profile_every: int, place: Path, device: torch.device) -> Callable[[], object]:
    network = CASE._asdict() | {"hidden": shape.hidden, "embedding": shape.hidden}
    arm = arm_with(network=network, train={"profile_every": profile_every})
    records = training_of(arm, place, device=device)
    return _turn(lambda: next(records))


def _turn(step: Callable[[], object]) -> Callable[[], object]:
    """So many steps, until the device has made the last of them."""

    def turn() -> None:
        for _ in range(TURN):
            step()
        torch.cuda.synchronize()

    return turn
