"""Scoring the test split: every token once, the sums stored, the intervals and yardsticks beside them.

evaluation/<arm>/
  scores.json        sums of each head, what they come to, intervals, yardsticks; sha256 of the files below
  nats.safetensors   -log p of every test token in order, float32 [N] a head: what paired comparisons are made of
  bands.csv          the forward head's perplexity by how often training showed the word
  calibration.csv    how often the forward head's first choice is right, by how sure it was
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from unrolled import measures
from unrolled.corpus.folders import whole_folder
from unrolled.corpus.streams import Tokens
from unrolled.lab.sealed import seal
from unrolled.nets.network import Network
from unrolled.perplexity import perplexity
from unrolled.settings import Evaluate
from unrolled.tasks.language_model import SCORES, predictions

Array = np.ndarray[Any, np.dtype[Any]]


def evaluate(
    directory: Path,
    arm: str,
    network: Network,
    tokens: Tokens,
    counts: Array,
    settings: Evaluate,
    *,
    eos: int,
    characters: int,
) -> dict[str, Any]:
    """Score ``tokens`` with every head of ``network``, write the evaluation directory and return its scores.

    counts: int64 [V], how often training showed each type. characters: length of the split's text, for bits per
    character.
    """
    nats, confidence, ranks = _score(network, tokens, settings.window, eos)
    targets = np.asarray(tokens, dtype=np.int64)
    bands = measures.frequency_bands(counts, targets, nats["forward"])
    calibration = measures.calibration(confidence, ranks == 0)
    scores: dict[str, Any] = {"arm": arm, "heads": {}}
    for head, of_tokens in nats.items():
        total = float(of_tokens.astype(np.float64).sum())
        scores["heads"][head] = {"nats": total, "tokens": len(tokens)}
        scores[SCORES[head]] = perplexity(total, len(tokens))
        scores[f"{SCORES[head]}_interval"] = measures.block_bootstrap_interval(
            of_tokens,
            block=settings.bootstrap_block,
            samples=settings.bootstrap_samples,
            confidence=settings.confidence,
            seed=settings.seed,
        )
    scores |= {
        "confidence": settings.confidence,
        "bits_per_character": measures.bits_per_character(scores["heads"]["forward"]["nats"], characters),
        "unigram_perplexity": measures.unigram_perplexity(counts, targets),
        "uniform_perplexity": measures.uniform_perplexity(len(counts)),
        "top1_accuracy": measures.top_k_accuracy(ranks, 1),
        "top5_accuracy": measures.top_k_accuracy(ranks, 5),
        "calibration_error": calibration.error,
    }
    with whole_folder(directory) as place:
        save_file({head: torch.from_numpy(of_tokens) for head, of_tokens in nats.items()}, place / "nats.safetensors")
        pd.DataFrame(bands).to_csv(place / "bands.csv", index=False)
        bins = {name: getattr(calibration, name) for name in ("confidence", "accuracy", "tokens")}
        pd.DataFrame(bins).to_csv(place / "calibration.csv", index=False)
        seal(place / "scores.json", scores)
    return scores


def _score(network: Network, tokens: Tokens, window: int, eos: int) -> tuple[dict[str, Array], Array, Array]:
    """-log p of every token by head, [N] float32; of the forward head its first choice's probability and the
    target's rank, both [N]. Not-a-number counts as infinite nats: such a network predicts nothing.
    """
    nats: dict[str, list[Array]] = {}
    confidence: list[Array] = []
    ranks: list[Array] = []
    for prediction in predictions(network, tokens, window=window, eos=eos):
        for head in prediction.log_probabilities:
            of_tokens = prediction.nats(head).nan_to_num(nan=torch.inf, posinf=torch.inf)
            nats.setdefault(head, []).append(of_tokens.numpy())
        forward = prediction.log_probabilities["forward"]
        confidence.append(forward.max(dim=-1).values.exp().numpy())
        ranks.append(measures.target_ranks(forward.numpy(), prediction.targets.numpy()))
    whole = {head: np.concatenate(parts) for head, parts in nats.items()}
    return whole, np.concatenate(confidence), np.concatenate(ranks)
