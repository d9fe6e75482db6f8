"""The neural cache: what followed a similar state of the network is likely to follow again (Grave et al. 2017).

    target            w_1  w_2  w_3  w_4 ...     hidden[t] is what the forward head reads to predict targets[t]
    predicted from    h_1  h_2  h_3  h_4 ...     the cache at t: the pairs (h_i, w_i) of the last `window` i < t

    p_cache(w)  proportional to  sum over the cache of 1{w_i = w} exp(theta h_t . h_i)          (their equation 3)
    p(w)        =  (1 - weight) p_model(w) + weight p_cache(w)                                  (linear interpolation)

Nothing is trained: window, theta and weight are chosen on the validation split, once the network is fixed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Tokens
from unrolled.scoring.interpolation import interpolated_nats
from unrolled.scoring.measures import Floats
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.windows import windows

NUMBERS = 2**21  # dot products held at a time, 8 MB: the intermediates of a chunk come to about four times that
FEWEST, MOST = 64, 512  # positions in a chunk: with fewer the product is slow, with more it holds more than its band


@dataclass(frozen=True)
class Cache:
    """How many positions back it looks, how sharply it tells their states apart, and what share of p it gets.

    theta = 0 weighs all positions alike: the cache of Kuhn and De Mori (1990). ValueError where a number does not fit.
    """

    window: int
    theta: float
    weight: float

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"a cache's window must be at least 1, not {self.window}")
        if not (0 <= self.theta < math.inf):
            raise ValueError(f"a cache's theta must be finite and at least 0, not {self.theta}")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"a cache's weight must lie in 0..1, not {self.weight}")


class Reading(NamedTuple):
    """A split as the forward head read it; a cache needs no more of the network."""

    hidden: Tensor  # [N, H], what the head reads to predict each token: N x H numbers are held
    targets: Tensor  # int64 [N]
    nats: Tensor  # float64 [N], -log p_model of each target


@torch.no_grad()
def forward_reading(network: Network, tokens: Tokens, *, window: int) -> Reading:
    """Every token of the split once, in order, as one column whose state goes on from window to window.

    So nothing depends on ``window``, the tokens read at a time, but the memory taken. The forward head alone, also of a
    bidirectional network: the other heads read what a cache must not know. Not-a-number counts as infinite nats.
    UserError where the split has fewer than two tokens.
    """
    hidden, nats = [], []
    state = network.initial_state(1).forward
    for each in windows(tokens, columns=1, window=window):
        outputs, state = network.read("forward", each.left, state)
        hidden.append(outputs[:, 0])
        nats.append(cross_entropy(network.logits(outputs[:, 0]), each.target[:, 0], reduction="none").double())
    targets = torch.from_numpy(np.asarray(tokens).astype(np.int64))
    return Reading(torch.cat(hidden), targets, torch.cat(nats).nan_to_num(nan=math.inf, posinf=math.inf))


def cache_nats(reading: Reading, cache: Cache, *, chunk: int | None = None) -> Floats:
    """-log p of every token under the network with the cache beside it, [N]; at the first, the network's own.

    ``chunk``: positions at a time, None for what is fast. ValueError for a chunk below one, or where the
    reading's parts differ in length.
    """
    (log_cache,) = _log_cache(reading, cache.window, [cache.theta], chunk)
    return _with_share(reading.nats, log_cache, cache.weight)


def choose_cache(
    reading: Reading, *, windows: Iterable[int], thetas: Iterable[float], weights: Iterable[float]
) -> tuple[Cache, float]:
    """The cache of lowest summed nats among all combinations, and that sum; of equals the first, windows outermost.

    The reading is of the validation split. The dot products are computed once a window. ValueError where a grid is
    empty or a number does not fit.
    """
    thetas = list(thetas)
    caches = [Cache(*setting) for setting in product(windows, thetas, list(weights))]
    if not caches:
        raise ValueError("no cache to choose from: give at least one window, one theta and one weight")
    nats: dict[Cache, float] = {}
    for window in dict.fromkeys(cache.window for cache in caches):
        log_cache = dict(zip(thetas, _log_cache(reading, window, thetas), strict=True))
        for cache in caches:
            if cache.window == window:
                nats[cache] = float(_with_share(reading.nats, log_cache[cache.theta], cache.weight).sum())
    best = min(nats, key=lambda cache: nats[cache])
    return best, nats[best]


def _with_share(nats: Tensor, log_cache: Tensor, weight: float) -> Floats:
    """-log((1 - weight) p_model + weight p_cache), [N]; the first position has no cache and keeps its nats."""
    mixed = interpolated_nats(nats, -log_cache, weight)
    mixed[:1] = nats[:1]
    return mixed


@torch.no_grad()
def _log_cache(reading: Reading, window: int, thetas: list[float], chunk: int | None = None) -> Tensor:
    """log p_cache of each target, float64 [thetas, N]; -inf where it is not in the cache, as in the empty first one,
    or where the states are no numbers.

    A chunk of positions is multiplied with all that any of them may see, and the band that each may see cut out.
    """
    hidden, targets, nats = reading
    if not len(hidden) == len(targets) == len(nats):
        raise ValueError(f"a reading of {len(hidden)} states, {len(targets)} targets and {len(nats)} nats")
    window = min(window, max(len(targets) - 1, 1))
    chunk = max(FEWEST, min(MOST, NUMBERS // window)) if chunk is None else chunk
    if chunk < 1:
        raise ValueError(f"a chunk must have at least 1 position, not {chunk}")
    row, column = torch.arange(chunk)[:, None], torch.arange(window + chunk - 1)
    band = (column >= row) & (column < row + window)  # column 0 stands `window` positions before row 0
    result = nats.new_full((len(thetas), len(targets)), -math.inf)
    for start in range(1, len(targets), chunk):
        stop, first = min(start + chunk, len(targets)), max(start - window, 0)
        seen = band[: stop - start, first - start + window : stop - 1 - start + window]
        dots = hidden[start:stop] @ hidden[first : stop - 1].t()
        same = (targets[start:stop, None] == targets[first : stop - 1]) & seen
        result[:, start:stop] = _log_shares(dots, seen, same, thetas)
    return result.nan_to_num(nan=-math.inf, neginf=-math.inf)


def _log_shares(dots: Tensor, seen: Tensor, same: Tensor, thetas: list[float]) -> Tensor:
    """log of what share of each row's sum of exp(theta dots) falls on ``same``, float64 [thetas, rows].

    dots [rows, columns], overwritten; seen, same: bool, what belongs to a row's cache, and what of it is its target.
    """
    unseen = ~seen
    dots -= dots.masked_fill(unseen, -math.inf).amax(1, keepdim=True)  # theta >= 0: no exponential above one
    row, column = same.nonzero(as_tuple=True)
    of_target = dots[row, column].double()  # few, and in double precision they do not underflow
    shares = []
    for theta in thetas:
        total = (theta * dots).exp_().masked_fill_(unseen, 0).sum(1).double()
        own = torch.zeros_like(total).index_add_(0, row, (theta * of_target).exp_())
        shares.append((own.log() - total.log()).clamp_(max=0))  # rounding: the total is summed in single precision
    return torch.stack(shares)
