"""Predicting each token of a stream from what stands beside it: the network, its batches and its loss."""

from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from unrolled.ground.corpus import Corpus, Split, Tokens
from unrolled.ground.score import Sums
from unrolled.recurrence.bptt import Profile
from unrolled.recurrence.softmax_loss import softmax_nats
from unrolled.tasks.language_model.model.network import Network, States
from unrolled.tasks.language_model.model.windows import Window, column_length, windows

# What each head is scored as. A joined head sees both sides of its target: its score is no perplexity of a language
# model, for the product of its probabilities over a text does not sum to one over all texts.
SCORE_OF_HEAD = {"forward": "forward_perplexity", "backward": "backward_perplexity", "joined": "pseudo_perplexity"}
VALID_WINDOW = 512  # tokens scored at a time; the figure does not depend on it


class Batch(NamedTuple):
    """A window of every column, and the window ahead of it, whose text the backward stack has read before; or None."""

    window: Window
    ahead: Window | None


class Prediction(NamedTuple):
    """One window of a split, scored: targets int64 [T], log-probabilities of each head [T, V]."""

    targets: Tensor
    log_probabilities: dict[str, Tensor]

    def nats(self, head: str) -> Tensor:
        """-log p of each target, [T]; not-a-number counts as infinite, for it predicts nothing."""
        own = self.log_probabilities[head].gather(1, self.targets[:, None])[:, 0]
        return (-own).nan_to_num(nan=torch.inf, posinf=torch.inf)


class Task:
    """Language modelling by truncated back-propagation through time; see `tasks/contract.py`."""

    def __init__(self, train: Mapping[str, Any]) -> None:
        self.columns, self.window = int(train["columns"]), int(train["window"])
        # What adam and weight decay sum up wants the gradient of every row of the embedding, read or not.
        self._sums_all_rows = train["optimiser"] != "sgd" or train["weight_decay"] != 0

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        return {"vocabulary": len(corpus.counts)}

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Network:
        network = Network(sizes["vocabulary"], **settings, generator=generator).to(device)
        # A gradient for the rows that were read, and no others. A GPU fills them all in less time than it takes to find
        # out which were read.
        network.embedding.sparse = network.device.type == "cpu" and (network.output is None or not self._sums_all_rows)
        return network

    def steps(self, split: Split) -> int:
        return -(-column_length(split.tokens, self.columns) // self.window)

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """The text in its order, the same in every epoch."""
        read = windows(split.tokens, columns=self.columns, window=self.window, first=first, device=device)
        for window, ahead in pairwise(chain(read, [None])):
            assert window is not None
            yield Batch(window, ahead)

    def tokens(self, batch: Batch) -> int:
        return batch.window.target.numel()

    def start(self, model: Network) -> States:
        return model.initial_state(self.columns)

    def entry(self, model: Network, batch: Batch, carry: States) -> States:
        """The forward state goes on; the backward stack's is read from the text ahead."""
        return States(carry.forward, state_from_the_right(model, batch.ahead, batch.window.target.shape[1]))

    def loss(
        self,
        model: Network,
        batch: Batch,
        entry: States,
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, States]:
        """Summed nats over the window and all heads; the mean is over all its tokens, and over the heads.

        Teacher forcing: whatever the network would have predicted, it reads the true tokens.
        """
        window = batch.window
        heads, after = model.hidden(window.left, window.right, entry, generator=generator, profile=profile)
        hidden = torch.cat([each.flatten(0, 1) for each in heads.values()])
        targets = window.target.flatten().repeat(len(heads))
        nats = softmax_nats(hidden, model.output_weight, model.output_bias, targets)
        return nats, len(targets), after.detach()

    def validate(self, model: Network, split: Split) -> dict[str, Sums]:
        """First the loss of training, over all heads, then each head's nats."""
        totals = total_nats(model, split.tokens, window=VALID_WINDOW)
        everything = Sums(sum(each.sum for each in totals.values()), sum(each.terms for each in totals.values()))
        return {"loss": everything, **{SCORE_OF_HEAD[head]: sums for head, sums in totals.items()}}

    def single_loss(self, model: Network, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """Of each stack, the loss at the last step that it reads, summed over the columns.

        Each stack first reads a window for its context, a forward stack the one to the left, a backward stack the one
        to the right, so that it is not measured from a cold start. The stacks are apart, so neither loss reaches the
        other's profile.
        """
        length = column_length(split.tokens, self.columns)
        window = min(steps, length // 2)
        if length < 2 * (stretch + 1) * window:
            raise IndexError(f"the split has no stretch {stretch} of two windows of {window} steps")
        read = windows(split.tokens, columns=self.columns, window=window, first=2 * stretch, device=model.device)
        first, second = next(read), next(read)
        total = second.left.new_zeros((), dtype=model.output_bias.dtype)
        for head, context, measured, last in (("forward", first, second, -1), ("backward", second, first, 0)):
            if head in model.stacks:
                left = head == "forward"
                before, inputs = (context.left, measured.left) if left else (context.right, measured.right)
                with torch.no_grad():
                    _, state = model.read(head, before, model.stacks[head].initial_state(self.columns))
                hidden, _ = model.read(head, inputs, state, profile=profile)
                total = total + cross_entropy(model.logits(hidden[last]), measured.target[last], reduction="sum")
        return total


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
def predictions(network: Network, tokens: Tokens, *, window: int, heads: str = "all") -> Iterator[Prediction]:
    """Every token of the split exactly once, in order, each head with all the context on its side.

    The split is one column, so no score depends on how many would have fitted side by side; and the state goes on from
    window to window, so none depends on the window's length. ``heads``: "all", or "forward", that one alone, for which
    no backward stack needs to run.
    """
    every = _all_heads if network.bidirectional and heads == "all" else _forward_head
    for targets, outputs in every(network, tokens, window):
        log_probabilities = {name: log_softmax(network.logits(each), dim=-1) for name, each in outputs.items()}
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
