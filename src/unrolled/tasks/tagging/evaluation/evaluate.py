"""Scoring a tagger: every word of the test split once, and what it comes to by tag and by part of the sentence."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unrolled.ground.corpus import Corpus
from unrolled.ground.evaluation import Evaluation, Resampling
from unrolled.scoring import checks
from unrolled.scoring.evaluation import Scored
from unrolled.scoring.measures import calibration
from unrolled.tasks.tagging.evaluation import tables
from unrolled.tasks.tagging.evaluation.baselines import crf, most_frequent, perceptron, tnt
from unrolled.tasks.tagging.evaluation.checks import reads_the_right_side_if_bidirectional
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import predictions

Ints = np.ndarray[Any, np.dtype[np.int64]]


def evaluate(
    network: Network, corpus: Corpus, settings: Mapping[str, Any], baselines: Mapping[str, Evaluation]
) -> Scored:
    """Score the test split; ``settings``: the section ``evaluate``. A line says so where guessing does as well."""
    reads_the_right_side_if_bidirectional(network, corpus.test)
    said, valid = predictions(network, corpus.test), predictions(network, corpus.valid)
    guessed = baselines["most_frequent"].values["accuracy"]
    scored = _scored(corpus, said.tags, settings)
    checks.no_probability_above_one({"cross_entropy": said.nats})
    right = (said.tags == corpus.test.arrays["tags"]).astype(np.float64)
    reliability = calibration(said.confidence, right)
    bins = {name: getattr(reliability, name) for name in ("confidence", "accuracy", "tokens")}
    accuracy = 100 * float(right.mean())
    if accuracy < guessed:
        print(
            f"warning: {accuracy:.2f} % of the words are tagged right, and {guessed:.2f} % where each word gets its "
            "most frequent tag: this network has learned less than that",
            file=sys.stderr,
        )
    return Scored(
        {**scored.units, "cross_entropy": said.nats},
        scored.clusters,
        {"accuracy": _units(corpus.valid.arrays["tags"], valid.tags), "cross_entropy": valid.nats},
        {**scored.measures, "calibration_error": reliability.error, "most_frequent_accuracy": guessed},
        tables={**scored.tables, "calibration": pd.DataFrame(bins)},
    )


def _scored(corpus: Corpus, predicted: Ints, settings: Mapping[str, Any]) -> Scored:
    """The same of every tagger; ``predicted``: the ids of the tags of the test split."""
    test, resampling = corpus.test, Resampling.of(settings)
    gold = np.asarray(test.arrays["tags"], dtype=np.int64)
    units = {"accuracy": _units(gold, predicted)}
    checks.every_unit_scored_once(units, len(test.tokens))
    parts = tables.parts(corpus, test, (gold == predicted).astype(np.int64), resampling)
    per_tag = tables.per_tag(corpus.names["tags"], gold, predicted)
    accuracy_of = dict(zip(parts["part"], parts["accuracy"], strict=True))
    trained = int(np.count_nonzero(corpus.arrays["tag_counts"]))
    measures = {
        "known_accuracy": accuracy_of.get("known", np.nan),
        "unknown_accuracy": accuracy_of.get("unknown", np.nan),
        "sentence_accuracy": accuracy_of["whole"],
        "macro_f1": float(per_tag.loc[per_tag["support"] > 0, "f1"].mean()),
        "unknown_share": float((tables.form_counts(corpus, test) == 0).mean()),
        "unknown_tags": int((gold >= trained).sum()),
    }
    more = {}
    if chunks := tables.chunked(corpus, test, predicted, resampling):
        more["chunks"] = chunks[0]
        whole = chunks[0].iloc[0]
        measures |= {f"chunk_{name}": float(whole[name]) for name in ("precision", "recall", "f1")}
        measures |= {"chunk_f1_low": chunks[1][0], "chunk_f1_high": chunks[1][1]}
    own = {"parts": parts, "per_tag": per_tag, "confusion": tables.confusion(corpus, test, predicted)}
    return Scored(units, tables.sentence_of_words(test), measures=measures, tables=own | more)


def _units(gold: "np.ndarray[Any, Any]", predicted: Ints) -> "np.ndarray[Any, Any]":
    """What each word adds to the accuracy in percent."""
    return np.where(gold == predicted, np.float32(100), np.float32(0))


# Models without recurrence, each scored as the arms are.
BASELINES = {
    tagger.__name__: lambda corpus, settings, tagger=tagger: _scored(corpus, tagger(corpus, settings), settings)
    for tagger in (most_frequent, tnt, perceptron, crf)
}
