"""Who races in training: this project's layer and step, and beside them what everyone writes with torch.nn."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, nll_loss

from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile
from unrolled.tasks.language_model.model.batches import Batch
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.task import Task
from unrolled.tasks.language_model.model.windows import Window
from unrolled.training.clipping import clip

PLAIN = {"lstm": nn.LSTM, "rnn": nn.RNN, "gru": nn.GRU}
GATES = {"lstm": 4, "rnn": 1, "gru": 3}
CLIP_NORM = 0.25
RATE = 1.0
TRAIN = {"optimiser": "sgd", "weight_decay": 0.0, "window": 35}


class Shape(NamedTuple):
    """Of one window: time steps, columns, hidden units; of a whole step also layers and words."""

    steps: int
    columns: int
    hidden: int
    layers: int = 1
    words: int = 0


def layers(cell: str, shape: Shape) -> dict[str, Callable[[], object]]:
    """Forward and backward of one layer: ours with and without its profile, and torch's own."""
    steps, columns, hidden = shape[:3]
    inputs = torch.randn(steps, columns, hidden, requires_grad=True)
    gradient = torch.randn(steps, columns, hidden)
    ours, plain = RecurrentLayer(cell, hidden, hidden), PLAIN[cell](hidden, hidden)
    state = ours.initial_state(columns)

    def run_ours(profile: Profile | None) -> None:
        ours.zero_grad()
        inputs.grad = None
        ours(inputs, state, profile)[0].backward(gradient)

    def run_plain() -> None:
        plain.zero_grad()
        inputs.grad = None
        plain(inputs)[0].backward(gradient)

    return {"ours": lambda: run_ours(Profile()), "silent": lambda: run_ours(None), "plain": run_plain}


def our_step(
    cell: str, shape: Shape, *, silent: bool = False, softmax: str = "full", cutoffs: Sequence[int] = ()
) -> Callable[[], object]:
    """One update as `unrolled.training.fit` makes it, untied."""
    torch.manual_seed(1)
    network = Network(
        shape.words, cell=cell, bidirectional=False, embedding=shape.hidden, hidden=shape.hidden,
        layers=shape.layers, dropout=0.0, tied=False, softmax=softmax, cutoffs=cutoffs,
    )  # fmt: skip
    network.embedding.sparse = True
    optimiser, groups = torch.optim.SGD(network.parameters(), lr=RATE), network.groups()
    tokens, targets = _tokens(shape)
    batch, task = Batch(Window(tokens, targets, targets), None), Task(TRAIN | {"columns": shape.columns})
    carry = [task.start(network)]

    def step() -> None:
        optimiser.zero_grad()
        entry, profile = task.entry(network, batch, carry[0]), None if silent else Profile()
        nats, terms, after = task.loss(network, batch, entry, profile=profile)
        (nats / terms).backward()
        clip(groups, CLIP_NORM)
        optimiser.step()
        carry[0] = after

    return step


class Plain(nn.Module):
    """The language model of a hundred tutorials, word_language_model's among them."""

    def __init__(self, cell: str, shape: Shape, *, tied: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(shape.words, shape.hidden)
        self.recurrent = PLAIN[cell](shape.hidden, shape.hidden, shape.layers, dropout=dropout)
        self.output = nn.Linear(shape.hidden, shape.words)
        if tied:
            self.output.weight = self.embedding.weight
        for weight in (self.embedding.weight, self.output.weight):
            nn.init.uniform_(weight, -0.1, 0.1)

    def forward(self, tokens: Tensor, state: Tensor | tuple[Tensor, ...] | None) -> tuple[Tensor, object]:
        hidden, state = self.recurrent(self.dropout(self.embedding(tokens)), state)
        return log_softmax(self.output(self.dropout(hidden)).flatten(0, 1), dim=1), state


def plain_step(
    cell: str, shape: Shape, *, tied: bool = False, dropout: float = 0.0, device: torch.device | None = None
) -> Callable[[], object]:
    """One update as the word_language_model example makes it: nll_loss, clip_grad_norm_, SGD by hand."""
    torch.manual_seed(1)
    network = Plain(cell, shape, tied=tied, dropout=dropout).to(device)
    tokens, targets = (each.to(device) for each in _tokens(shape))
    state: list[object] = [None]

    def step() -> None:
        network.zero_grad()
        before = state[0]
        detached = tuple(part.detach() for part in before) if isinstance(before, tuple) else before
        scores, after = network(tokens, detached.detach() if isinstance(detached, Tensor) else detached)
        nll_loss(scores, targets.flatten()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.add_(parameter.grad, alpha=-RATE)
        state[0] = after

    return step


def steps(cell: str, shape: Shape) -> Mapping[str, Callable[[], object]]:
    """The whole training step: ours with and without its profile, and the plain loop."""
    silent = our_step(cell, shape, silent=True)
    return {"ours": our_step(cell, shape), "silent": silent, "plain": plain_step(cell, shape)}


def step_flops(cell: str, shape: Shape) -> float:
    """Of the products no one can avoid: forward, and twice that backward; the first layer's dL/dx among them."""
    tokens = shape.steps * shape.columns
    recurrent = shape.layers * 2 * GATES[cell] * shape.hidden**2
    return 3 * 2 * tokens * (recurrent + shape.hidden * shape.words)


def layer_flops(cell: str, shape: Shape) -> float:
    """The same for one layer alone."""
    return step_flops(cell, shape._replace(layers=1, words=0))


def _tokens(shape: Shape) -> tuple[Tensor, Tensor]:
    """As often as text has them: a word's share is about 1 / (its rank + 2.7) (Zipf; Mandelbrot 1953)."""
    random = torch.Generator().manual_seed(2)
    shares = 1 / (torch.arange(shape.words, dtype=torch.float64) + 3.7)
    both = torch.multinomial(shares, 2 * shape.steps * shape.columns, replacement=True, generator=random)
    tokens, targets = both.view(2, shape.steps, shape.columns)
    return tokens, targets
