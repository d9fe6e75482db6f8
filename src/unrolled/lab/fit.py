"""Training as a generator: it yields every step and epoch, and whoever wants progress or a history consumes them."""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor

from unrolled.bptt import Addends, Profile
from unrolled.clipping import Norms, clip
from unrolled.corpus.streams import Tokens, column_length, windows
from unrolled.nets.network import Network, States
from unrolled.settings import Train
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

    @property
    def valid_loss(self) -> float:
        """Mean nats a token, mean of the heads: what the learning rate is annealed on and the best epoch chosen by."""
        return statistics.fmean(sums.nats / sums.tokens for sums in self.valid.values())


def steps_an_epoch(tokens: Tokens, train: Train) -> int:
    """How many windows an epoch has."""
    return math.ceil(column_length(tokens, train.columns) / train.window)


def fit(
    network: Network,
    tokens: Tokens,
    valid: Tokens,
    train: Train,
    *,
    eos: int,
    generator: torch.Generator,
) -> Iterator[Step | Epoch]:
    """Train ``network`` in place by truncated back-propagation through time.

    Yields the untrained network's Epoch 0, then each Step, and an Epoch at each epoch's end. A step that is not finite
    is yielded, marked ``diverged``, and is the last thing yielded: divergence is a result.
    """
    # A gradient for the rows that were read, and no others; what adam and weight decay sum up wants them all.
    network.embedding.sparse = network.output is None or (train.optimiser == "sgd" and train.weight_decay == 0)
    optimiser = _optimiser(network, train)
    groups = network.groups()
    whole = column_length(tokens, train.columns) // train.window
    step, best = 0, math.inf
    yield _epoch(0, train.learning_rate, network, tokens, valid, train, {}, eos)
    for epoch in range(1, train.epochs + 1):
        state = network.initial_state(train.columns)
        # One array an epoch: a small tensor a step would lie between the large ones and keep the heap from shrinking.
        profiles: dict[str, Tensor] = {}
        read = windows(tokens, columns=train.columns, window=train.window, eos=eos)
        for index, (window, ahead) in enumerate(pairwise(chain(read, [None]))):
            assert window is not None
            step += 1
            profile = Profile()
            optimiser.zero_grad()
            state = States(state.forward, state_from_the_right(network, ahead, train.columns)).detach()
            nats, terms, state = loss(network, window, state, generator=generator, profile=profile)
            mean = nats / terms
            mean.backward()
            norms = clip(groups, train.clip_norm)
            rate = optimiser.param_groups[0]["lr"]
            record = Step(step, epoch, window.target.numel(), mean.item(), rate, norms)
            if record.diverged:
                yield record
                return
            optimiser.step()
            for name, norms_of_window in profile.norms.items() if index < whole else ():
                profiles.setdefault(name, norms_of_window.new_empty(whole, train.window))[index] = norms_of_window
            yield record
        ended = _epoch(epoch, rate, network, tokens, valid, train, profiles, eos)
        if (not ended.valid_loss < best) if train.anneal_after is None else epoch >= train.anneal_after:
            for group in optimiser.param_groups:
                group["lr"] /= train.anneal_factor
        best = min(best, ended.valid_loss)
        yield ended


def _epoch(
    number: int,
    rate: float,
    network: Network,
    tokens: Tokens,
    valid: Tokens,
    train: Train,
    profiles: dict[str, Tensor],
    eos: int,
) -> Epoch:
    return Epoch(
        number,
        rate,
        total_nats(network, valid, window=VALID_WINDOW, eos=eos),
        {name: norms.median(0).values for name, norms in profiles.items()},
        lag_profiles(network, tokens, columns=train.columns, steps=LAG_STEPS, eos=eos),
        addends(network, tokens, columns=train.columns, window=train.window, eos=eos),
    )


def _optimiser(network: Network, train: Train) -> torch.optim.Optimizer:
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimiser]
    return kind(network.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay)
