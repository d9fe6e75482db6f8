"""What a set's reading comes to: units by word, single figures, and tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.evaluation import Resampling
from unrolled.ground.perplexity import perplexity
from unrolled.ground.special_tokens import END_ID
from unrolled.tasks.speech.evaluation.reading import Forced
from unrolled.tasks.speech.model.transcripts import Errors, errors, space_of, texts_of, word_of_tokens, words_of

Floats = NDArray[np.float64]


class Reading(NamedTuple):
    """A set as a model wrote it. ``text_of_words`` [W]: whose each word of the references is, and ``forced``, if it is
    a model that reads true words."""

    errors: Errors
    forced: Forced | None
    text_of_words: NDArray[np.int64]
    place_of_words: NDArray[np.int64]  # of each word within its text, from 0

    @property
    def words(self) -> int:
        return len(self.text_of_words)


def spelled(corpus: Corpus, every: Sequence[Sequence[int]]) -> list[str]:
    """Texts of ids without <eos>, as a person writes them."""
    names, join = corpus.names["words"], " " if corpus.names["unit"][0] == "word" else ""
    return [" ".join(join.join(names[index] for index in ids).split()) for ids in every]


def reading(split: Split, found: Sequence[Sequence[int]], forced: Forced | None = None) -> Reading:
    """``found``: the ids that a model wrote of each utterance."""
    space = space_of(split)
    texts = [words_of(ids, space) for ids in texts_of(split)]
    places = np.concatenate([np.arange(len(words)) for words in texts])
    of_words = np.repeat(np.arange(len(texts)), list(map(len, texts)))
    return Reading(errors(texts, [words_of(ids, space) for ids in found]), forced, of_words, places)


def units_of(split: Split, read: Reading) -> dict[str, Floats]:
    """By score, what each word adds to it; what follows a text's last word is paid for with it."""
    units = {"word_error_rate": read.errors.of_words}
    if read.forced is None:
        nothing = np.full(read.words, np.nan)
        return units | {"forced_error": nothing, "cross_entropy": nothing.copy()}
    of_tokens = word_of_tokens(split.tokens, space_of(split))
    counted = np.asarray(split.tokens) != END_ID
    wrong = np.bincount(of_tokens[counted], read.forced.wrong[counted], minlength=read.words) > 0
    nats = np.bincount(of_tokens, read.forced.nats, minlength=read.words).astype(np.float64)
    return units | {"forced_error": wrong.astype(np.float64), "cross_entropy": nats}


def figures(split: Split, read: Reading) -> dict[str, float]:
    """Substitutions, deletions and insertions, as shares of the words, wrong texts, and the perplexity of the text."""
    counts = {name: getattr(read.errors, name) / read.words for name in ("substitutions", "deletions", "insertions")}
    nats = math.nan if read.forced is None else float(read.forced.nats.sum())
    return {
        **counts,
        "text_error_rate": float(read.errors.wrong_texts.mean()),
        "perplexity": perplexity(nats, len(split.tokens)),
    }


def floor_of(split: Split) -> float:
    """The exact nats of a set's texts, where they are known; nan otherwise."""
    return float(np.asarray(split.arrays["costs"]).sum())


def interval_of(units: Floats, clusters: NDArray[Any], resampling: Resampling) -> tuple[float, float, float]:
    """The mean with its interval over ``clusters``."""
    if not np.isfinite(units).all():
        return float(units.mean()), math.nan, math.nan
    return float(units.mean()), *bootstrap_interval(units, clusters, **resampling._asdict())


SETS = ("set", "decoding", "texts", "words", "word_error_rate", "low", "high", "text_error_rate")


def set_row(name: str, decoding: str, read: Reading, resampling: Resampling) -> list[Any]:
    found = interval_of(read.errors.of_words, read.text_of_words, resampling)
    return [name, decoding, len(read.errors.wrong_texts), read.words, *found, float(read.errors.wrong_texts.mean())]


def by_position(read: Reading, resampling: Resampling) -> pd.DataFrame:
    """The error by the place of a word, in texts of the median length."""
    lengths = np.bincount(read.text_of_words)
    common = int(np.quantile(lengths, 0.5, method="nearest"))
    mine = lengths[read.text_of_words] == common
    rows = []
    for place in range(common):
        here = mine & (read.place_of_words == place)
        found = interval_of(read.errors.of_words[here], read.text_of_words[here], resampling)
        rows.append([common, place + 1, *found, int(here.sum())])
    return pd.DataFrame(rows, columns=["length", "position", "word_error_rate", "low", "high", "words"])


def by_speaker(corpus: Corpus, reads: Mapping[str, tuple[Split, Reading]], resampling: Resampling) -> pd.DataFrame:
    """The error of each speaker of each set."""
    rows = []
    for name, (split, read) in reads.items():
        speakers = np.asarray(split.arrays["speakers"])[read.text_of_words]
        for speaker in np.unique(speakers).tolist():
            here = speakers == speaker
            found = interval_of(read.errors.of_words[here], read.text_of_words[here], resampling)
            rows.append([name, corpus.names["speakers"][speaker], *found, int(here.sum())])
    return pd.DataFrame(rows, columns=["set", "speaker", "word_error_rate", "low", "high", "words"])
