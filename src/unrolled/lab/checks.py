"""What must be true of whatever is scored, looked at in every job; what is not, fails the stage under its name.

A network that diverged predicts nothing: where it has no finite probability there is nothing to check.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import torch

from unrolled.corpus.streams import Tokens
from unrolled.errors import UserError
from unrolled.nets.network import Network
from unrolled.tasks.language_model import predictions

Array = np.ndarray[Any, np.dtype[Any]]
SAMPLE = 64  # tokens that are read to see whether a head sees its target
CLOSE = 1e-4  # float32 log-probabilities of 100,000 types sum to one within a tenth of that


def every_token_scored_once(nats: Mapping[str, Array], tokens: int) -> None:
    """As many figures as the split has tokens, of each head."""
    for head, of_tokens in nats.items():
        if len(of_tokens) != tokens:
            _fail("every token scored once", f"{head} has {len(of_tokens)} scores for {tokens} tokens")


def no_probability_above_one(nats: Mapping[str, Array]) -> None:
    """-log p >= 0 of each token, and so a perplexity of at least 1."""
    for head, of_tokens in nats.items():
        if (lowest := float(of_tokens.min())) < -CLOSE:
            _fail("no probability above one", f"{head} gives a token {lowest:.3g} nats")


def probabilities_sum_to_one(head: str, probabilities: Array) -> None:
    """Over the vocabulary, wherever they are finite: [n, V]."""
    sums = probabilities.sum(axis=1, dtype=np.float64)
    off = np.abs(sums[np.isfinite(sums)] - 1)
    if len(off) and off.max() > CLOSE:
        _fail("probabilities sum to one", f"those of {head} are off by {off.max():.3g}")


def no_head_sees_its_target(network: Network, tokens: Tokens, eos: int) -> None:
    """Another token in its place changes nothing of what is predicted there, not by a bit."""
    ids = np.array(tokens[:SAMPLE])
    (before,) = predictions(network, ids, window=SAMPLE, eos=eos)
    for place in {len(ids) // 4, len(ids) // 2, 3 * len(ids) // 4}:
        other = ids.copy()
        other[place] = (ids[place] + 1) % network.embedding.num_embeddings
        (after,) = predictions(network, other, window=SAMPLE, eos=eos)
        for head, of_before in before.log_probabilities.items():
            of_after = after.log_probabilities[head]
            if not torch.equal(of_before[place].nan_to_num(), of_after[place].nan_to_num()):
                _fail("no head sees its target", f"the {head} head of this network reads what it predicts")


def _fail(check: str, found: str) -> NoReturn:
    raise UserError(f"check failed: {check}: {found}; the figures cannot be trusted, and are not written")
