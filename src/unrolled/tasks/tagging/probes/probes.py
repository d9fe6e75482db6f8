"""What the probes need of a tagger: its stacks with the text that they read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.recurrence.stack import Stack
from unrolled.tasks.tagging.model.batches import Sentences
from unrolled.tasks.tagging.model.network import Network


def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, Tensor]]:
    """Each stack of words with what it reads of the split's first ``steps`` words, as if they were one sentence."""
    words = min(steps, len(split.tokens))
    sentences = Sentences.of(split)._replace(borders=np.array([0, words]))
    with torch.no_grad():
        text = network.embedded(sentences.batch(np.array([0])))
    return {name: (stack, text) for name, stack in network.stacks.items()}


def targets(network: Network, split: Split, given: None, probe: Mapping[str, Any]) -> None:
    """No such probe: without the one of context nobody knows which tags need it most."""


def context(network: Network, split: Split, units: Any, probe: Mapping[str, Any]) -> None:
    """No such probe: how much a tagger makes of its context shows in its accuracy by what stands to the right."""
