"""What a step of training reads and is scored against, once it is settled which words are the network's own."""

from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.dropout import MaskSource, WindowMasks
from unrolled.tasks.language_model.model.batches import Batch
from unrolled.tasks.language_model.model.feeding import Feeding, with_own_words
from unrolled.tasks.language_model.model.network import Network, States
from unrolled.tasks.language_model.model.ngrams import NGrams
from unrolled.tasks.language_model.model.reinforce import rated


class Reading(NamedTuple):
    """A batch as it is read, the masks that it is read with, and, where not all count alike, what each target does."""

    batch: Batch
    masks: MaskSource | None
    factors: Tensor | None = None  # [T, B], of the targets' nats
    rest: float = 0.0  # to be added to their sum; see `reinforce`


def with_words_of_its_own(
    feeding: Feeding, network: Network, batch: Batch, entry: States, generator: torch.Generator
) -> Reading:
    """The same true words to be predicted, but some that are read are drawn; nothing is where none may be."""
    window, lengths = batch.window, batch.lengths
    if lengths is None or batch.epoch < 1:
        return Reading(batch, generator)
    own = feeding.own_places(lengths, len(window.left), batch.epoch)
    own = feeding.chosen(own, batch.updates, generator)
    if not own.any():
        return Reading(batch, generator)
    masks = WindowMasks(len(window.left), generator)
    read = with_own_words(network, window.left, own, entry, generator, masks).read
    return Reading(batch._replace(window=window._replace(left=read)), masks.of(slice(None)))


def with_sentences_of_its_own(
    feeding: Feeding, rewards: NGrams, network: Network, batch: Batch, entry: States, generator: torch.Generator,
    *, dropped: bool = True,
) -> Reading:  # fmt: skip
    """Sentences whose beginnings are true and whose ends the network has drawn, and how they are rated.

    ``dropped``: under dropout, where the network has some.
    """
    window, lengths = batch.window, batch.lengths
    if lengths is None or batch.epoch < 1:
        return Reading(batch, generator if dropped else None)
    begins = feeding.begins(lengths, batch.epoch)
    left = torch.cat([window.left, torch.full_like(window.left[:1], END_ID)])
    own = (torch.arange(len(left), device=begins.device)[:, None] > begins) & (begins < lengths)
    if not own.any():
        return Reading(batch, generator if dropped else None)
    masks = WindowMasks(len(window.left), generator) if dropped else None
    words = with_own_words(network, left, own, entry, generator, masks)
    found = rated(words, window.target, begins, lengths, rewards, feeding.entropy_weight)
    said = batch._replace(window=window._replace(left=found.left, target=found.target), lengths=found.lengths)
    return Reading(said, masks and masks.of(slice(None)), found.factors, found.rest)
