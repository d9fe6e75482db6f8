"""What must be true of a language model before it is scored, looked at in every job."""

import numpy as np
import torch

from unrolled.ground.corpus import Tokens
from unrolled.scoring.checks import fail
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import predictions

SAMPLE = 64  # tokens that are read to see whether a head sees its target


def no_head_sees_its_target(network: Network, tokens: Tokens) -> None:
    """Another token in its place changes nothing of what is predicted there, not by a bit."""
    ids = np.array(tokens[:SAMPLE])
    (before,) = predictions(network, ids, window=SAMPLE)
    for place in {len(ids) // 4, len(ids) // 2, 3 * len(ids) // 4}:
        other = ids.copy()
        other[place] = (ids[place] + 1) % network.embedding.num_embeddings
        (after,) = predictions(network, other, window=SAMPLE)
        for head, of_before in before.log_probabilities.items():
            of_after = after.log_probabilities[head]
            if not torch.equal(of_before[place].nan_to_num(), of_after[place].nan_to_num()):
                fail("no head sees its target", f"the {head} head of this network reads what it predicts")
