"""Scoring a language model: every token of the test split once, in every way that the settings name.

Tables: bands.csv, the forward head's perplexity by how often training showed the word; calibration.csv, how often its
first choice is right, by how sure it was. Of what it says of its own: see `own_text.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.evaluation import Evaluation, sums_of
from unrolled.ground.perplexity import perplexity
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring import checks
from unrolled.scoring.evaluation import Scored
from unrolled.scoring.interpolation import interpolated_nats, interpolation_weight
from unrolled.scoring.kneser_ney import KneserNey
from unrolled.scoring.measures import Ranks, calibration, hits, target_ranks
from unrolled.tasks.language_model.evaluation import floors
from unrolled.tasks.language_model.evaluation.checks import no_head_sees_its_target
from unrolled.tasks.language_model.evaluation.dynamic_evaluation import choose_dynamics, dynamic_nats, mean_squares
from unrolled.tasks.language_model.evaluation.measures import (
    frequency_bands,
    of_whole_text,
    uniform_perplexity,
    unigram_perplexity,
)
from unrolled.tasks.language_model.evaluation.neural_cache import cache_nats, choose_cache, forward_reading
from unrolled.tasks.language_model.evaluation.own_text import own_text
from unrolled.tasks.language_model.evaluation.reset import reset_nats
from unrolled.tasks.language_model.evaluation.scores import RESET
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD, predictions

Nats = NDArray[Any]  # -log p of each token, float32 or float64 [N]
MAIN = SCORE_OF_HEAD["forward"]
DYNAMIC_VALID = 20_000  # tokens of the validation split that dynamic evaluation is chosen on: each trial trains
ROWS = 512  # of an n-gram model's distributions at a time: memory, not the figures, hangs on it


def evaluate(
    network: Network, corpus: Corpus, settings: Mapping[str, Any], baselines: Mapping[str, Evaluation]
) -> Scored:
    """Score the test split with every head of ``network``; ``settings``: the section ``evaluate``.

    What the forward head and the n-gram model of ``baselines`` reach together is a score of its own; its weight, as
    whatever adapts to the text, is chosen on the validation split.
    """
    no_head_sees_its_target(network, corpus.test.tokens)
    test, sure = _by_network(network, corpus.test, settings["window"])
    valid = {MAIN: forward_nats(network, corpus.valid, settings["window"])}
    peer = baselines["kneser_ney"]
    weight = interpolation_weight(valid[MAIN], peer.valid_units[MAIN])
    tempered, of_temperature = _at_a_temperature(network, corpus, settings)
    cache, of_cache = _with_cache(network, corpus, settings)
    dynamic, of_dynamic = _dynamically(network, corpus, settings)
    units = {
        **test,
        RESET: reset_nats(network, corpus.test.tokens).numpy(),
        "interpolated_perplexity": interpolated_nats(test[MAIN], peer.units[MAIN], weight),
        **of_temperature,
        **of_cache,
        **of_dynamic,
    }
    details, own = {**cache, **dynamic}, own_text(network, corpus, units[RESET if network.anew else MAIN], settings)
    measures = {"interpolation_weight": weight, **tempered, **own.measures}
    read = RESET if network.anew else MAIN
    return _scored(
        corpus, units, valid, sure, settings, read=read, measures=measures, details=details, tables=own.tables
    )


def kneser_ney(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """Count the n-grams of the training split and score the test split with them, by the same measures."""
    order, test = settings["ngram_order"], corpus.test.tokens
    model = KneserNey(corpus.train.tokens, order=order, vocabulary=len(corpus.counts), end=END_ID)
    sure = _Sureness([], [])
    for start in tqdm(range(0, len(test), ROWS), desc="kneser_ney", unit_scale=ROWS, unit=" tokens", disable=None):
        table = model.distributions(test, start, start + ROWS)
        checks.probabilities_sum_to_one("the n-gram model", table)
        sure.confidence.append(table.max(axis=1))
        sure.ranks.append(target_ranks(table, test[start : start + ROWS]))
    nats, valid = ({MAIN: model.nats(split.tokens).astype(np.float32)} for split in (corpus.test, corpus.valid))
    discounts = {str(order): list(values) for order, values in model.discounts.items()}
    return _scored(corpus, nats, valid, sure, settings, order=order, details={"discounts": discounts})


BASELINES = {"kneser_ney": kneser_ney}


class _Sureness(NamedTuple):
    """Of the forward head's first choice, window by window."""

    confidence: list[Nats]  # its probability
    ranks: list[Ranks]  # of the target


def _by_network(network: Network, split: Split, window: int) -> tuple[dict[str, Nats], _Sureness]:
    """Nats by score."""
    nats: dict[str, list[Nats]] = {}
    sure = _Sureness([], [])
    for prediction in predictions(network, split.tokens, window=window):
        for head, each in prediction.log_probabilities.items():
            nats.setdefault(SCORE_OF_HEAD[head], []).append(prediction.nats(head).numpy())
            if not sure.ranks:  # a window is sample enough
                checks.probabilities_sum_to_one(f"the {head} head", each.exp().numpy())
        forward = prediction.log_probabilities["forward"]
        sure.confidence.append(forward.max(dim=-1).values.exp().numpy())
        sure.ranks.append(target_ranks(forward.numpy(), prediction.targets.numpy()))
    return {score: np.concatenate(parts) for score, parts in nats.items()}, sure


def forward_nats(network: Network, split: Split, window: int, temperature: float = 1.0) -> Nats:
    """-log p of each token [N] by the forward head, its logits divided by a temperature."""
    read = predictions(network, split.tokens, window=window, heads="forward", temperature=temperature)
    return np.concatenate([each.nats("forward").numpy() for each in read])


def _scored(
    corpus: Corpus, units: dict[str, Nats], valid: dict[str, Nats], sure: _Sureness, settings: Mapping[str, Any], *,
    order: int | None = None, measures: Mapping[str, float] | None = None, details: Mapping[str, Any] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None, read: str = MAIN,
) -> Scored:  # fmt: skip
    """``read``: the score of the forward head that reads as it was trained; what it remembers is told of that."""
    checks.every_unit_scored_once(units, len(corpus.test.tokens))
    checks.every_unit_scored_once(valid, len(corpus.valid.tokens))
    checks.no_probability_above_one(units)
    clusters, paid = corpus.test.document_of_tokens(), floors.excess(corpus.test, units, order)
    floors.no_head_beats_its_floor(corpus.test, units, settings)
    targets = np.asarray(corpus.test.tokens, dtype=np.int64)
    ranks = Ranks(*(np.concatenate(parts) for parts in zip(*sure.ranks, strict=True)))
    first = hits(ranks, 1)
    reliability = calibration(np.concatenate(sure.confidence), first)
    bins = {name: getattr(reliability, name) for name in ("confidence", "accuracy", "tokens")}
    return Scored(
        {**units, **{name: each.astype(np.float32) for name, each in paid.items()}},
        clusters,
        valid,
        {
            "vocabulary_size": float(len(corpus.counts)),
            "unknown_share": corpus.texts["test"].unknown / len(targets),
            **of_whole_text(sums_of(units[MAIN]).sum, corpus.texts["test"]),
            **_of_yardstick("unigram", unigram_perplexity(corpus.counts, targets), corpus),
            **_of_yardstick("uniform", uniform_perplexity(len(corpus.counts)), corpus),
            "top1_accuracy": float(first.mean()),
            "top5_accuracy": float(hits(ranks, 5).mean()),
            "calibration_error": reliability.error,
            **({"nats_over_floor": float(paid[floors.EXCESS[read]].mean())} if "forward_excess" in paid else {}),
            **floors.span(corpus.test, units[read], settings),
            **(measures or {}),
        },
        details or {},
        {
            "bands": pd.DataFrame(frequency_bands(corpus.counts, targets, units[MAIN])),
            "calibration": pd.DataFrame(bins),
            **floors.tables(corpus.test, units[read], paid, settings, floors.EXCESS[read]),
            **(tables or {}),
        },
    )


def _of_yardstick(name: str, reached: float, corpus: Corpus) -> dict[str, float]:
    """The perplexity of a model that learns next to nothing, and what compares across vocabularies."""
    whole = of_whole_text(math.log(reached) * len(corpus.test.tokens), corpus.texts["test"])
    return {f"{name}_perplexity": reached} | {f"{name}_{measure}": value for measure, value in whole.items()}


def _at_a_temperature(
    network: Network, corpus: Corpus, settings: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Nats]]:
    """At the softmax temperature that is best for the validation split, and which; nothing where none is named."""
    if not settings["temperatures"]:
        return {}, {}

    def on_valid(temperature: float) -> float:
        return float(forward_nats(network, corpus.valid, settings["window"], temperature).sum(dtype=np.float64))

    best = float(min(settings["temperatures"], key=on_valid))
    nats = forward_nats(network, corpus.test, settings["window"], best)
    return {"softmax_temperature": best}, {"temperature_perplexity": nats}


def _with_cache(
    network: Network, corpus: Corpus, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Nats]]:
    """With the neural cache that is best for the validation split; nothing where the settings name none."""
    if not settings["cache_windows"]:
        return {}, {}
    valid, test = (forward_reading(network, split.tokens, window=settings["window"]) for split in corpus[1:3])
    cache, nats = choose_cache(
        valid, windows=settings["cache_windows"], thetas=settings["cache_thetas"], weights=settings["cache_weights"]
    )
    chosen = {**asdict(cache), "valid_perplexity": perplexity(nats, len(corpus.valid.tokens))}
    return {"cache": chosen}, {"cache_perplexity": cache_nats(test, cache)}


def _dynamically(
    network: Network, corpus: Corpus, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Nats]]:
    """With weights that go on learning, as is best for the validation split's beginning; nothing without rates."""
    if not settings["dynamic_rates"]:
        return {}, {}
    segment, beginning = settings["dynamic_segment"], corpus.valid.tokens[:DYNAMIC_VALID]
    squares = mean_squares(network, corpus.train.tokens, segment=segment)
    dynamics, nats = choose_dynamics(
        network,
        beginning,
        segment=segment,
        rates=settings["dynamic_rates"],
        decays=settings["dynamic_decays"],
        squares=squares,
    )
    of_test = dynamic_nats(network, corpus.test.tokens, dynamics, squares=squares)
    chosen = {**asdict(dynamics), "valid_perplexity": perplexity(nats, len(beginning))}
    return {"dynamic": chosen}, {"dynamic_perplexity": of_test}
