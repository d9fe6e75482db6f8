"""Scoring a text classifier: every text of the test split once.

Tables: labels.csv, precision, recall and F1 of each label; confusion.csv, which was taken for which; lengths.csv,
accuracy by quarter of the texts, the shortest first; calibration.csv, how often the first choice is right, by how sure
it was; probabilities.csv, of each label of each text; most_wrong.csv and least_sure.csv, texts to read;
neutral_words.csv, see `neutral_words.py`.
"""

from collections.abc import Mapping
from typing import Any

import click
import numpy as np

from unrolled.ground.corpus import Corpus
from unrolled.ground.evaluation import Evaluation
from unrolled.scoring import checks
from unrolled.scoring.evaluation import Scored
from unrolled.tasks.classification.evaluation import measures
from unrolled.tasks.classification.evaluation.baselines import BASELINES
from unrolled.tasks.classification.evaluation.ensemble import by_text
from unrolled.tasks.classification.evaluation.neutral_words import with_neutral_words
from unrolled.tasks.classification.evaluation.words import spelled, words_of
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.model.task import label_probabilities

__all__ = ["BASELINES", "evaluate"]


def evaluate(
    network: Network, corpus: Corpus, settings: Mapping[str, Any], baselines: Mapping[str, Evaluation]
) -> Scored:
    """Score the test split; ``settings``: the section ``evaluate``.

    Prints a warning where the network does no better than the most frequent label of training.
    """
    test, names = corpus.test, corpus.names["labels"]
    labels = np.asarray(test.arrays["labels"])
    found, valid = label_probabilities(network, test), label_probabilities(network, corpus.valid)
    units = measures.units_of(found, labels)
    checks.every_unit_scored_once(units, len(test.documents))
    checks.probabilities_sum_to_one("the labels", found)
    words = words_of(test)
    chance = measures.most_frequent_accuracy(np.asarray(corpus.train.arrays["labels"]), labels)
    reached = float(units["accuracy"].mean())
    if reached <= chance:
        click.echo(
            f"warning: accuracy {reached:.1%} is no better than always answering with the most frequent label, "
            f"{chance:.1%}: this network has learned nothing that helps",
            err=True,
        )
    return Scored(
        units,
        np.arange(len(labels)),
        measures.units_of(valid, np.asarray(corpus.valid.arrays["labels"])),
        {**measures.summary(found, labels), "most_frequent_accuracy": chance},
        tables={
            "labels": measures.by_label(found, labels, names),
            "confusion": measures.confusion(found, labels, names),
            "lengths": measures.by_length(np.array(list(map(len, words))), units["accuracy"]),
            "calibration": measures.reliability(found, labels),
            "probabilities": by_text(found, labels, names),
            **measures.quoted(found, labels, names, [spelled(corpus, each) for each in words], settings["shown_texts"]),
            "neutral_words": with_neutral_words(network, corpus, settings["neutral_words"], settings["seed"]),
        },
    )
