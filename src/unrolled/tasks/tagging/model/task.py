"""Giving each word of a sentence its tag: the network, its batches and its loss."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.score import Sums
from unrolled.ground.sequences import by_length
from unrolled.ground.task import WholeSequences
from unrolled.recurrence.columns import Columns
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.softmax_loss import softmax_nats
from unrolled.tasks.tagging.model.batches import UNSCORED, Batch, Sentences, batches
from unrolled.tasks.tagging.model.network import Network

SCORED_TOGETHER = 128  # sentences; the figures do not depend on it


class Predictions(NamedTuple):
    """The N words of a split, tagged, in the order of the text."""

    tags: "np.ndarray[Any, np.dtype[np.int64]]"
    confidence: "np.ndarray[Any, np.dtype[np.float32]]"  # the probability of the predicted tag
    nats: "np.ndarray[Any, np.dtype[np.float32]]"  # -log p of the right one


class Tagged(NamedTuple):
    """The words of a batch, tagged, the padding left out: its N words column by column."""

    tags: Tensor  # int64 [N], the predicted ones
    log_probabilities: Tensor  # [N, K], of each tag by itself

    @property
    def confidence(self) -> Tensor:
        """Of the predicted tag, [N]."""
        return self.log_probabilities.gather(1, self.tags[:, None])[:, 0].exp()

    def nats(self, gold: Tensor) -> Tensor:
        """-log p of the right tags [N]; of one that training lacks, as of the least likely one."""
        known = gold < self.log_probabilities.shape[1]
        own = self.log_probabilities.gather(1, torch.where(known, gold, 0)[:, None])[:, 0]
        return -torch.where(known, own, self.log_probabilities.amin(1)).nan_to_num(nan=-torch.inf)


class Task(WholeSequences):
    """Sequence tagging, a sentence a column; see `ground/task.py`."""

    side_by_side = "sentences"

    def __init__(self, train: Mapping[str, Any]) -> None:
        self.sentences, self.seed = int(train["sentences"]), int(train["seed"])

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        """Tags: those that training shows."""
        tags = int(np.count_nonzero(corpus.arrays["tag_counts"]))
        named = {name: len(corpus.names[name]) for name in ("letters", "given")}
        return {"words": len(corpus.counts), "tags": tags, **named}

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Network:
        words, letters, tags, given = (sizes[name] for name in ("words", "letters", "tags", "given"))
        return Network(words, letters, tags, given, **settings, generator=generator).to(device)

    def steps(self, split: Split, epoch: int = 1) -> int:
        return -(-len(split.arrays["sentences"]) // self.sentences)

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """Sentences of about the same length together, in an order that is the epoch's own."""
        for batch in batches(split, self.sentences, np.random.default_rng([self.seed, epoch]), first):
            yield batch.to(device)

    def share(self, batch: Batch, process: int, of: int) -> tuple[Batch, Columns]:
        """The letters are those of the whole batch."""
        columns = Columns(process, of, len(batch.lengths))
        by_place = {name: columns.of(getattr(batch, name), 1) for name in ("words", "counts", "tags", "forms", "given")}
        return batch._replace(**by_place, lengths=columns.of(batch.lengths, 0)), columns

    def loss(
        self,
        model: Network,
        batch: Batch,
        entry: tuple[()],
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, tuple[()]]:
        """Summed nats of all words; of a chain, those of whole sentences."""
        hidden = model.hidden(batch, generator, {} if profile is None else dict.fromkeys(model.stacks, profile))
        return _nats(model, hidden, batch), self.tokens(batch), ()

    def validate(self, model: Network, split: Split) -> dict[str, Sums]:
        """First the errors, which the learning rate is annealed on and the best epoch chosen by."""
        right, nats, words = 0, 0.0, 0
        device = next(model.parameters()).device
        for batch in batches(split, SCORED_TOGETHER):
            gold, tagged = gold_of(batch), tag(model, batch.to(device))
            right += int((tagged.tags.cpu() == gold).sum())
            nats += float(tagged.nats(gold.to(device)).double().sum())
            words += len(gold)
        return {
            "errors": Sums(words - right, words),
            "accuracy": Sums(100 * right, words),
            "cross_entropy": Sums(nats, words),
        }

    def single_loss(self, model: Network, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """Of each stack, the loss at the last word that it reads of the longest sentences, all cut to one length.

        So the forward stack's is at the last word, the backward stack's at the first.
        """
        chosen = longest(split, self.sentences, steps, stretch)
        total = model.output.weight.new_zeros(())
        for name, place in (("forward", -1), ("backward", 0)):
            if name in model.stacks:
                scores = model.output(model.hidden(chosen, profiles={name: profile})[place])
                total = total + cross_entropy(scores, chosen.tags[place], reduction="sum")
        return total


@torch.no_grad()
def tag(model: Network, batch: Batch) -> Tagged:
    """The most likely tag of each word, or with a chain the most likely path, and how likely every tag is."""
    scores, inside = model(batch), batch.inside.t()
    if model.chain is None:
        log_probabilities = scores.transpose(0, 1)[inside].log_softmax(-1)
        return Tagged(log_probabilities.argmax(-1), log_probabilities)
    marginals = model.chain.log_marginals(scores, batch.lengths)
    return Tagged(model.chain.best(scores, batch.lengths).t()[inside], marginals.transpose(0, 1)[inside])


def predictions(model: Network, split: Split, sentences: Sentences | None = None) -> Predictions:
    """Tag a whole split, cut into its own sentences or into other ones."""
    sentences, device = sentences or Sentences.of(split), next(model.parameters()).device
    words = len(split.tokens)
    tags, confidence, nats = np.zeros(words, np.int64), np.zeros(words, np.float32), np.zeros(words, np.float32)
    for numbers in by_length(sentences.lengths, SCORED_TOGETHER):
        batch = sentences.batch(numbers)
        gold, tagged = gold_of(batch), tag(model, batch.to(device))
        places = np.concatenate([np.arange(*sentences.borders[each : each + 2]) for each in numbers])
        tags[places], confidence[places] = tagged.tags.cpu(), tagged.confidence.cpu()
        nats[places] = tagged.nats(gold.to(device)).cpu()
    return Predictions(tags, confidence, nats)


def gold_of(batch: Batch) -> Tensor:
    """The right tags [N], column by column, as ``Tagged`` has them."""
    return batch.tags.t()[batch.inside.t()]


def longest(split: Split, sentences: int, steps: int, stretch: int = 0) -> Batch:
    """The longest sentences of a split, each cut to the length of the shortest among them, ``steps`` words at most.

    ``stretch``: of the next longest, and so on; IndexError where a batch of them is not left.
    """
    every = Sentences.of(split)
    chosen = np.argsort(-every.lengths, kind="stable")[stretch * sentences :][:sentences]
    if stretch and len(chosen) < sentences:
        raise IndexError(f"the split has no {stretch + 1} batches of {sentences} sentences")
    batch = every.batch(chosen)
    length = min(int(batch.lengths.min()), steps)
    return batch._replace(
        words=batch.words[:length], counts=batch.counts[:length], tags=batch.tags[:length],
        lengths=torch.full_like(batch.lengths, length), forms=batch.forms[:length], given=batch.given[:length],
    )  # fmt: skip


def _nats(model: Network, hidden: Tensor, batch: Batch) -> Tensor:
    if model.chain is None:
        inside = batch.inside
        return softmax_nats(hidden[inside], model.output.weight, model.output.bias, batch.tags[inside])
    tags = batch.tags.masked_fill(batch.tags == UNSCORED, 0)
    return model.chain.nats(model.output(hidden), tags, batch.lengths).sum()
