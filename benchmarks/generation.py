"""The part `generation`: words drawn one at a time, by this project's network and by the same loop over torch.nn."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from benchmarks.contestants import Plain, Shape
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race
from unrolled.tasks.language_model.model.network import Network

State = TypeVar("State")
TARGET = 1.0
LENGTH = 50  # tokens a column and call
COLUMNS = 1, 20


class Size(NamedTuple):
    layers: int
    hidden: int
    words: int
    tied: bool


SIZES = [Size(1, 64, 3_445, True), Size(2, 200, 10_000, False), Size(2, 650, 10_000, False)]


def generation_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        conditions.sentence(conditions.few),
        f"Networks of random weights, {LENGTH} tokens a column drawn one after the other from the softmax; both sides",
        "in inference mode, with the same code that draws.",
    )
    titles = "ours tokens/s", "plain tokens/s", "ours / plain", "target", "met"
    yield from columns("cell", "layers x H, words", "columns", *titles, text=2)
    for cell in conditions.cells:
        for size in SIZES:
            for columns_ in COLUMNS:
                calls = {"ours": our_text(cell, size, columns_), "plain": plain_text(cell, size, columns_)}
                taken = race(calls, rounds=conditions.few, clock=conditions.clock)
                ours, plain = (LENGTH * columns_ / taken[who].median for who in ("ours", "plain"))
                shape = f"{size.layers} x {size.hidden}, {size.words}{' tied' if size.tied else ''}"
                yield row(cell, shape, columns_, f"{ours:,.0f}", f"{plain:,.0f}", against(ours / plain, TARGET))


def our_text(cell: str, size: Size, columns: int) -> Callable[[], Tensor]:
    """A text a column from this project's network."""
    torch.manual_seed(1)
    network = Network(
        size.words, cell=cell, bidirectional=False, embedding=size.hidden, hidden=size.hidden, layers=size.layers,
        dropout=0.0, tied=size.tied,
    )  # fmt: skip

    def read(tokens: Tensor, state: tuple[tuple[Tensor, ...], ...]) -> tuple[Tensor, tuple[tuple[Tensor, ...], ...]]:
        hidden, after = network.read("forward", tokens, state)
        return network.logits(hidden[0]), after

    return lambda: draw(read, network.initial_state(columns).forward, columns)


def plain_text(cell: str, size: Size, columns: int) -> Callable[[], Tensor]:
    """A text a column from nn.Embedding, nn.LSTM or its like, nn.Linear."""
    torch.manual_seed(1)
    network = Plain(cell, Shape(1, columns, size.hidden, size.layers, size.words), tied=size.tied).eval()

    def read(tokens: Tensor, state: object) -> tuple[Tensor, object]:
        hidden, after = network.recurrent(network.embedding(tokens), state)
        return network.output(hidden[0]), after

    return lambda: draw(read, None, columns)


@torch.inference_mode()
def draw(read: Callable[[Tensor, State], tuple[Tensor, State]], state: State, columns: int) -> Tensor:
    """LENGTH tokens a column, each read before the next is drawn; int64 [LENGTH, B]."""
    random = torch.Generator().manual_seed(3)
    tokens, drawn = torch.ones(1, columns, dtype=torch.int64), []
    for _ in range(LENGTH):
        logits, state = read(tokens, state)
        tokens = torch.multinomial(logits.softmax(-1), 1, generator=random).t()
        drawn.append(tokens)
    return torch.cat(drawn)
