"""Made-up text: what a model says that must go on from words of its own, held against the source, which is an oracle.

Tables: own_sentences.csv, each figure with its interval and what a perfect model would reach; own_by_place.csv, how far
from the source the model's next word is, after words of its own and after true ones; and of agreement
own_by_distance.csv, how often verbs agree, in sentences of its own and where it ends a true one.

How far: KL(q || .99 p + .01 q), the skew divergence (Lee 2001), of what the model expects, q, from what the source
does, p: a plain KL(q || p) is infinite, as a softmax leaves no word without a chance. Whoever says what the source says
is at 0, and a word that cannot stand there costs ln 100 times its share.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.special import rel_entr

from unrolled.ground.bootstrap import bootstrap_interval, bootstrap_statistic
from unrolled.ground.corpus import SOURCE, Corpus
from unrolled.ground.evaluation import Resampling
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.source import Listener, Source
from unrolled.tasks.language_model.evaluation import own_agreement
from unrolled.tasks.language_model.evaluation.own_words import (
    Beginnings,
    NoNumbersError,
    Sentences,
    drawn,
    own_words_nats,
)
from unrolled.tasks.language_model.model.network import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SKEW = 0.01  # the share of q in what the source is taken to expect
NOISE = 0.01  # the share of uniform words in p', so that what the source cannot write has a probability too
OCTAVES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # each bin of places, or distances, begins at one
ROUNDING = 1e-9  # nats a prefix that are none
FEW = 50  # prefixes in a bin, with fewer of which it says nothing of the price


class Places(NamedTuple):
    """Of each word of several sentences [T, N]; 0 behind their ends."""

    model: Floats  # ln q
    source: Floats  # ln p; -inf from the first word on that the source could not have written
    apart: Floats  # how far what the model expects there is from what the source does; nan once that is nothing
    verbs: Floats  # q of one word that is asked of each sentence, wherever it would stand
    first: Ints  # the likeliest word


@torch.inference_mode()
def held_against(
    network: Network, source: Source, beginnings: Beginnings, known: Any, text: Sentences, asked: Ints
) -> Places:
    """What network and source expect at each place of a sentence at each beginning; ``asked``: [N].

    ``known``: what the source's state is where each begins, see `states_after`.

    NoNumbersError for a network that predicts none.
    """
    shape = text.tokens.shape
    model, source_too, apart, verbs = np.zeros((4, *shape))
    found = Places(model, source_too, apart, verbs, np.zeros(shape, dtype=np.int64))
    for places, batch in text.batches():
        voice, listener = beginnings.voice(network, places), Listener(source, known[places])
        words = torch.full((len(places),), END_ID)
        for place in range(len(batch.tokens)):
            on = batch.going_on(place)
            voice.keep(slice(on))
            listener.keep(on)
            own = torch.log_softmax(voice.reads(words[:on]).double(), -1).numpy()
            if np.isnan(own).any():
                raise NoNumbersError
            said, columns, rows = batch.tokens[place, :on], places[:on], np.arange(on)
            expected, share = listener.expects(), np.exp(own)
            away = rel_entr(share, (1 - SKEW) * expected + SKEW * share).sum(axis=1)
            found.apart[place, columns] = np.where(expected.any(axis=1), away, np.nan)
            found.model[place, columns] = own[rows, said]
            found.verbs[place, columns] = share[rows, asked[columns]]
            found.first[place, columns] = own.argmax(axis=1)
            with np.errstate(divide="ignore"):
                found.source[place, columns] = np.log(listener.reads(said))
            words = torch.from_numpy(said)
    return found


def states_after(source: Source, text: Sentences) -> Any:
    """p(state | all of it) of each, sparse [N, S]; each begins with a sentence."""
    order, found = [], []
    for places, batch in text.batches():
        listener = Listener.anew(source, len(places))
        for place in range(len(batch.tokens)):
            listener.reads(batch.tokens[place, : batch.going_on(place)])
            done = slice(batch.going_on(place + 1), batch.going_on(place))
            order.append(places[done])
            found.append(listener.states[done])
            listener.keep(batch.going_on(place + 1))
    return sp.vstack(found).tocsr()[np.argsort(np.concatenate(order))]


def against_the_source(
    network: Network, corpus: Corpus, source: Source, nats: Floats, settings: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """``nats``: of the test split's tokens by the forward head, as the network reads: carried on, or anew.

    Who reads each sentence from a zero state is held against the source that knows of nothing before it either. No
    table where no sentence of the test split has enough before it. NoNumbersError as in `drawn`.
    """
    arrays, seed = corpus.test.arrays, settings["seed"]
    start = Beginnings.of(network, corpus.test.tokens, settings["own_sentences"])
    if not len(start):
        return {}
    own, asked = drawn(network, start, seed=seed), own_agreement.agreeing_verbs(arrays, start.text)
    anew = network.anew
    known = Listener.anew(source, len(start)).states if anew else states_after(source, start.before)
    true_places, own_places = (held_against(network, source, start, known, each, asked) for each in (start.text, own))
    ends = np.flatnonzero(np.asarray(corpus.test.tokens) == END_ID)
    figures = _Figures(Resampling.of(settings))
    floor = np.asarray(arrays["reset" if anew else "causal"], dtype=np.float64)
    entropy, first = arrays.get(f"{SOURCE}.sentence_nats", _of_text(floor, ends))
    least = float(arrays[f"{SOURCE}.own_words_nats"][0]) if anew or forgets(arrays, ends) else math.nan
    figures.add("own_words_nats", own_words_nats(network, start, seed=seed), least)
    figures.add("forced_nats", _behind(nats, ends), entropy - first)
    figures.add("forward_kl", _sums(nats - floor, ends), 0.0)
    _add_own(figures, own, own_places, len(corpus.counts), float(entropy), float(np.diff(ends, prepend=-1).mean()))
    by_place, price = _by_place(start.text, true_places, own, own_places, figures.resampling)
    figures.rows.append({"figure": "prefix_price", **price, "perfect": 0.0})
    tables = {"own_by_place": by_place}
    if f"{SOURCE}.roles" in arrays:
        verbs = own_agreement.Verbs(arrays, start.text, true_places.verbs, true_places.first)
        tables["own_by_distance"] = verbs.by_distance(own, figures.resampling)
        for name, units, perfect in verbs.figures(own):
            figures.add(name, units, perfect)
    return {"own_sentences": pd.DataFrame(figures.rows), **tables}


def forgets(arrays: Mapping[str, Any], ends: Ints) -> bool:
    """Whether what stands before a sentence tells nothing of it; of the first, which may start otherwise, none does.

    ``ends``: the places of the <eos>.
    """
    later = slice(int(ends[0]) + 1, None)
    return bool(np.allclose(arrays["causal"][later], arrays["reset"][later]))


def _add_own(
    figures: "_Figures", own: Sentences, places: Places, types: int, entropy: float, tokens_a_sentence: float
) -> None:
    """Of the sentences of its own."""
    model, source = places.model.sum(axis=0), places.source.sum(axis=0)
    grammatical = np.isfinite(source) & own.finished
    figures.add("reverse_kl", model - _mixed(source, own, types, tokens_a_sentence), 0.0)
    figures.add("grammatical", grammatical.astype(np.float64), 1.0)
    figures.add("grammatical_nats", -source[grammatical], entropy)
    figures.add("own_tokens", own.lengths.astype(np.float64), tokens_a_sentence)


def _mixed(source: Floats, own: Sentences, types: int, tokens_a_sentence: float) -> Floats:
    """ln p'(sentence), p' = .99 p + .01 u; u: words drawn uniformly, <eos> as often as in the text.

    One that has not ended has the probability of all that begin so, of p as of u.
    """
    stop = 1 / tokens_a_sentence
    words = own.lengths - own.finished
    uniform = words * (math.log1p(-stop) - math.log(types - 1)) + own.finished * math.log(stop)
    return np.asarray(np.logaddexp(math.log1p(-NOISE) + source, math.log(NOISE) + uniform))


class _Figures:
    """Rows of own_sentences.csv: means over sentences, of which intervals resample the sentences."""

    def __init__(self, resampling: Resampling) -> None:
        self.resampling, self.rows = resampling, list[dict[str, Any]]()

    def add(self, name: str, units: Floats, perfect: float) -> None:
        value, low, high = math.nan, math.nan, math.nan
        if len(units):
            value = float(units.mean())
            low, high = bootstrap_interval(units, np.arange(len(units)), **self.resampling._asdict())
        row = {"figure": name, "sentences": len(units), "value": value, "low": low, "high": high}
        self.rows.append(row | {"perfect": float(perfect)})


def _sums(nats: Floats, ends: Ints) -> Floats:
    """Of each sentence."""
    starts = np.concatenate(([0], ends[:-1] + 1))
    return np.asarray(np.add.reduceat(np.asarray(nats, dtype=np.float64)[: ends[-1] + 1], starts))


def _behind(nats: Floats, ends: Ints) -> Floats:
    """Of each sentence, behind its first word."""
    return _sums(nats, ends) - np.asarray(nats, dtype=np.float64)[np.concatenate(([0], ends[:-1] + 1))]


def _of_text(floor: Floats, ends: Ints) -> tuple[float, float]:
    """Nats of a sentence and of its first word, in the mean over the text: where there is no closed form."""
    total, behind = float(_sums(floor, ends).mean()), float(_behind(floor, ends).mean())
    return total, total - behind


def octave(numbers: Ints) -> Ints:
    """The bin of OCTAVES, from 0 on."""
    return np.asarray(np.clip(np.digitize(numbers, OCTAVES) - 1, 0, None))


def _by_place(
    text: Sentences, true: Places, own: Sentences, drawn_places: Places, resampling: Resampling
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """How far apart by place, over prefixes that the source can have written; and what own prefixes cost.

    The price, in percent: own prefixes' mean of each bin over that of true prefixes, weighted by how many of the latter
    it holds (the excess accumulated error of Arora et al. 2022, with the source itself as the oracle).
    """
    sides = {"own": _binned(own, drawn_places), "true": _binned(text, true)}
    rows = []
    for number, first in enumerate(OCTAVES):
        row: dict[str, Any] = {"first": first, "last": 2 * first - 1}
        for name, (counts, sums) in sides.items():
            prefixes = counts[:, number].sum()
            value = sums[:, number].sum() / prefixes if prefixes else math.nan
            off = sums[:, number] - value * counts[:, number]  # the standard error of a ratio of two sums
            error = math.sqrt(float(np.square(off).sum())) / prefixes if prefixes else math.nan
            row |= {f"{name}_prefixes": int(prefixes), name: value, f"{name}_error": error}
        rows.append(row)
    frame = pd.DataFrame(rows)
    used = ((frame["own_prefixes"] >= FEW) & (frame["true_prefixes"] >= FEW)).to_numpy()
    price = _price(np.stack([*sides["own"], *sides["true"]])[:, :, used], resampling)
    frame = frame[(frame["own_prefixes"] > 0) | (frame["true_prefixes"] > 0)]
    return frame, {"sentences": len(text.lengths)} | price


def _binned(text: Sentences, places: Places) -> tuple[Floats, Floats]:
    """Of each sentence by octave of places [N, K]: how many prefixes the source can have written, summed divergence."""
    bins = octave(np.arange(1, len(text.tokens) + 1))
    inside = (np.arange(len(text.tokens))[:, None] < text.lengths) & np.isfinite(places.apart)
    counts, sums = np.zeros((2, len(text.lengths), len(OCTAVES)))
    for number in range(len(OCTAVES)):
        mine = bins == number
        counts[:, number] = inside[mine].sum(axis=0)
        sums[:, number] = np.where(inside[mine], places.apart[mine], 0.0).sum(axis=0)
    return counts, sums


def _price(sides: Floats, resampling: Resampling) -> dict[str, float]:
    """100 (sum A / sum B - 1), of own and true counts and sums [4, N, K], as `_binned` has them.

    The i-th sentence of its own is resampled with the i-th true one. Who is nowhere away from the source pays nothing.
    """
    if (sides[[1, 3]].sum(axis=(1, 2)) <= ROUNDING * sides[[0, 2]].sum(axis=(1, 2))).all():
        return dict.fromkeys(("value", "low", "high"), 0.0 if sides[2].any() else math.nan)
    if not sides[3].any():
        return dict.fromkeys(("value", "low", "high"), math.nan)

    def ratio(means: Floats) -> float:
        counts, sums, weights, true = np.split(means, 4)
        there = counts > 0
        return float(100 * ((sums[there] / counts[there] * weights[there]).sum() / true[there].sum() - 1))

    units = np.concatenate(list(sides), axis=1)
    found, (low, high) = bootstrap_statistic(units, np.arange(len(units)), ratio, **resampling._asdict())
    return {"value": found, "low": low, "high": high}
