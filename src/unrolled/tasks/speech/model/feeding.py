"""What the language model reads while it is taught: the true words (teacher forcing), or words of its own.

Which words are its own is settled as for a language model by itself; see `language_model/model/feeding.py`. But here
the audio goes on to tell the truth, so that it can be learned to find back to it after a wrong word. And as where
attention looks hangs on the words so far, a text is written word by word anyway: each is drawn on the way, without
gradient, in the one pass that the loss is of.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.recurrence.profile import Profile
from unrolled.tasks.language_model.model.feeding import Feeding, drawn
from unrolled.tasks.speech.model.batches import Batch
from unrolled.tasks.speech.model.network import Network, Writing


class OwnWords(NamedTuple):
    """Where a word of its own is read, bool [L, B], and by which chance it is drawn, uniform in [0, 1), [L, B]."""

    places: Tensor
    chances: Tensor


def own_words(feeding: Feeding, batch: Batch, generator: torch.Generator) -> OwnWords | None:
    """Of a batch of training; None, and nothing drawn, where it is taught by true words."""
    if feeding.feeding == "teacher" or batch.epoch < 1:
        return None
    places = feeding.own_places(batch.lengths, len(batch.targets), batch.epoch)
    return _drawn_at(feeding.chosen(places, batch.updates, generator), generator, batch.targets.device)


def every_own_word(feeding: Feeding, batch: Batch, generator: torch.Generator) -> OwnWords | None:
    """All words behind the prompt; None where there are none."""
    places = feeding.own_places(batch.lengths, len(batch.targets), len(batch.targets))
    return _drawn_at(places, generator, batch.targets.device)


def _drawn_at(places: Tensor, generator: torch.Generator, device: torch.device) -> OwnWords | None:
    if not places.any():
        return None
    chances = torch.rand(places.shape, generator=generator, dtype=torch.float64)
    return OwnWords(places.to(device), chances.to(device))


def written(
    model: Network, true: Tensor, own: OwnWords, writing: Writing, generator: torch.Generator | None = None,
    profile: Profile | None = None,
) -> Tensor:  # fmt: skip
    """As `Network.write` of the words ``true`` [L, B], but for those of its ``own``: hidden [L, B, H].

    They are drawn at temperature 1 from what it predicted for their place.
    """
    every, words = [], true[0]
    for place, truth in enumerate(true):
        hidden, writing = model.write(words.where(own.places[place], truth)[None], writing, generator, profile)
        every.append(hidden)
        if place + 1 < len(true):
            with torch.no_grad():
                words, _ = drawn(model.logits(hidden[0]), own.chances[place + 1])
    return torch.cat(every)
