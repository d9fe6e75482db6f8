"""What the probes need of a language model: its stacks with the text that they read, and its score by context."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from unrolled.ground.bootstrap import paired_bootstrap
from unrolled.ground.corpus import Split
from unrolled.ground.evaluation import Resampling, sums_of
from unrolled.ground.perplexity import exp, perplexity
from unrolled.recurrence.stack import Stack
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.task import SCORE_OF_HEAD
from unrolled.tasks.language_model.probes.context import context_nats

Nats = NDArray[Any]  # -log p of each token, [N]
BLOCK = 10  # of the probed positions, which lie apart, drawn together where there are no documents to draw


def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, torch.Tensor]]:
    """Each stack with the split's first tokens, embedded, in the order of the text: [T, 1, E]."""
    ids = torch.from_numpy(split.tokens[:steps].astype(np.int64))[:, None]
    with torch.no_grad():
        text: torch.Tensor = network.embedding(ids)
    return {name: (stack, text) for name, stack in network.stacks.items()}


def context(
    network: Network, split: Split, units: Mapping[str, Nats], probe: Mapping[str, Any], resampling: Resampling
) -> pd.DataFrame:
    """Perplexity when the forward head is given only so many tokens, beside what it reaches with all of them.

    A row a context, and the last, context inf, with all of it; the ratios are to the last, on the same tokens.
    """
    test = split.tokens
    contexts = [context for context in sorted(set(probe["contexts"])) if context < len(test)]
    positions = np.unique(np.linspace(max(contexts, default=0), len(test) - 1, probe["positions"], dtype=np.int64))
    given = context_nats(network, test, positions, contexts)
    whole = units[SCORE_OF_HEAD["forward"]][positions]
    rows, documents = [], split.document_of_tokens()[positions]
    for tokens, own in [*((float(each), nats.numpy()) for each, nats in given.items()), (np.inf, whole)]:
        paired = paired_bootstrap(own, whole, documents, **(resampling._asdict() | {"block": BLOCK}))
        low, high = map(exp, paired.interval)
        rows.append([tokens, perplexity(*sums_of(own)), exp(paired.difference), low, high, len(own)])
    return pd.DataFrame(rows, columns=["context", "value", "ratio", "ratio_low", "ratio_high", "terms"])
