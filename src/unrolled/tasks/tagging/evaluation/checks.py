"""What must be true of a tagger before it is scored, looked at in every job."""

import numpy as np
import torch

from unrolled.ground.corpus import Split
from unrolled.scoring.checks import fail
from unrolled.tasks.tagging.model.batches import Sentences
from unrolled.tasks.tagging.model.network import Network


def reads_the_right_side_if_bidirectional(network: Network, split: Split) -> None:
    """Another last word changes what is said of those before it in a bidirectional network, and in others not by a bit.

    The tag to predict is no input, so to read all of the sentence is legal here; this sees that both kinds do as they
    say.
    """
    sentences = Sentences.of(split)
    batch = sentences.batch(np.array([int(sentences.lengths.argmax())]))
    if len(batch.words) < 2:
        return
    words, forms = batch.words.clone(), batch.forms.clone()
    words[-1], forms[-1] = (words[-1] + 1) % network.embedding.num_embeddings, (forms[-1] + 1) % batch.letters.shape[1]
    with torch.no_grad():
        before, after = (network(each)[:-1].nan_to_num() for each in (batch, batch._replace(words=words, forms=forms)))
    same = torch.equal(before, after)
    if same == network.bidirectional and bool(before.any()):
        kind = "a bidirectional network reads no word to the right" if same else "a one-sided network reads ahead"
        fail("what stands to the right counts in a bidirectional network alone", kind)
