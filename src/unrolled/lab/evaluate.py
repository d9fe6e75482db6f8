"""Scoring the test split: every token once, the sums stored, the intervals and yardsticks beside them.

evaluation/<arm>/    and evaluation/kneser_ney/, the n-gram model's, by the same measures
  scores.json        sums of each head, what they come to, intervals, yardsticks; sha256 of the files below
  nats.safetensors   -log p of every test token in order, float32 [N] a head: what paired comparisons are made of
  valid_nats.safetensors   the same of the validation split, forward head: what weights of a mixture are chosen on
  bands.csv          the forward head's perplexity by how often training showed the word
  calibration.csv    how often the forward head's first choice is right, by how sure it was
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from unrolled import measures
from unrolled.corpus.encoded import read_corpus
from unrolled.corpus.folders import whole_folder
from unrolled.corpus.ids import END_ID
from unrolled.corpus.streams import Tokens
from unrolled.kneser_ney import KneserNey
from unrolled.lab import checks
from unrolled.lab.dynamic_evaluation import choose_dynamics, dynamic_nats, mean_squares
from unrolled.lab.neural_cache import cache_nats, choose_cache, forward_reading
from unrolled.mixture import interpolated_nats, interpolation_weight
from unrolled.nets.network import Network
from unrolled.perplexity import perplexity
from unrolled.sealed import json_of, load, seal
from unrolled.settings import Evaluate
from unrolled.tasks.language_model import SCORES, predictions, reset_nats

Array = np.ndarray[Any, np.dtype[Any]]
DYNAMIC_VALID = 20_000  # tokens of the validation split that dynamic evaluation is chosen on: each trial trains
ROWS = 512  # of an n-gram model's distributions at a time: memory, not the figures, hangs on it


class Text(NamedTuple):
    """What is scored, and the training split, whose words and gradients are counted."""

    train: Tokens
    valid: Tokens
    test: Tokens
    counts: Array  # int64 [V]: how often training showed each type
    characters: int  # of the test split's text, for bits per character
    eos: int


def read_text(encoded: Path, report: Path) -> Text:
    """What the vocabulary stage left, to score."""
    corpus = read_corpus(encoded)
    characters = load(report.parent, report.name, lambda path: json_of(path)["test"]["characters"])
    return Text(corpus.train, corpus.valid, corpus.test, corpus.counts, characters, END_ID)


class _Scored(NamedTuple):
    """The test split token by token; nats also of the validation split, where the forward head saw it."""

    nats: dict[str, Array]  # float32 [N] a head
    confidence: Array  # [N] of the forward head's first choice
    ranks: Array  # [N] of the target, for the forward head
    valid_nats: Array


def evaluate(
    directory: Path, arm: str, network: Network, text: Text, settings: Evaluate, peer: tuple[Array, Array]
) -> dict[str, Any]:
    """Score the test split with every head of ``network``, write the evaluation directory and return its scores.

    ``peer``: an n-gram model's nats of the validation and the test split. What it and the forward head reach together
    is a figure of its own; its weight, as whatever adapts to the text, is chosen on the validation split.
    """
    checks.no_head_sees_its_target(network, text.test, text.eos)
    scored = _by_network(network, text, settings.window)
    weight = interpolation_weight(scored.valid_nats, peer[0])
    mixed = interpolated_nats(scored.nats["forward"], peer[1], weight)
    reset = reset_nats(network, text.test, eos=text.eos).numpy()
    scores = _scores(arm, scored, text, settings) | {
        **_figure("reset_perplexity", reset, settings),
        **_figure("interpolated_perplexity", mixed, settings),
        "interpolation_weight": weight,
        **_with_cache(network, text, settings),
        **_dynamically(network, text, settings),
    }
    _write(directory, scored, scores, text)
    return scores


def evaluate_ngrams(directory: Path, text: Text, settings: Evaluate) -> dict[str, Any]:
    """Count the n-grams of the training split and score the test split with them, by the same measures."""
    model = KneserNey(text.train, order=settings.ngram_order, vocabulary=len(text.counts), eos=text.eos)
    confidence, ranks = [], []
    for start in range(0, len(text.test), ROWS):
        table = model.distributions(text.test, start, start + ROWS)
        checks.probabilities_sum_to_one("the n-gram model", table)
        confidence.append(table.max(axis=1))
        ranks.append(measures.target_ranks(table, text.test[start : start + ROWS]))
    nats, valid_nats = (model.nats(split).astype(np.float32) for split in (text.test, text.valid))
    scored = _Scored({"forward": nats}, np.concatenate(confidence), np.concatenate(ranks), valid_nats)
    discounts = {str(order): list(values) for order, values in model.discounts.items()}
    valid = {"nats": float(valid_nats.astype(np.float64).sum()), "tokens": len(valid_nats)}
    scores = _scores("kneser_ney", scored, text, settings) | {"discounts": discounts, "valid": valid}
    _write(directory, scored, scores, text)
    return scores


def _with_cache(network: Network, text: Text, settings: Evaluate) -> dict[str, Any]:
    """With the neural cache that is best for the validation split; nothing where the settings name none."""
    if not settings.cache_windows:
        return {}
    valid, test = (
        forward_reading(network, split, window=settings.window, eos=text.eos) for split in (text.valid, text.test)
    )
    cache, nats = choose_cache(
        valid, windows=settings.cache_windows, thetas=settings.cache_thetas, weights=settings.cache_weights
    )
    chosen = {**asdict(cache), "valid_perplexity": perplexity(nats, len(text.valid))}
    return {**_figure("cache_perplexity", cache_nats(test, cache), settings), "cache": chosen}


def _dynamically(network: Network, text: Text, settings: Evaluate) -> dict[str, Any]:
    """With weights that go on learning, as is best for the validation split's beginning; nothing without rates."""
    if not settings.dynamic_rates:
        return {}
    segment, beginning = settings.dynamic_segment, text.valid[:DYNAMIC_VALID]
    squares = mean_squares(network, text.train, segment=segment, eos=text.eos)
    dynamics, nats = choose_dynamics(
        network,
        beginning,
        segment=segment,
        rates=settings.dynamic_rates,
        decays=settings.dynamic_decays,
        squares=squares,
        eos=text.eos,
    )
    of_test = dynamic_nats(network, text.test, dynamics, squares=squares, eos=text.eos)
    chosen = {**asdict(dynamics), "valid_perplexity": perplexity(nats, len(beginning)), "valid_tokens": len(beginning)}
    return {**_figure("dynamic_perplexity", of_test, settings), "dynamic": chosen}


def _by_network(network: Network, text: Text, window: int) -> _Scored:
    nats: dict[str, list[Array]] = {}
    confidence: list[Array] = []
    ranks: list[Array] = []
    for prediction in predictions(network, text.test, window=window, eos=text.eos):
        for head in prediction.log_probabilities:
            nats.setdefault(head, []).append(prediction.nats(head).numpy())
        forward = prediction.log_probabilities["forward"]
        confidence.append(forward.max(dim=-1).values.exp().numpy())
        if len(ranks) == 0:  # a window is sample enough
            for head, each in prediction.log_probabilities.items():
                checks.probabilities_sum_to_one(head, each.exp().numpy())
        ranks.append(measures.target_ranks(forward.numpy(), prediction.targets.numpy()))
    valid = predictions(network, text.valid, window=window, eos=text.eos)
    valid_nats = [each.nats("forward").numpy() for each in valid]
    whole = {head: np.concatenate(parts) for head, parts in nats.items()}
    return _Scored(whole, np.concatenate(confidence), np.concatenate(ranks), np.concatenate(valid_nats))


def _scores(arm: str, scored: _Scored, text: Text, settings: Evaluate) -> dict[str, Any]:
    targets = np.asarray(text.test, dtype=np.int64)
    scores: dict[str, Any] = {"arm": arm, "heads": {}}
    for head, of_tokens in scored.nats.items():
        scores["heads"][head] = {"nats": float(of_tokens.astype(np.float64).sum()), "tokens": len(of_tokens)}
        scores |= _figure(SCORES[head], of_tokens, settings)
    return scores | {
        "confidence": settings.confidence,
        "bits_per_character": measures.bits_per_character(scores["heads"]["forward"]["nats"], text.characters),
        "unigram_perplexity": measures.unigram_perplexity(text.counts, targets),
        "uniform_perplexity": measures.uniform_perplexity(len(text.counts)),
        "top1_accuracy": measures.top_k_accuracy(scored.ranks, 1),
        "top5_accuracy": measures.top_k_accuracy(scored.ranks, 5),
        "calibration_error": measures.calibration(scored.confidence, scored.ranks == 0).error,
    }


def _figure(name: str, nats: Array, settings: Evaluate) -> dict[str, Any]:
    """A perplexity and its interval, from the nats of all tokens."""
    interval = measures.block_bootstrap_interval(
        nats,
        block=settings.bootstrap_block,
        samples=settings.bootstrap_samples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return {name: perplexity(float(nats.astype(np.float64).sum()), len(nats)), f"{name}_interval": interval}


def _write(directory: Path, scored: _Scored, scores: dict[str, Any], text: Text) -> None:
    checks.every_token_scored_once(scored.nats, len(text.test))
    checks.every_token_scored_once({"forward": scored.valid_nats}, len(text.valid))
    checks.no_probability_above_one(scored.nats)
    bands = measures.frequency_bands(text.counts, np.asarray(text.test, dtype=np.int64), scored.nats["forward"])
    calibration = measures.calibration(scored.confidence, scored.ranks == 0)
    bins = {name: getattr(calibration, name) for name in ("confidence", "accuracy", "tokens")}
    with whole_folder(directory) as place:
        _save(place / "nats.safetensors", scored.nats.items())
        _save(place / "valid_nats.safetensors", [("forward", scored.valid_nats)])
        pd.DataFrame(bands).to_csv(place / "bands.csv", index=False)
        pd.DataFrame(bins).to_csv(place / "calibration.csv", index=False)
        seal(place / "scores.json", scores)


def _save(path: Path, arrays: Iterable[tuple[str, Array]]) -> None:
    save_file({name: torch.from_numpy(array) for name, array in arrays}, path)
