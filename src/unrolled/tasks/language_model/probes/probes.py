"""What the probes need of a language model: its stacks with the text that they read, and its score by context."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from unrolled.ground.corpus import Split
from unrolled.probing.context import Given
from unrolled.probing.targets import most_dependent
from unrolled.recurrence.stack import Stack
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD
from unrolled.tasks.language_model.probes.arrival import arrivals
from unrolled.tasks.language_model.probes.context import context_nats
from unrolled.tasks.language_model.probes.targets import lags_of_targets

Nats = NDArray[Any]  # -log p of each token, [N]


def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, torch.Tensor]]:
    """Each stack with the split's first tokens, embedded, in the order of the text: [T, 1, E]."""
    ids = torch.from_numpy(split.tokens[:steps].astype(np.int64))[:, None]
    with torch.no_grad():
        text: torch.Tensor = network.embedding(ids)
    return {name: (stack, text) for name, stack in network.stacks.items()}


def context(network: Network, split: Split, units: Mapping[str, Nats], probe: Mapping[str, Any]) -> Given | None:
    """Nats of the forward head when it is given only so many tokens, beside those with all of them.

    None where the split is too short for each of the contexts.
    """
    contexts = [context for context in sorted(set(probe["contexts"])) if context < len(split.tokens)]
    if not contexts:
        return None
    first, last = max(contexts), len(split.tokens) - 1
    positions = np.unique(np.linspace(first, last, probe["positions"], dtype=np.int64))
    given = context_nats(network, split.tokens, positions, contexts)
    whole = units[SCORE_OF_HEAD["forward"]][positions]
    by_context = {float(each): nats.numpy() for each, nats in given.items()} | {math.inf: whole}
    return Given(by_context, split.document_of_tokens()[positions], positions)


def targets(network: Network, split: Split, given: Given | None, probe: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """How far back the gradient reaches from the tokens whose nats fall most with context, and of made-up text whether
    it arrives; nothing where no context was given.
    """
    if given is None:
        return {}
    short, whole = (np.asarray(given.units[each], dtype=np.float64) for each in (min(given.units), math.inf))
    lags = lags_of_targets(network, split.tokens, most_dependent(given.positions, short, whole))
    return {"targets": lags, "arrival": arrivals(network, split)}
