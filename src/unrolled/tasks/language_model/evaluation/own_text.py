"""What a network says that must go on from words of its own: made-up text beside its source, real text by temperature.

Training shows it true words alone (teacher forcing), so what it makes of its own is another question than perplexity:
exposure bias (Bengio et al. 2015; Ranzato et al. 2016).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.ground.corpus import Corpus
from unrolled.scoring.source import Source
from unrolled.tasks.language_model.evaluation.measures import unigram_nats
from unrolled.tasks.language_model.evaluation.own_lines import by_temperature
from unrolled.tasks.language_model.evaluation.own_sentences import against_the_source
from unrolled.tasks.language_model.evaluation.own_words import NoNumbersError
from unrolled.tasks.language_model.evaluation.scores import OF_LINES, OF_SENTENCES, OWN
from unrolled.tasks.language_model.model.network import Network


class Own(NamedTuple):
    """Single numbers, and tables."""

    measures: dict[str, float]
    tables: dict[str, pd.DataFrame]


def own_text(network: Network, corpus: Corpus, nats: NDArray[Any], settings: Mapping[str, Any]) -> Own:
    """``nats``: of the test split's tokens by the forward head.

    Nothing where the settings ask for no sentences, nor of a bidirectional network, which has no next word to say, nor
    of one that is no better than a unigram model: whatever it says, training was lost. Nor of one that predicts no
    numbers after words of its own, however well it reads true ones, which are fewer in a row.
    """
    if not settings["own_sentences"] or network.bidirectional:
        return Own({}, {})
    if not float(nats.mean(dtype=np.float64)) < float(unigram_nats(corpus.counts, corpus.test.tokens).mean()):
        return Own({}, {})
    try:
        return _said(network, corpus, nats, settings)
    except NoNumbersError:
        return Own({}, {})


def _said(network: Network, corpus: Corpus, nats: NDArray[Any], settings: Mapping[str, Any]) -> Own:
    source = Source.of(corpus.test.arrays, len(corpus.counts))
    if source is None:
        lines = by_temperature(network, corpus, settings)
        return Own({}, {}) if lines is None else Own(_finite(_of_lines(lines)), {"own_lines": lines})
    tables = against_the_source(network, corpus, source, nats, settings)
    if not tables:
        return Own({}, {})
    values = tables["own_sentences"].set_index("figure")["value"]
    return Own(_finite({name: values[name] for name in OF_SENTENCES if name in values}), tables)


def _of_lines(lines: pd.DataFrame) -> dict[str, float]:
    plain = lines[(lines["of"] == OWN) & (lines["temperature"] == 1)].iloc[0]
    return {f"own_{name}": plain[name] for name in OF_LINES}


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
