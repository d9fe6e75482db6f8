"""Real text: how good the lines are that a model says of its own, and how varied, by temperature.

Of real text there is no oracle. In its place stands an n-gram model of text that the network never trained on: the
validation split and the second half of the test split. The first half is scored beside the network's lines, as many of
its own: what real text reaches by the same measures. No single temperature tells of two models which is better, as each
trades quality for variety (Caccia et al. 2020).

Table: own_lines.csv, a row a temperature, and one for the test text.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.corpus import Corpus, Tokens
from unrolled.ground.evaluation import Resampling
from unrolled.ground.perplexity import exp
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.diversity import Hashes, copied, distinct, hashes, self_bleu
from unrolled.scoring.kneser_ney import KneserNey
from unrolled.tasks.language_model.evaluation.own_words import Beginnings, Sentences, drawn
from unrolled.tasks.language_model.evaluation.scores import OWN, TEXT
from unrolled.tasks.language_model.model.network import Network

TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.15)
COPIED = 8  # tokens in a row that are no commonplace
LONGEST = 128  # tokens of a line that is drawn; one that has not ended by then stays unfinished
FEWEST = 2  # lines on either side, with fewer of which nothing is compared


def by_temperature(network: Network, corpus: Corpus, settings: Mapping[str, Any]) -> pd.DataFrame | None:
    """None where there are too few lines. NoNumbersError as in `drawn`."""
    judged, counted = halves(corpus.test.tokens)
    most = min(settings["own_sentences"], int(np.count_nonzero(judged == END_ID)))  # of either side as many
    start = Beginnings.of(network, corpus.test.tokens, most)
    if len(start) < FEWEST:
        return None
    text = np.concatenate([np.asarray(corpus.valid.tokens), counted])
    judge = KneserNey(text, order=settings["ngram_order"], vocabulary=len(corpus.counts), end=END_ID)
    known, resampling = hashes(corpus.train.tokens, COPIED), Resampling.of(settings)
    measured = partial(_measured, judge=judge, known=known, resampling=resampling)
    rows = [{"of": TEXT, "temperature": math.nan} | measured(_evenly(judged, len(start)))]
    for temperature in TEMPERATURES:
        lines = drawn(network, start, seed=settings["seed"], temperature=temperature, longest=LONGEST)
        rows.append({"of": OWN, "temperature": temperature} | measured(_lines(lines)))
    return pd.DataFrame(rows)


def halves(tokens: Tokens) -> tuple[Any, Any]:
    """A text cut at the end of the line that its middle stands in."""
    ids = np.asarray(tokens)
    ends = np.flatnonzero(ids == END_ID) + 1
    cut = int(ends[np.searchsorted(ends, len(ids) // 2)]) if len(ends) and ends[-1] >= len(ids) // 2 else len(ids)
    return ids[:cut], ids[cut:]


def _lines(sentences: Sentences) -> list[list[int]]:
    """Each with its <eos>, if it came to one."""
    pairs = zip(sentences.tokens.T, sentences.lengths.tolist(), strict=True)
    return [column[:length].tolist() for column, length in pairs]


def _evenly(tokens: Any, most: int) -> list[list[int]]:
    """So many whole lines of a text, or all."""
    lines = np.split(tokens, np.flatnonzero(tokens == END_ID) + 1)[:-1]
    chosen = np.linspace(0, len(lines) - 1, min(most, len(lines))).round().astype(np.int64).tolist()
    return [lines[place].tolist() for place in chosen]


def _measured(
    lines: list[list[int]], *, judge: KneserNey, known: Hashes, resampling: Resampling
) -> dict[str, float | int | str]:
    whole = [line if line[-1] == END_ID else [*line, END_ID] for line in lines]  # no context reaches past it
    owner = np.repeat(np.arange(len(whole)), [len(line) for line in whole])
    own = np.concatenate([np.arange(len(each)) < len(line) for line, each in zip(lines, whole, strict=True)])
    nats = judge.nats(np.concatenate(whole))[own]
    low, high = bootstrap_interval(nats, owner[own], **resampling._asdict(), value=exp)
    said = [[word for word in line if word != END_ID] for line in lines]
    alike = self_bleu(said)
    alike_low, alike_high = bootstrap_interval(alike, np.arange(len(alike)), **resampling._asdict())
    return {
        "lines": len(lines),
        "tokens": len(nats),
        "unfinished": float(np.mean([line[-1] != END_ID for line in lines])),
        "perplexity": exp(float(nats.mean())),
        "low": low,
        "high": high,
        **{f"distinct_{n}": distinct(said, n) for n in (1, 2, 4)},
        "self_bleu": float(alike.mean()),
        "self_bleu_low": alike_low,
        "self_bleu_high": alike_high,
        "copied": copied(said, known, COPIED),
    }
