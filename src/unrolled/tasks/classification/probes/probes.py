"""What the probes need of a text classifier: its stacks with what they read, and its accuracy by how much it reads."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from unrolled.ground.corpus import Split
from unrolled.probing.context import Given
from unrolled.recurrence.stack import Stack
from unrolled.tasks.classification.model.batches import texts_of
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.model.task import probabilities_of


def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, torch.Tensor]]:
    """Each stack with the words of the split's first texts, one after another: [T, 1, E]."""
    ids = torch.from_numpy(np.asarray(split.tokens[:steps], dtype=np.int64))[:, None]
    with torch.no_grad():
        text: torch.Tensor = network.embedding(ids)
    return {name: (stack, text) for name, stack in network.stacks.items()}


def context(network: Network, split: Split, units: Mapping[str, Any], probe: Mapping[str, Any]) -> Given:
    """Whether each text's label is found when only its last so many words are read, and with all of them."""
    texts, labels = texts_of(split.tokens, split.documents), np.asarray(split.arrays["labels"])
    longest, given = max(map(len, texts)), {}
    for words in (each for each in sorted(set(probe["contexts"])) if each < longest):
        found = probabilities_of(network, [text[-words:] for text in texts])
        given[float(words)] = ((found.argmax(1) == labels) & np.isfinite(found).all(1)).astype(np.float64)
    whole = np.asarray(units["accuracy"], dtype=np.float64)
    every = np.arange(len(whole))
    return Given(given | {math.inf: whole}, every, every)


def targets(network: Network, split: Split, given: Given, probe: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """No such probe: a text has one loss, and the lag profile is its own."""
    return {}
