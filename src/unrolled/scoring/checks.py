"""What must be true of whatever is scored, looked at in every job; what is not, fails the stage under its name.

A network that diverged predicts nothing: where it has no finite probability there is nothing to check.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from unrolled.shell.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
CLOSE = 1e-4  # float32 log-probabilities of 100,000 types sum to one within a tenth of that


def every_unit_scored_once(nats: Mapping[str, Array], tokens: int) -> None:
    """As many figures as the split has tokens, of each head."""
    for head, of_tokens in nats.items():
        if len(of_tokens) != tokens:
            fail("every unit scored once", f"{head} has {len(of_tokens)} scores for {tokens} units")


def no_probability_above_one(nats: Mapping[str, Array]) -> None:
    """-log p >= 0 of each token, and so a perplexity of at least 1."""
    for head, of_tokens in nats.items():
        if (lowest := float(of_tokens.min())) < -CLOSE:
            fail("no probability above one", f"{head} gives a token {lowest:.3g} nats")


def probabilities_sum_to_one(head: str, probabilities: Array) -> None:
    """Over the vocabulary, wherever they are finite: [n, V]."""
    sums = probabilities.sum(axis=1, dtype=np.float64)
    off = np.abs(sums[np.isfinite(sums)] - 1)
    if len(off) and off.max() > CLOSE:
        fail("probabilities sum to one", f"those of {head} are off by {off.max():.3g}")


def fail(check: str, found: str) -> NoReturn:
    raise UserError(f"check failed: {check}: {found}; the figures cannot be trusted, and are not written")
