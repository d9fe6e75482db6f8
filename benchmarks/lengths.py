"""The part `lengths`: a layer over sentences of different lengths, beside torch.nn on a PackedSequence."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.contestants import PLAIN, Shape
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, machine, race
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile

SHAPES = [Shape(60, 32, 200), Shape(60, 32, 128), Shape(60, 20, 650)]
HEADINGS = "cell", "T, B, H", "threads", "ours ms", "all T ms", "plain ms", "plain / ours", "target", "met"
TARGETS = {"lstm": 1.0, "rnn": 1.3}


def lengths_section(conditions: Conditions) -> Iterator[str]:
    means = [float(sentence_lengths(shape).double().mean()) for shape in SHAPES]
    yield paragraph(
        f"{machine()}; {conditions.clock} time, medians of {conditions.rounds} alternating rounds. Forward and",
        "backward of one layer over B sentences side by side, as long as sentences are: log-normal, at most T tokens,",
        f"on average {min(means):.0f} to {max(means):.0f}. Ours with its profile, and over as many full columns",
        "(`all T`); plain: pack_padded_sequence, the torch.nn layer, pad_packed_sequence.",
    )
    yield from columns(*HEADINGS, text=2)
    for threads in sorted({1, conditions.threads}):
        torch.set_num_threads(threads)
        for cell in conditions.cells:
            for shape in SHAPES:
                taken = race(contestants(cell, shape), rounds=conditions.rounds, clock=conditions.clock)
                ours, full, plain = (1e3 * taken[name].median for name in ("ours", "full", "plain"))
                size = f"{shape.steps}, {shape.columns}, {shape.hidden}"
                milliseconds = (f"{each:.2f}" for each in (ours, full, plain))
                yield row(cell, size, threads, *milliseconds, against(plain / ours, TARGETS.get(cell, 1.0)))
    torch.set_num_threads(conditions.threads)


def sentence_lengths(shape: Shape) -> Tensor:
    """int64 [B], the same at every call: a median of 17 tokens, two thirds of the sentences from 10 to 30."""
    drawn = torch.empty(shape.columns).log_normal_(2.85, 0.55, generator=torch.Generator().manual_seed(1))
    return drawn.round().long().clamp(1, shape.steps)


def contestants(cell: str, shape: Shape) -> dict[str, Callable[[], object]]:
    lengths, hidden = sentence_lengths(shape), shape.hidden
    inputs = torch.randn(shape.steps, shape.columns, hidden, requires_grad=True)
    gradient = torch.randn(shape.steps, shape.columns, hidden)
    ours, plain = RecurrentLayer(cell, hidden, hidden), PLAIN[cell](hidden, hidden)
    state = ours.initial_state(shape.columns)

    def run_ours(lengths: Tensor | None) -> None:
        ours.zero_grad()
        inputs.grad = None
        ours(inputs, state, Profile(), lengths)[0].backward(gradient)

    def run_plain() -> None:
        plain.zero_grad()
        inputs.grad = None
        outputs, _ = plain(pack_padded_sequence(inputs, lengths, enforce_sorted=False))
        pad_packed_sequence(outputs, total_length=shape.steps)[0].backward(gradient)

    return {"ours": lambda: run_ours(lengths), "full": lambda: run_ours(None), "plain": run_plain}
