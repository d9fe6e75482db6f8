"""The part `modules`: the library's RNN, GRU and LSTM beside torch's, on whole windows and on packed sentences."""

from collections.abc import Callable, Iterator

import torch
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from benchmarks import lengths, training
from benchmarks.contestants import PLAIN, Shape
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race

OURS = {"lstm": unrolled.LSTM, "rnn": unrolled.RNN, "gru": unrolled.GRU}
HEADINGS = "cell", "T, B, H", "sequences", "ours ms", "plain ms", "plain / ours", "target", "met"


def modules_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        conditions.sentence(conditions.rounds),
        "Forward and backward of a module of one layer, `unrolled.LSTM` with its profile beside `torch.nn.LSTM`, and",
        "so on: on whole windows, and on a PackedSequence of sentences as long as in the section before.",
    )
    yield from columns(*HEADINGS, text=3)
    for cell in PLAIN:
        for packed, shapes in ((False, training.LAYERS), (True, lengths.SHAPES)):
            for shape in shapes:
                taken = race(contestants(cell, shape, packed), rounds=conditions.rounds, clock=conditions.clock)
                ours, plain = (1e3 * taken[name].median for name in ("ours", "plain"))
                size, form = f"{shape.steps}, {shape.columns}, {shape.hidden}", "sentences" if packed else "whole"
                yield row(cell, size, form, f"{ours:.2f}", f"{plain:.2f}", against(plain / ours, 1.0))


def contestants(cell: str, shape: Shape, packed: bool) -> dict[str, Callable[[], object]]:
    inputs = torch.randn(shape.steps, shape.columns, shape.hidden)
    read = pack_padded_sequence(inputs, lengths.sentence_lengths(shape), enforce_sorted=False) if packed else inputs
    leaf = read.data.requires_grad_() if packed else inputs.requires_grad_()
    gradient = torch.randn_like(leaf)

    def runs(module: torch.nn.RNNBase) -> Callable[[], None]:
        def run() -> None:
            module.zero_grad()
            leaf.grad = None
            outputs, _ = module(read)
            (outputs.data if packed else outputs).backward(gradient)

        return run

    return {
        "ours": runs(OURS[cell](shape.hidden, shape.hidden)),
        "plain": runs(PLAIN[cell](shape.hidden, shape.hidden)),
    }
