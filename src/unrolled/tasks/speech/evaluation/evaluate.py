"""Scoring an arm on speech: every word of the test split once, and the further sets.

Tables: sets.csv, the error on each set and by each way of decoding; positions.csv, the error by a word's place;
speakers.csv, by voice; attention.csv and written.csv, some utterances to look at.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.evaluation import Evaluation, Resampling
from unrolled.ground.perplexity import perplexity
from unrolled.scoring import checks
from unrolled.scoring.evaluation import Scored
from unrolled.tasks.speech.evaluation import measures
from unrolled.tasks.speech.evaluation.alignment import attention_table, shares
from unrolled.tasks.speech.evaluation.baselines import BASELINES
from unrolled.tasks.speech.evaluation.reading import forced, found_in
from unrolled.tasks.speech.model.batches import set_named
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.transcripts import texts_of

__all__ = ["BASELINES", "evaluate"]


def evaluate(
    network: Network, corpus: Corpus, settings: Mapping[str, Any], baselines: Mapping[str, Evaluation]
) -> Scored:
    """Score the test split and the further sets; ``settings``: the section ``evaluate``."""
    decoding, resampling = {key: settings[key] for key in ("beam", "ctc_share")}, Resampling.of(settings)
    sets = {name: set_named(corpus, name) for name in ("test", *corpus.names["sets"])}
    found = {name: found_in(network, split, **decoding) for name, split in sets.items()}
    reads = {
        name: measures.reading(split, [each.words for each in found[name]], forced(network, split))
        for name, split in sets.items()
    }
    test, read = corpus.test, reads["test"]
    units = measures.units_of(test, read)
    checks.every_unit_scored_once(units, read.words)
    of_valid = [each.words for each in found_in(network, corpus.valid, **decoding)]
    valid = measures.reading(corpus.valid, of_valid, forced(network, corpus.valid))
    alone = {
        name: measures.reading(split, [each.words for each in found_in(network, split, beam=1, ctc_share=0.0)])
        for name, split in sets.items()
    }
    rows = [measures.set_row(name, "as set", each, resampling) for name, each in reads.items()]
    rows += [measures.set_row(name, "language model alone, greedy", each, resampling) for name, each in alone.items()]
    unheard = baselines["unheard"].values["cross_entropy"] * read.words
    return Scored(
        units,
        read.text_of_words,
        measures.units_of(corpus.valid, valid),
        {**measures.figures(test, read), **_heard(network, test, read, unheard), **_errors(reads, alone)},
        {"unfinished": {name: sum(not each.ended for each in of_set) for name, of_set in found.items()}},
        {
            "sets": pd.DataFrame(rows, columns=list(measures.SETS)),
            "positions": measures.by_position(read, resampling),
            "speakers": measures.by_speaker(corpus, {name: (sets[name], reads[name]) for name in sets}, resampling),
            "attention": attention_table(network, test, settings["shown_utterances"]),
            "written": _written(corpus, test, [each.words for each in found["test"]], settings["shown_utterances"]),
        },
    )


def _heard(network: Network, test: Split, read: measures.Reading, unheard: float) -> dict[str, float]:
    """What the audio tells of a text, in bits a text; the perplexity with another's audio; and where it is heard."""
    assert read.forced is not None
    tokens, texts = len(test.tokens), len(test.documents)
    told, floor = float(read.forced.nats.sum()), measures.floor_of(test)
    other = forced(network, test, wrong_audio=True).nats
    other = other[~np.isnan(other)]
    share = shares(network, test)
    there = unheard if math.isnan(floor) else floor
    return {
        "text_floor": perplexity(there, tokens),
        "bits_heard": (there - told) / math.log(2) / texts,
        "bits_there": there / math.log(2) / texts,
        "perplexity_with_other_audio": perplexity(float(other.sum()), len(other)) if len(other) else math.nan,
        "attention_inside": share.attention,
        "gradient_inside": share.gradient,
    }


def _errors(reads: Mapping[str, measures.Reading], alone: Mapping[str, measures.Reading]) -> dict[str, float]:
    """The error on each further set, and on the test split of the language model alone."""
    further = {f"word_error_rate_{name}": _mean(each) for name, each in reads.items() if name != "test"}
    return {"alone_word_error_rate": _mean(alone["test"]), **further}


def _mean(read: measures.Reading) -> float:
    return float(np.mean(read.errors.of_words))


def _written(corpus: Corpus, test: Split, found: list[list[int]], count: int) -> pd.DataFrame:
    said = measures.spelled(corpus, texts_of(test)[:count])
    return pd.DataFrame({"text": said, "written": measures.spelled(corpus, found[:count])})
