"""Training as a generator: it yields every step and epoch, and whoever wants progress or a history consumes them."""

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Self

import torch
from torch import Tensor

from unrolled.bptt import Addends, Profile
from unrolled.clipping import Norms, clip
from unrolled.corpus.streams import Tokens, Window, column_length, windows
from unrolled.lab.device import CPU
from unrolled.lab.memory import check_memory
from unrolled.nets.gates import Spectrum, spectra
from unrolled.nets.network import Network, States
from unrolled.settings import Settings, Train
from unrolled.tasks.language_model import Sums, addends, lag_profiles, loss, state_from_the_right, total_nats

LAG_STEPS = 100  # how far back the lag profile looks: the lecture's rule of thumb for an LSTM
VALID_WINDOW = 512  # tokens scored at a time; the figure does not depend on it
REDUCTION = "mean over all tokens of a window"  # what loss, gradient and clip_norm refer to


@dataclass(frozen=True)
class Step:
    """One update: the loss in mean nats a token and the gradient norms it was taken with."""

    number: int
    epoch: int
    tokens: int
    loss: float
    learning_rate: float
    norms: Norms

    @property
    def diverged(self) -> bool:
        """The loss or its gradient is not finite: no update was made, and none will follow."""
        return not (math.isfinite(self.loss) and math.isfinite(self.norms.before))


@dataclass(frozen=True)
class Epoch:
    """What is known at an epoch's end; number 0 is the untrained network."""

    number: int
    learning_rate: float
    valid: dict[str, Sums]  # by head
    profile: dict[str, Tensor]  # by layer: median over the epoch's whole windows of ||dL/dh_t||, [T]
    lag_profile: dict[str, Tensor]  # by layer: ||dL/dh|| by distance from one loss at the last step
    addends: dict[str, Addends]  # by layer: ||dL_t/dW|| of what each step t of a window adds, and of their sum
    spectra: dict[str, dict[str, Spectrum]]  # by layer and gate: of the recurrent weights

    @property
    def valid_loss(self) -> float:
        """Mean nats a token, mean of the heads: what the learning rate is annealed on and the best epoch chosen by."""
        return statistics.fmean(sums.nats / sums.tokens for sums in self.valid.values())


@dataclass
class Training:
    """What a training is between two steps: all that must be kept for it to go on as if nothing had happened."""

    network: Network
    train: Train
    generator: torch.Generator  # draws the dropout masks
    optimiser: torch.optim.Optimizer = field(init=False)
    step: int = 0  # updates made
    epoch: int = 0  # epochs ended
    position: int = 0  # windows of the epoch under way that were read
    state: States | None = None  # carried to the next window; None at an epoch's start
    profiles: dict[str, Tensor] = field(default_factory=dict)  # by layer: ||dL/dh_t|| of whole windows, [windows, T]
    valid_losses: list[float] = field(default_factory=list)  # by epoch
    averages: dict[str, Tensor] | None = None  # of the weights, once averaging has begun
    averaged: int = 0  # how many weights were averaged

    def __post_init__(self) -> None:
        sgd = self.train.optimiser == "sgd" and self.train.weight_decay == 0
        # A gradient for the rows that were read, and no others; what adam and weight decay sum up wants them all, and a
        # GPU fills them in less time than it takes to find out which were read.
        self.network.embedding.sparse = self.network.device.type == "cpu" and (self.network.output is None or sgd)
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.train.optimiser]
        rate, decay = self.train.learning_rate, self.train.weight_decay
        self.optimiser = kind(self.network.parameters(), lr=rate, weight_decay=decay)

    @classmethod
    def of(cls, settings: Settings, types: int, device: torch.device = CPU) -> Self:
        """An arm's training before its first step; one generator draws the weights and then the masks, on the CPU.

        UserError where it cannot fit into the memory of ``device``.
        """
        check_memory(settings, types, device)
        generator = torch.Generator().manual_seed(settings.train.seed)
        network = Network(types, **settings.network.model_dump(), generator=generator).to(device)
        return cls(network, settings.train, generator)

    @property
    def learning_rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def total_steps(self, tokens: Tokens) -> int:
        """Windows in all epochs."""
        return math.ceil(column_length(tokens, self.train.columns) / self.train.window) * self.train.epochs

    def weights(self) -> dict[str, Tensor]:
        """The weights to predict with: averaged ones, once averaging has begun."""
        return dict(self.network.named_parameters()) if self.averages is None else self.averages


def fit(training: Training, tokens: Tokens, valid: Tokens, *, eos: int) -> Iterator[Step | Epoch]:
    """Train the network in place by truncated back-propagation through time, from where ``training`` stands.

    Yields the untrained network's Epoch 0, then each Step, and an Epoch at each epoch's end. A step that is not finite
    is yielded, marked ``diverged``, and is the last thing yielded: divergence is a result.
    """
    train = training.train
    if training.step == 0:
        yield _epoch(training, tokens, valid, eos)
    while training.epoch < train.epochs:
        for step in steps(training, tokens, eos):
            yield step
            if step.diverged:
                return
        training.epoch, training.position, training.state = training.epoch + 1, 0, None
        ended = _epoch(training, tokens, valid, eos)
        training.profiles = {}
        _anneal(training, ended.valid_loss)
        yield ended


def steps(training: Training, tokens: Tokens, eos: int) -> Iterator[Step]:
    """The rest of the epoch under way."""
    network, train = training.network, training.train
    groups = network.groups()
    whole = column_length(tokens, train.columns) // train.window
    for window, state in upcoming(training, tokens, eos):
        profile = Profile()
        training.optimiser.zero_grad()
        nats, terms, state = loss(network, window, state, generator=training.generator, profile=profile)
        mean = nats / terms
        mean.backward()
        norms = clip(groups, train.clip_norm)
        number, rate = training.step + 1, training.learning_rate
        step = Step(number, training.epoch + 1, window.target.numel(), mean.item(), rate, norms)
        if step.diverged:
            yield step
            return
        training.optimiser.step()
        _average(training)
        # One array an epoch: a small tensor a step would lie between the large ones and keep the heap from shrinking.
        for name, of_window in profile.norms.items() if training.position < whole else ():
            kept = training.profiles.setdefault(name, of_window.new_empty(whole, train.window))
            kept[training.position] = of_window
        training.step, training.position, training.state = number, training.position + 1, state
        yield step


def upcoming(training: Training, tokens: Tokens, eos: int) -> Iterator[tuple[Window, States]]:
    """The windows of the epoch under way that were not read yet, each with the state that its step starts from."""
    network, train = training.network, training.train
    read = windows(
        tokens, columns=train.columns, window=train.window, eos=eos, first=training.position, device=network.device
    )
    for window, ahead in pairwise(chain(read, [None])):
        assert window is not None
        state = training.state or network.initial_state(train.columns)
        yield window, States(state.forward, state_from_the_right(network, ahead, train.columns)).detach()


@torch.no_grad()
def _average(training: Training) -> None:
    if training.averages is None:
        return
    training.averaged += 1
    for name, parameter in training.network.named_parameters():
        training.averages[name].lerp_(parameter, 1 / training.averaged)


def _anneal(training: Training, valid_loss: float) -> None:
    """Divide the learning rate, and begin to average the weights, where the settings say so.

    Averaging begins where the loss is above the best of all epochs but the last n (NT-ASGD: Merity, Keskar & Socher
    2018, algorithm 1), and ends with the training.
    """
    train, before = training.train, training.valid_losses
    patience = train.average_after
    if patience is not None and training.averages is None and valid_loss > min(before[:-patience], default=math.inf):
        training.averages = {name: each.detach().clone() for name, each in training.network.named_parameters()}
        training.averaged = 0
    lowered = valid_loss < min(before, default=math.inf)
    if not lowered if train.anneal_after is None else training.epoch >= train.anneal_after:
        for group in training.optimiser.param_groups:
            group["lr"] /= train.anneal_factor
    before.append(valid_loss)


def _epoch(training: Training, tokens: Tokens, valid: Tokens, eos: int) -> Epoch:
    train, network = training.train, training.network
    with _averaged(training):
        return Epoch(
            training.epoch,
            training.learning_rate,
            total_nats(network, valid, window=VALID_WINDOW, eos=eos),
            {name: norms.median(0).values for name, norms in training.profiles.items()},
            lag_profiles(network, tokens, columns=train.columns, steps=LAG_STEPS, eos=eos),
            addends(network, tokens, columns=train.columns, window=train.window, eos=eos),
            {layer.name: spectra(layer) for stack in network.stacks.values() for layer in stack.layers},
        )


@contextmanager
def _averaged(training: Training) -> Iterator[None]:
    """The network with its averaged weights, for as long as the block lasts."""
    if training.averages is None:
        yield
        return
    own = {name: each.detach().clone() for name, each in training.network.named_parameters()}
    training.network.load_state_dict(training.averages)
    try:
        yield
    finally:
        training.network.load_state_dict(own)
