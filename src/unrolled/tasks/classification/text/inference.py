"""A trained arm of runs/ as a person talks to it: texts in, probabilities of every label out."""

from pathlib import Path

from unrolled.corpus.vocabulary import load_tokenizer
from unrolled.ground.run import Run
from unrolled.ground.trained import ENCODED, read_trained
from unrolled.recurrence.layer import read_by_torch
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.text.serving import Classifier

TASK = "classification"


def read_classifier(arm: str | None = None, workspace: Path = Path()) -> tuple[str, Classifier]:
    """An arm of runs/ and its name; without a name the one with the fewest wrong validation texts.

    UserError where it is not trained or damaged, is no classifier, or was trained on another corpus than data/encoded
    now holds.
    """
    run, corpus = read_trained(arm, TASK, _loss, workspace)
    network = run.model()
    assert isinstance(network, Network)
    read_by_torch(network)
    return run.arm, Classifier(network, load_tokenizer(workspace / ENCODED / "tokenizer.json"), corpus.names["labels"])


def _loss(run: Run) -> tuple[float, float] | None:
    """Wrong validation texts; of as many, the nats."""
    valid = run.valid()
    return (valid["error"].sum, valid["cross_entropy"].sum) if valid else None
