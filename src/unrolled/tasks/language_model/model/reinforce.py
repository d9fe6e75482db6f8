"""Learning from sentences of its own by their worth, for the choice of a word has no gradient (Williams 1992).

    The network is given a prompt and ends the sentence itself. What each word w is worth is
        ln p(w | before) - entropy_weight ln q(w | before)         p a model of the training text, q the network itself
    and the gradient of the expected sum of it is that of -(R - b) ln q(w), summed over its words, where R is what w and
    all words after it are worth. With entropy_weight 1 that sum is, in expectation, -KL(q || p), largest where q = p;
    with 0 it is largest where q says only the likeliest sentence of p.

b is the mean R of the other sentences of the batch at the same place; it makes the gradient less a matter of chance and
leaves its expectation. A sentence that does not end within the batch's longest true one is rated as far as it goes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.language_model.model.feeding import OwnWords
from unrolled.tasks.language_model.model.ngrams import NGrams
from unrolled.tasks.language_model.model.sentences import inside


class Rated(NamedTuple):
    """Sentences that the network ended itself, and what their words are worth."""

    left: Tensor  # int64 [T, B], read
    target: Tensor  # int64 [T, B], true words and then its own
    lengths: Tensor  # int64 [B]
    factors: Tensor  # float64 [T, B], what the nats of each target count: 1 of true words, R - b of its own
    rest: float  # what makes the sum of these the loss proper: nats of true words, minus what its own are worth


def rated(
    own: OwnWords, true: Tensor, begins: Tensor, lengths: Tensor, rewards: NGrams, entropy_weight: float
) -> Rated:
    """``own``: [T + 1, B], a row more than the ``true`` targets [T, B]; ``begins`` [B]: the first place of its own,
    at its end or beyond in a sentence that is all true; ``lengths`` [B]: of the true sentences."""
    left, log_q = own.read[:-1], own.log_probabilities[1:]
    steps = len(left)
    places = torch.arange(steps, device=left.device)[:, None]
    drawn = (places >= begins) & (begins < lengths)
    target = torch.where(drawn, own.read[1:], true)
    ended = drawn & (target == END_ID)
    ends = torch.where(ended, places + 1, steps).amin(0)
    ends = torch.where(begins < lengths, ends, lengths)
    mine = inside(ends, steps) & drawn
    log_p = torch.from_numpy(rewards.log_probabilities(own.read.cpu().numpy())).to(left.device)
    worth = (log_p - entropy_weight * log_q).where(mine, 0.0)
    returns = worth.flip(0).cumsum(0).flip(0).where(mine, 0.0)
    others = (mine.sum(1, keepdim=True) - 1).clamp(min=1)
    advantages = returns - (returns.sum(1, keepdim=True) - returns) / others
    factors = advantages.where(mine, 1.0)
    rest = float((advantages * log_q - worth).where(mine, 0.0).sum())
    return Rated(left, target, ends, factors, rest)
