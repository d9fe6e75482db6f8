"""Predicting each token of a stream from what stands beside it: the loss of a window, the scores of a split."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from unrolled.bptt import Addends, Profile, lag_profile
from unrolled.corpus.streams import Tokens, Window, column_length, windows
from unrolled.nets.network import Network, States
from unrolled.nets.softmax_loss import softmax_nats

# What each head is scored as. A joined head sees both sides of its target: its score is no perplexity of a language
# model, for the product of its probabilities over a text does not sum to one over all texts.
SCORES = {"forward": "forward_perplexity", "backward": "backward_perplexity", "joined": "pseudo_perplexity"}


class Sums(NamedTuple):
    """A summed loss and what it was summed over; the mean and its exponential are taken once, at the end."""

    nats: float
    tokens: int


class Prediction(NamedTuple):
    """One window of a split, scored: targets int64 [T], log-probabilities of each head [T, V]."""

    targets: Tensor
    log_probabilities: dict[str, Tensor]

    def nats(self, head: str) -> Tensor:
        """-log p of each target, [T]; not-a-number counts as infinite, for it predicts nothing."""
        own = self.log_probabilities[head].gather(1, self.targets[:, None])[:, 0]
        return (-own).nan_to_num(nan=torch.inf, posinf=torch.inf)


def loss(
    network: Network,
    window: Window,
    state: States,
    *,
    generator: torch.Generator | None = None,
    profile: Profile | None = None,
) -> tuple[Tensor, int, States]:
    """Summed nats over the window and all heads, the number of terms in that sum, and the state after the window.

    Teacher forcing: whatever the network would have predicted, it reads the true tokens. sum / terms is the mean over
    all tokens of the window, and over the heads where there are three.
    """
    heads, after = network.hidden(window.left, window.right, state, generator=generator, profile=profile)
    hidden = torch.cat([each.flatten(0, 1) for each in heads.values()])
    targets = window.target.flatten().repeat(len(heads))
    return softmax_nats(hidden, network.output_weight, network.output_bias, targets), len(targets), after


def state_from_the_right(network: Network, ahead: Window | None, columns: int) -> tuple[tuple[Tensor, ...], ...]:
    """The backward stack's state at a window's right edge, read from the window ahead without gradient.

    The mirror image of the state that a forward stack carries: truncated too, but to one window, for what lies further
    to the right was never read before. Zeros at the end of the columns.
    """
    state = network.initial_state(columns).backward
    if ahead is None or not network.bidirectional:
        return state
    with torch.no_grad():
        return network.read("backward", ahead.right, state)[1]


@torch.inference_mode()
def predictions(network: Network, tokens: Tokens, *, window: int, eos: int) -> Iterator[Prediction]:
    """Every token of the split exactly once, in order, each head with all the context on its side.

    The split is one column, so no score depends on how many would have fitted side by side; and the state goes on from
    window to window, so none depends on the window's length. A backward stack reads the whole split from its end first:
    only its state at each window's right edge is kept, and the window read again when its turn comes.
    """
    edges = []
    state = network.initial_state(1)
    if network.bidirectional:
        backward = state.backward
        for each in windows(tokens, columns=1, window=window, eos=eos, reverse=True, device=network.device):
            edges.append(backward)
            backward = network.read("backward", each.right, backward)[1]
    for each in windows(tokens, columns=1, window=window, eos=eos, device=network.device):
        state = States(state.forward, edges.pop() if edges else ())
        heads, state = network.hidden(each.left, each.right, state)
        yield Prediction(
            each.target[:, 0],
            {head: log_softmax(network.logits(hidden[:, 0]), dim=-1) for head, hidden in heads.items()},
        )


def total_nats(network: Network, tokens: Tokens, *, window: int, eos: int) -> dict[str, Sums]:
    """Summed nats and tokens of each head over the split."""
    totals: dict[str, float] = {}
    for prediction in predictions(network, tokens, window=window, eos=eos):
        for head in prediction.log_probabilities:
            nats = prediction.nats(head).double().sum().item()
            totals[head] = totals.get(head, 0.0) + nats
    return {head: Sums(nats, len(tokens)) for head, nats in totals.items()}


@torch.inference_mode()
def reset_nats(network: Network, tokens: Tokens, *, eos: int, columns: int = 32, window: int = 16) -> Tensor:
    """-log p of every token [N], in order, of the forward head that starts anew at each sentence: after each ``eos``.

    Sentences of about one length stand side by side, ``columns`` of them, ``window`` steps at a time; the figures
    depend on neither. What stands below a shorter one is read, but counts nowhere.
    """
    text = torch.from_numpy(np.asarray(tokens, dtype=np.int64))
    ends = (torch.nonzero(text == eos)[:, 0] + 1).tolist()
    bounds = [0, *ends] + [len(text)] * (not ends or ends[-1] < len(text))
    sentences = sorted(pairwise(bounds), key=lambda each: each[0] - each[1])  # the longest first
    nats = torch.empty(len(text))
    for batch in (sentences[first : first + columns] for first in range(0, len(sentences), columns)):
        places = torch.arange(batch[0][1] - batch[0][0])[:, None] + torch.tensor([start for start, _ in batch])
        inside = places < torch.tensor([end for _, end in batch])
        places = places.clamp(max=len(text) - 1)
        left = torch.cat([torch.full((1, len(batch)), eos), text[places[:-1]]])
        state = network.initial_state(len(batch)).forward
        for read, targets, scored in zip(left.split(window), places.split(window), inside.split(window), strict=True):
            hidden, state = network.read("forward", read, state)
            own = text[targets][..., None]
            of_tokens = -log_softmax(network.logits(hidden), dim=-1).gather(2, own)[..., 0]
            nats[targets[scored]] = of_tokens[scored]
    return nats.nan_to_num(nan=torch.inf, posinf=torch.inf)


def lag_profiles(network: Network, tokens: Tokens, *, columns: int, steps: int, eos: int) -> dict[str, Tensor]:
    """||dL/dh|| of each layer by distance back from one loss, at the last step its stack reads; {layer name: [steps]}.

    The loss is summed over the columns. Each stack first reads a window for its context, a forward stack the one to the
    left, a backward stack the one to the right, so that it is not measured from a cold start.
    """
    longest = column_length(tokens, columns) // 2
    read = windows(tokens, columns=columns, window=min(steps, longest), eos=eos, device=network.device)
    first, second = next(read), next(read)
    norms: dict[str, Tensor] = {}
    for head, context, measured, last in (("forward", first, second, -1), ("backward", second, first, 0)):
        if head == "backward" and not network.bidirectional:
            break
        with torch.no_grad():
            _, state = network.hidden(context.left, context.right, network.initial_state(columns))

        def last_loss(
            profile: Profile, head: str = head, measured: Window = measured, last: int = last, state: States = state
        ) -> Tensor:
            heads, _ = network.hidden(measured.left, measured.right, state, profile=profile)
            return cross_entropy(network.logits(heads[head][last]), measured.target[last], reduction="sum")

        by_layer = lag_profile(last_loss, network.parameters())
        norms |= {name: values for name, values in by_layer.items() if name.startswith(head)}
    return norms


def addends(network: Network, tokens: Tokens, *, columns: int, window: int, eos: int) -> dict[str, Addends]:
    """What each time step adds to the gradients of the recurrent layers' shared weights; {layer name: norms [T]}.

    L is training's: the mean over all tokens of a window and all heads, here without dropout. So are the states: a
    forward stack has read the window to the left, a backward stack the one to the right, where there is one. The
    parameters' `.grad` is left as it was and no random number drawn: training goes on as if nothing had been measured.
    """
    longest = column_length(tokens, columns) // 2
    read = windows(tokens, columns=columns, window=min(window, longest), eos=eos, device=network.device)
    context, measured, ahead = next(read), next(read), next(read, None)
    with torch.no_grad():
        _, forward = network.read("forward", context.left, network.initial_state(columns).forward)
    profile = Profile(addends_wanted=True)
    state = States(forward, state_from_the_right(network, ahead, columns))
    nats, terms, _ = loss(network, measured, state, profile=profile)
    torch.autograd.grad(nats / terms, list(network.parameters()))
    return profile.addends
