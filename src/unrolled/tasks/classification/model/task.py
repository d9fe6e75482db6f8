"""A label for a text: the network, its batches and its loss."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.score import Sums
from unrolled.ground.task import WholeSequences
from unrolled.recurrence.columns import Columns
from unrolled.recurrence.profile import Profile
from unrolled.tasks.classification.model.batches import Batch, batch_of, by_length, epoch_order, texts_of
from unrolled.tasks.classification.model.network import Network


class Task(WholeSequences):
    """Text classification, each text read whole and for itself; see `ground/task.py`."""

    side_by_side = "texts"

    def __init__(self, train: Mapping[str, Any]) -> None:
        self.texts, self.seed = int(train["texts"]), int(train["seed"])

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        return {"vocabulary": len(corpus.counts), "labels": len(corpus.names["labels"])}

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Network:
        return Network(sizes["vocabulary"], sizes["labels"], **settings, generator=generator).to(device)

    def steps(self, split: Split, epoch: int = 1) -> int:
        return -(-len(split.documents) // self.texts)

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """Each text once, beside others of about its length, in an order that is the epoch's and the seed's own."""
        texts, labels = texts_of(split.tokens, split.documents), split.arrays["labels"].tolist()
        order = epoch_order(list(map(len, texts)), self.texts, seed=self.seed, epoch=epoch)
        for chosen in order[first:]:
            yield batch_of([texts[index] for index in chosen], [labels[index] for index in chosen], device)

    def share(self, batch: Batch, process: int, of: int) -> tuple[Batch, Columns]:
        columns = Columns(process, of, len(batch.labels))
        return Batch(columns.of(batch.ids, 1), columns.of(batch.lengths, 0), columns.of(batch.labels, 0)), columns

    def loss(
        self,
        model: Network,
        batch: Batch,
        entry: tuple[()],
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, tuple[()]]:
        """Summed nats of the right labels; the mean is over texts, however long they are."""
        logits = model(batch.ids, batch.lengths, generator, profile)
        return cross_entropy(logits, batch.labels, reduction="sum"), len(batch.labels), ()

    def validate(self, model: Network, split: Split) -> dict[str, Sums]:
        """First the share of wrong texts, then the scores.

        Not the loss: once a network is sure of itself, that rises with a few texts, while more and more are right.
        """
        probabilities = label_probabilities(model, split)
        labels = split.arrays["labels"]
        own = np.nan_to_num(probabilities[np.arange(len(labels)), labels])
        with np.errstate(divide="ignore"):
            nats = float(-np.log(own).sum())
        right = int((probabilities.argmax(1) == labels)[np.isfinite(probabilities).all(1)].sum())
        texts = len(labels)
        return {"error": Sums(texts - right, texts), "accuracy": Sums(right, texts), "cross_entropy": Sums(nats, texts)}

    def single_loss(self, model: Network, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """Of each of a batch of texts the one loss that it has: the texts' last words, as many of each.

        So many that a batch of texts has them, and ``steps`` at most.
        """
        batch = alike(split, self.texts, steps, model.device, stretch)
        return cross_entropy(model(batch.ids, batch.lengths, profile=profile), batch.labels, reduction="sum")


def alike(split: Split, texts: int, steps: int, device: torch.device | None = None, stretch: int = 0) -> Batch:
    """The longest ``texts`` texts, cut to their last words, as many of each: ``steps`` at most.

    ``stretch``: of the next longest, and so on; IndexError where a batch of them is not left.
    """
    every, labels = texts_of(split.tokens, split.documents), split.arrays["labels"].tolist()
    by_length = sorted(range(len(every)), key=lambda index: -len(every[index]))
    chosen = by_length[stretch * texts :][:texts]
    if stretch and len(chosen) < texts:
        raise IndexError(f"the split has no {stretch + 1} batches of {texts} texts")
    steps = min(steps, len(every[chosen[-1]]))
    return batch_of([every[index][-steps:] for index in chosen], [labels[index] for index in chosen], device)


@torch.inference_mode()
def label_probabilities(model: Network, split: Split) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of each text, in the split's order, the probability of every label: float64 [D, L]; nan where it diverged."""
    return probabilities_of(model, texts_of(split.tokens, split.documents))


@torch.inference_mode()
def probabilities_of(model: Network, texts: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The same of ids [T] of each text; texts of about one length are read together, and no figure depends on it."""
    found = np.empty((len(texts), model.head.out_features))
    for chosen in by_length(list(map(len, texts))):
        batch = batch_of([texts[index] for index in chosen], [0] * len(chosen), model.device)
        found[chosen] = model(batch.ids, batch.lengths).double().softmax(-1).cpu().numpy()
    return found
