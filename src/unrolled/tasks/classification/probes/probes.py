"""What the probes need of a text classifier: its stacks with what they read, and its accuracy by how much it reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from unrolled.ground.bootstrap import paired_bootstrap
from unrolled.ground.corpus import Split
from unrolled.ground.evaluation import Resampling
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


def context(
    network: Network, split: Split, units: Mapping[str, Any], probe: Mapping[str, Any], resampling: Resampling
) -> pd.DataFrame:
    """Accuracy when only the last so many words of each text are read, beside what it is with all of them.

    A row a number of words, and the last, context inf, with all; the ratio is that of the accuracy with all words to
    the one with so many.
    """
    texts, labels = texts_of(split.tokens, split.documents), np.asarray(split.arrays["labels"])
    whole = np.asarray(units["accuracy"], dtype=np.float64)
    longest = max(map(len, texts))
    rows = []
    for words in [*(each for each in sorted(set(probe["contexts"])) if each < longest), np.inf]:
        own = whole
        if np.isfinite(words):
            found = probabilities_of(network, [text[-int(words) :] for text in texts])
            own = ((found.argmax(1) == labels) & np.isfinite(found).all(1)).astype(np.float64)
        low, high = paired_bootstrap(own, whole, np.arange(len(own)), **resampling._asdict()).interval
        reached = float(own.mean())
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [
                float(np.divide(whole.mean(), whole.mean() + each)) for each in (reached - whole.mean(), high, low)
            ]
        rows.append([float(words), reached, *ratios, len(own)])
    return pd.DataFrame(rows, columns=["context", "value", "ratio", "ratio_low", "ratio_high", "terms"])
