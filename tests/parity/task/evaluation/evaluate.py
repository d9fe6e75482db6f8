"""Scoring every bit of the test split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from unrolled.tasks.parity.model.task import Network, batch_of, lines

from unrolled.ground.corpus import Corpus
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.evaluation import Scored


def evaluate(
    network: Network, corpus: Corpus, settings: Mapping[str, Any], baselines: Mapping[str, Evaluation]
) -> Scored:
    right, nats = [], []
    with torch.inference_mode():
        for line in lines(corpus.test):
            batch = batch_of([line])
            logits = network(batch)[:, 0]
            right.append((logits.argmax(-1) == batch.odd[:, 0]).numpy().astype(np.float32))
            nats.append(cross_entropy(logits, batch.odd[:, 0], reduction="none").numpy())
    units = {"accuracy": np.concatenate(right), "cross_entropy": np.concatenate(nats)}
    return Scored(units, _documents(corpus))


def even(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """A baseline that takes every number for even."""
    odd = np.concatenate([batch_of([line]).odd[:, 0].numpy() for line in lines(corpus.test)])
    return Scored({"accuracy": (odd == 0).astype(np.float32)}, _documents(corpus))


def _documents(corpus: Corpus) -> "np.ndarray[Any, Any]":
    return corpus.test.document_of_tokens()[np.asarray(corpus.test.tokens) != END_ID]


BASELINES = {"even": even}
