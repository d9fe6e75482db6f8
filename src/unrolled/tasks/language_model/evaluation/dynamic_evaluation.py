"""Dynamic evaluation: a trained network goes on learning from the text that it is scored on (Krause et al. 2018).

    segments        s_1        s_2        s_3        each is scored first, with the weights that no token of it has
    weights   theta_g -> theta_1 -> theta_2          changed; then it moves them, and the next segment is scored

    theta <- theta + decay RMS / mean(RMS) (theta_g - theta) - rate g / (RMS + epsilon)

g is the gradient of the segment's mean nats; theta_g are the trained weights; RMS is the root of the mean squared
gradient over segments of the training text. This is the rule that the paper recommends, "RMS with an RMS global prior"
(section 5). Without these statistics RMS / mean(RMS) and RMS + epsilon are 1: plain gradient descent with decay.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Tokens
from unrolled.recurrence.threads import one_thread
from unrolled.scoring.measures import Floats
from unrolled.tasks.language_model.model.network import Network, States
from unrolled.tasks.language_model.model.windows import windows

EPSILON = 2e-5  # of the authors' code, for gradients of a mean over 100 columns of 5 tokens

MeanSquares = list[Tensor]  # one for each of `adapted`'s parameters, of its shape


@dataclass(frozen=True)
class Dynamics:
    """Tokens a segment, and how far one moves the weights and how much of the way back; ValueError where out of range.

    The authors' for the Penn Treebank: 5, 5e-5, 0.002; a segment n times as long wants about n times the other two.
    """

    segment: int
    rate: float
    decay: float

    def __post_init__(self) -> None:
        if self.segment < 1:
            raise ValueError(f"a segment must have at least 1 token, not {self.segment}")
        if not (0 <= self.rate < math.inf):
            raise ValueError(f"the rate of dynamic evaluation must be finite and at least 0, not {self.rate}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"the decay of dynamic evaluation must lie in 0..1, not {self.decay}")


def adapted(network: Network) -> list[Tensor]:
    """The parameters that the forward head reads, each once: what dynamic evaluation moves. Tied weights are one."""
    return [network.embedding.weight, *network.forward_stack.parameters(), *network.output_parameters]


def mean_squares(
    network: Network, tokens: Tokens, *, segment: int, columns: int = 100, segments: int | None = None
) -> MeanSquares:
    """The squared gradient of a segment's mean nats over all columns, averaged over the segments of a text.

    The text is the training split. ``segments``: how many, None for all. The columns begin evenly spaced, so the first
    segments too are drawn from all over the text; yet few of them leave the weights of rare tokens with small squares
    or none, hence with large steps and little decay: half of the Python documentation's text instead of all of it cost
    7% of perplexity. UserError where the text has fewer than two rows of columns, ValueError for a segment or number
    of segments below one.
    """
    if segment < 1 or (segments is not None and segments < 1):
        raise ValueError(f"mean squares need at least 1 segment of 1 token, not {segments} of {segment}")
    network = _copy(network)
    parameters = adapted(network)
    sums = [torch.zeros_like(each) for each in parameters]
    state, count = network.initial_state(columns).forward, 0
    for each in islice(windows(tokens, columns=columns, window=segment), segments):
        hidden, after = network.read("forward", each.left, state)
        targets = each.target.flatten()
        nats = network.nats(hidden.flatten(0, 1), targets)
        for total, gradient in zip(sums, torch.autograd.grad(nats / len(targets), parameters), strict=True):
            total.addcmul_(gradient, gradient)
        state, count = States(after).detach().forward, count + 1
    return [total.div_(count) for total in sums]


def dynamic_nats(network: Network, tokens: Tokens, dynamics: Dynamics, *, squares: MeanSquares | None) -> Floats:
    """-log p of every token by the weights before they saw it, float64 [N]; the network itself is left as it was.

    The split is one column, whose state goes on from segment to segment; a copy of the forward head's part is what
    learns. ``squares``: of `mean_squares` with the same length of segment, None for plain gradient descent.
    Not-a-number counts as infinite nats. UserError where the split has fewer than two tokens; ValueError where the
    squares are another network's.
    """
    trained, network = [each.detach() for each in adapted(network)], _copy(network)
    parameters = adapted(network)
    steps, decays = _reaches(trained, dynamics, squares)
    state = network.initial_state(1).forward
    scored = []
    for each in windows(tokens, columns=1, window=dynamics.segment):
        hidden, after = network.read("forward", each.left, state)
        nats = cross_entropy(network.logits(hidden[:, 0]), each.target[:, 0], reduction="none")
        gradients = torch.autograd.grad(nats.mean(), parameters)
        scored.append(nats.detach().double())
        state = States(after).detach().forward
        with torch.no_grad():
            for moved, home, gradient, step, decay in zip(parameters, trained, gradients, steps, decays, strict=True):
                moved.lerp_(home, decay).addcmul_(step, gradient, value=-1)
    return np.asarray(torch.cat(scored).nan_to_num(nan=math.inf, posinf=math.inf).numpy())


def choose_dynamics(
    network: Network,
    tokens: Tokens,
    *,
    segment: int,
    rates: Iterable[float],
    decays: Iterable[float],
    squares: MeanSquares | None,
) -> tuple[Dynamics, float]:
    """The rate and decay of lowest summed nats among all combinations, and that sum; of equals the first, rates outer.

    The tokens are the validation split's, or its first ones where time is short: each combination reads them all.
    ValueError where a grid is empty or a number does not fit.
    """
    grid = [Dynamics(segment, rate, decay) for rate, decay in product(rates, list(decays))]
    if not grid:
        raise ValueError("no dynamic evaluation to choose from: give at least one rate and one decay")
    nats = {each: float(dynamic_nats(network, tokens, each, squares=squares).sum()) for each in grid}
    best = min(nats, key=lambda each: nats[each])
    return best, nats[best]


def _copy(network: Network) -> Network:
    """A network of its own, whose embedding's gradient is dense whatever training left."""
    own = copy.deepcopy(network)
    own.embedding.sparse = False
    return own


@one_thread()
def _reaches(
    trained: list[Tensor], dynamics: Dynamics, squares: MeanSquares | None
) -> tuple[list[Tensor], list[Tensor]]:
    """What each weight's gradient is multiplied by, and which part of its way back it goes after a segment.

    mean(RMS) is over all weights. No weight goes further than home, as in the authors' code.
    """
    if squares is None:
        step, decay = (trained[0].new_tensor(number) for number in (dynamics.rate, dynamics.decay))
        return [step] * len(trained), [decay] * len(trained)
    if [each.shape for each in squares] != [each.shape for each in trained]:
        raise ValueError("the mean squares are another network's: their shapes differ from its parameters'")
    roots = [each.sqrt() for each in squares]
    mean = sum(each.sum(dtype=torch.float64).item() for each in roots) / sum(each.numel() for each in roots)
    relative = dynamics.decay / mean if mean else 0.0  # a network without any gradient stays at home
    steps = [dynamics.rate / (each + EPSILON) for each in roots]
    return steps, [(each * relative).clamp_(max=1) for each in roots]
