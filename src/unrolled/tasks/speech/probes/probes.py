"""What the probes need of a network that listens: its stacks with what they read."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from unrolled.ground.corpus import Split
from unrolled.probing.context import Given
from unrolled.recurrence.stack import Stack
from unrolled.tasks.speech.model.batches import batch_of, utterances
from unrolled.tasks.speech.model.network import Network, before


@torch.no_grad()
def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, torch.Tensor]]:
    """Each stack along the split's first utterances, one after another: [T, 1, E], ``steps`` at most.

    The encoder's with what it reads of the audio; the language model with the words, told nothing of the audio.
    """
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in network.stacks}
    for each in utterances(split):
        if all(sum(map(len, part)) >= steps for part in parts.values()):
            break
        batch = batch_of([each], network.device)
        if network.encoder is not None:
            for floor in network.encoder.climb(batch.features, batch.frames):
                for name in floor.outputs:
                    parts[name].append(floor.read)
        parts["forward"].append(network.language_model.embedding(before(batch.targets)))
    return {name: (stack, torch.cat(parts[name])[:steps]) for name, stack in network.stacks.items()}


def context(network: Network, split: Split, units: Mapping[str, Any], probe: Mapping[str, Any]) -> Given | None:
    """No such probe: the error by a word's place says what a network that has one vector remembers."""
    return None


def targets(network: Network, split: Split, given: Given | None, probe: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """No such probe: the last word has one loss, and the lag profile is its own."""
    return {}
