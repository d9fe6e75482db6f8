"""What is left of a text once words that say nothing stand behind it, and what gradient still reaches its words.

    none      one of the best films this year .
                                              loss
    three     one of the best films this year . to its of
                                                       loss

The neutral words are drawn from the frequent words of training whose texts are divided among the labels most nearly as
all texts are. So they say nothing of the label, and what a read-out loses with them is what it forgets.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.recurrence.profile import Profile
from unrolled.tasks.classification.evaluation.measures import predicted
from unrolled.tasks.classification.model.batches import Batch, batch_of, texts_of
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.model.task import alike, probabilities_of

COLUMNS = ("neutral_words", "accuracy", "words", "first", "last", "largest")
FREQUENT, NEUTRAL = 100, 20  # the most frequent words, and how many of them, the most neutral, are drawn from
TEXTS = 64  # that the gradient's norm is taken over

Ints = NDArray[np.int64]


def with_neutral_words(network: Network, corpus: Corpus, counts: Sequence[int], seed: int) -> pd.DataFrame:
    """Accuracy on the test split with so many neutral words behind each text, a row a count of them.

    Beside it, of texts cut to the same number of ``words``, the median length: the norm of dL/dh of one loss at the
    first word, at the last word of the text itself, and the largest of all steps; in the lowest layer of all stacks, so
    that a word counts as reached where one of two reads it last. A text's neutral words are the same ones for every
    count, as far as that goes.
    """
    test = corpus.test
    texts, labels = texts_of(test.tokens, test.documents), np.asarray(test.arrays["labels"])
    drawn = np.random.default_rng(seed).choice(neutral_words(corpus.train), (len(texts), max(counts)))
    half = -(-len(texts) // 2)  # which are as long as the median at least
    batch = alike(test, min(TEXTS, half), int(np.median(list(map(len, texts)))), network.device)
    rows = []
    for count in sorted(set(counts)):
        longer = [np.append(text, own[:count]) for text, own in zip(texts, drawn, strict=True)]
        probabilities = probabilities_of(network, longer)
        right = (predicted(probabilities) == labels) & np.isfinite(probabilities.sum(1))
        norms = _norms(network, _longer(batch, drawn[:, :count]))
        words = len(batch.ids)
        measured = float(norms[0]), float(norms[words - 1]), float(norms.max())
        rows.append((count, float(right.mean()), words, *measured))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def neutral_words(train: Split) -> Ints:
    """The ids of frequent words whose places in the text are divided among the labels nearly as all words are."""
    ends = np.append(train.documents[1:], len(train.tokens))
    labels = np.repeat(np.asarray(train.arrays["labels"]), ends - train.documents)
    tokens = np.asarray(train.tokens, dtype=np.int64)
    counts = np.bincount(tokens)
    counts[[UNKNOWN_ID, *([END_ID] if len(counts) > END_ID else [])]] = 0
    frequent = np.argsort(-counts, kind="stable")[: min(FREQUENT, int((counts > 0).sum()))]
    every = np.bincount(labels) / len(labels)
    of_words = (np.bincount(labels[tokens == word], minlength=len(every)) / counts[word] for word in frequent)
    apart = [np.abs(shares - every).max() for shares in of_words]
    found: Ints = frequent[np.argsort(apart, kind="stable")[:NEUTRAL]]
    return found


def _longer(batch: Batch, words: Ints) -> Batch:
    """``words`` [at least B, k] behind the batch's texts, which are as long as each other."""
    texts = [np.append(text, own) for text, own in zip(batch.ids.t().cpu().numpy(), words, strict=False)]
    return batch_of(texts, batch.labels.tolist(), batch.ids.device)


def _norms(network: Network, batch: Batch) -> torch.Tensor:
    """||dL/dh|| by time step [T]: L is the sum of the texts' losses, each of which reaches its own column alone."""
    profile = Profile()
    loss = cross_entropy(network(batch.ids, batch.lengths, profile=profile), batch.labels, reduction="sum")
    torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return reduce(torch.hypot, (profile.norms[f"{stack}.0"] for stack in network.stacks))
