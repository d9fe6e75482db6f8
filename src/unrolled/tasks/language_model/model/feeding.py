"""What the network reads in training: the true words (teacher forcing), or from a place on words of its own.

    true words       a b c d .        each place is predicted from what was read before it, and scored against the
    read             . a b x y        true word; x and y the network has drawn from what it predicted for c and d
                     prompt 2

It is taught as it will be used, when it finishes a sentence of which it is given the beginning. But nothing follows a
draw back to the prediction that it was drawn from: the gradient is that of a loss whose inputs are what they are. And
a word of its own says nothing of the true words that follow, so a network that always reads its own does best to heed
none of them but the prompt's (Huszar 2015).

The words are drawn first, step by step and without gradient. Then the window is read once more, whole, with the same
dropout masks: so time, the norms by time step and clipping are what they are with true words.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from unrolled.recurrence.dropout import WindowMasks
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.network import Network, States


@dataclass(frozen=True)
class Feeding:
    """Which words are the network's own, as settings say it.

    feeding         teacher: none. own: all that may be. scheduled: each of these by chance, so that a share e of them
                    is true, which falls with the number of updates (Bengio et al. 2015). reinforce: as own, but it
                    ends the sentences itself, and what it says is rated; see `reinforce`
    prompt          so many words of each sentence are true; of a shorter one, all are
    schedule        how e falls, see `true_share`
    schedule_steps  after so many updates e is 1/2
    horizon         None: all words behind the prompt may be its own; n: in the first epoch none but the last n of each
                    sentence, in each later one n more (Ranzato et al. 2016)
    teacher_epochs  so many epochs come before, with true words; updates and the horizon's epochs count from there
    entropy_weight  what its own uncertainty is worth in reinforce
    reward_order    of the n-gram model that rates its sentences there
    """

    feeding: str = "teacher"
    prompt: int = 1
    schedule: str = "linear"
    schedule_steps: int = 1
    horizon: int | None = None
    teacher_epochs: int = 0
    entropy_weight: float = 1.0
    reward_order: int = 3

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> Self:
        """Its part of the section ``train``; a run from before there were such keys was taught by true words."""
        return cls(**{each.name: train[each.name] for each in fields(cls) if each.name in train})

    def check(self, longest: int) -> None:
        """UserError where the longest sentence, of so many tokens, leaves no word to be drawn behind the prompt."""
        if longest < 3:
            raise UserError("train.feeding: no sentence of the training text is long enough to finish; use teacher")
        if longest < self.prompt + 2:
            raise UserError(
                f"train.prompt: behind {self.prompt} true words no sentence of the training text goes on; the longest "
                f"has {longest} tokens; set it to {longest - 2} or less"
            )

    def true_share(self, updates: int) -> float:
        """e, after so many updates.

        linear max(0, 1 - updates / (2 schedule_steps)), exponential 2^(-updates / schedule_steps), inverse_sigmoid
        k / (k + exp(updates / k)) with k ln k = schedule_steps.
        """
        if self.feeding != "scheduled":
            return float(self.feeding == "teacher")
        past = updates / self.schedule_steps
        if self.schedule == "linear":
            return max(0.0, 1 - past / 2)
        if self.schedule == "exponential":
            return 0.5**past
        log_k = _log_of(self.schedule_steps)
        k = self.schedule_steps / log_k
        return 1 / (1 + math.exp(min(updates / k - log_k, 700.0)))

    def own_places(self, lengths: Tensor, steps: int, epoch: int) -> Tensor:
        """Where a word of its own may be read: bool [T, B]; ``epoch``: 1 for the first in which any may."""
        places, lengths = torch.arange(steps)[:, None], lengths.cpu()
        own = (places > self.prompt) & (places < lengths)
        return own if self.horizon is None else own & (places >= lengths - self.horizon * epoch)

    def begins(self, lengths: Tensor, epoch: int) -> Tensor:
        """The first place that it fills itself in sentences that it ends itself: int64 [B]; as `own_places` otherwise.

        Beyond its end in a sentence that is all true.
        """
        begins = torch.full_like(lengths, self.prompt)
        return begins if self.horizon is None else begins.maximum(lengths - self.horizon * epoch)

    def chosen(self, own: Tensor, updates: int, generator: torch.Generator) -> Tensor:
        """Of the places where a word of its own may be read, bool [T, B], those where one is."""
        share = self.true_share(updates)
        if 0 < share < 1:
            return own & (torch.rand(own.shape, generator=generator, dtype=torch.float64) >= share)
        return own & (share < 1)


def _log_of(product: float) -> float:
    """ln k of the k > 1 with k ln k = ``product`` > 0: Lambert's W, by Newton's method."""
    w = math.log1p(product)
    for _ in range(20):
        w -= (w - product * math.exp(-w)) / (w + 1)
    return w


class OwnWords(NamedTuple):
    """What the network reads, int64 [T, B], and the log-probability with which it drew each word of its own."""

    read: Tensor
    log_probabilities: Tensor  # float64 [T, B]; 0 of true words


@torch.no_grad()
def with_own_words(
    network: Network, left: Tensor, own: Tensor, state: States, generator: torch.Generator, masks: WindowMasks | None
) -> OwnWords:
    """Where ``own`` [T, B], the word that the network drew for the place before; elsewhere ``left`` [T, B].

    It draws at temperature 1 from what it predicts; ``generator``, of the CPU, decides. ``masks``: those of the
    window's dropout; None: nothing is dropped.
    """
    read, carried, own = left.clone(), state.forward, own.to(left.device)
    log_probabilities = torch.zeros(left.shape, dtype=torch.float64, device=left.device)
    chances = torch.rand(left.shape, generator=generator, dtype=torch.float64).to(left.device)
    rows = torch.nonzero(own.any(1))[:, 0].tolist()
    done = 0
    for row in range(rows[0], rows[-1] + 1) if rows else ():
        part = slice(done, row)
        hidden, carried = network.read("forward", read[part], carried, None if masks is None else masks.of(part))
        words, of_words = drawn(network.logits(hidden[-1]), chances[row])
        read[row] = torch.where(own[row], words, read[row])
        log_probabilities[row] = of_words.where(own[row], 0.0)
        done = row
    return OwnWords(read, log_probabilities)


def drawn(logits: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """A word of each row of logits [B, V], and its log-probability; int64 and float64 [B].

    The first word whose cumulative probability exceeds the row's chance, uniform in [0, 1).
    """
    probabilities = logits.double().softmax(-1)
    cumulative = probabilities.cumsum(-1)
    within = chances[:, None] * cumulative[:, -1:]  # that rounding leaves below 1
    words = torch.searchsorted(cumulative, within, right=True).clamp(max=logits.shape[1] - 1)
    return words[:, 0], probabilities.gather(1, words)[:, 0].log()
