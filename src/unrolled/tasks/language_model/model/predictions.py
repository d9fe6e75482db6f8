"""A whole split predicted by every head: each token once, with all the context on its side."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from unrolled.ground.corpus import Tokens
from unrolled.ground.score import Sums
from unrolled.tasks.language_model.model.network import Network, States
from unrolled.tasks.language_model.model.windows import windows

# What each head is scored as. A joined head sees both sides of its target: its score is no perplexity of a language
# model, for the product of its probabilities over a text does not sum to one over all texts.
SCORE_OF_HEAD = {"forward": "forward_perplexity", "backward": "backward_perplexity", "joined": "pseudo_perplexity"}


class Prediction(NamedTuple):
    """One window of a split, scored: targets int64 [T], log-probabilities of each head [T, V]."""

    targets: Tensor
    log_probabilities: dict[str, Tensor]

    def nats(self, head: str) -> Tensor:
        """-log p of each target, [T]; not-a-number counts as infinite, for it predicts nothing."""
        own = self.log_probabilities[head].gather(1, self.targets[:, None])[:, 0]
        return (-own).nan_to_num(nan=torch.inf, posinf=torch.inf)


@torch.inference_mode()
def predictions(
    network: Network, tokens: Tokens, *, window: int, heads: str = "all", temperature: float = 1.0
) -> Iterator[Prediction]:
    """Every token of the split exactly once, in order, each head with all the context on its side.

    The split is one column, so no score depends on how many would have fitted side by side; and the state goes on from
    window to window, so none depends on the window's length. ``heads``: "all", or "forward", that one alone, for which
    no backward stack needs to run. ``temperature``: by which the logits are divided, so p is in proportion to its power
    1 / temperature; of an adaptive softmax too, whose logits are ln p.
    """
    every = _all_heads if network.bidirectional and heads == "all" else _forward_head
    for targets, outputs in every(network, tokens, window):
        logits = {name: network.logits(each) for name, each in outputs.items()}
        if temperature != 1:
            logits = {name: each / temperature for name, each in logits.items()}
        log_probabilities = {name: log_softmax(each, dim=-1) for name, each in logits.items()}
        yield Prediction(targets, log_probabilities)


def _forward_head(network: Network, tokens: Tokens, window: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Window by window the targets [T] and what the head reads, [T, H]."""
    state = network.initial_state(1).forward
    for each in windows(tokens, columns=1, window=window, device=network.device):
        hidden, state = network.read("forward", each.left, state)
        yield each.target[:, 0], {"forward": hidden[:, 0]}


def _all_heads(network: Network, tokens: Tokens, window: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The backward stack reads the whole split from its end first: only its state at each window's right edge is kept,
    and the window read again when its turn comes."""
    edges, state = [], network.initial_state(1)
    backward = state.backward
    for each in windows(tokens, columns=1, window=window, reverse=True, device=network.device):
        edges.append(backward)
        backward = network.read("backward", each.right, backward)[1]
    for each in windows(tokens, columns=1, window=window, device=network.device):
        hidden, state = network.hidden(each.left, each.right, States(state.forward, edges.pop()))
        yield each.target[:, 0], {name: of_head[:, 0] for name, of_head in hidden.items()}


def total_nats(network: Network, tokens: Tokens, *, window: int) -> dict[str, Sums]:
    """Summed nats and tokens of each head over the split."""
    totals: dict[str, float] = {}
    for prediction in predictions(network, tokens, window=window):
        for head in prediction.log_probabilities:
            nats = prediction.nats(head).double().sum().item()
            totals[head] = totals.get(head, 0.0) + nats
    return {head: Sums(nats, len(tokens)) for head, nats in totals.items()}
