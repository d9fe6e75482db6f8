"""Agreement: whether the verbs agree that a model says, in sentences of its own and at the end of true ones."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.corpus import SOURCE
from unrolled.ground.evaluation import Resampling
from unrolled.tasks.language_model.evaluation.own_words import Sentences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUBJECT, VERB = 0, 3  # of the roles of agreement
NEAREST = (1, 2, 4, 8, 16, 32, 64, 128)  # each bin of distances begins at one


def agreeing_verbs(arrays: Mapping[str, Any], text: Sentences) -> Ints:
    """The id of the verb that agrees with the first word of each sentence [N]; 0 of other text than agreement."""
    if f"{SOURCE}.roles" not in arrays:
        return np.zeros(len(text.lengths), dtype=np.int64)
    roles, classes, ids = (np.asarray(arrays[f"{SOURCE}.{name}"]) for name in ("roles", "classes", "ids"))
    verbs = dict(zip(classes[roles == VERB].tolist(), ids[roles == VERB].tolist(), strict=True))
    of = {word: verbs[kind] for word, kind, role in zip(ids, classes, roles, strict=True) if role == SUBJECT}
    return np.array([of.get(word, 0) for word in text.tokens[0].tolist()], dtype=np.int64)


class Verbs:
    """Verbs that a model says: ``expected`` q of the agreeing one, ``first`` the likeliest word, [T, N] both."""

    def __init__(self, arrays: Mapping[str, Any], text: Sentences, expected: Floats, first: Ints) -> None:
        self._arrays = arrays
        self._perfect = float(arrays[f"{SOURCE}.agreement"][0])
        columns, places = np.arange(len(text.lengths)), text.lengths - 2  # `verb <eos>` ends each
        self._finish, self._true = expected[places, columns], places - 2
        self._greedy = (first[places, columns] == agreeing_verbs(arrays, text)).astype(np.float64)

    def figures(self, own: Sentences) -> Iterator[tuple[str, Floats, float]]:
        """Name, of each sentence a unit, and what a perfect model would reach."""
        distances, agree = self._said(own)
        yield "own_agreement", agree, self._perfect
        yield "own_distance", distances.astype(np.float64), float(self._true.mean())
        yield "finish_accuracy", self._finish, self._perfect
        yield "greedy_accuracy", self._greedy, 1.0

    def by_distance(self, own: Sentences, resampling: Resampling) -> pd.DataFrame:
        """How often the verb agrees in own sentences; how likely it does where the model ends a true one."""
        distances, agree = self._said(own)
        rows = []
        for number, shortest in enumerate(NEAREST):
            longest = NEAREST[number + 1] - 1 if number + 1 < len(NEAREST) else math.inf
            row: dict[str, Any] = {"shortest": shortest, "longest": longest}
            for name, of, units in (("own", distances, agree), ("finish", self._true, self._finish)):
                row |= _mean(name, units[(np.maximum(of, 1) >= shortest) & (of <= longest)], resampling)
            rows.append(row)
        return pd.DataFrame(rows)

    def _said(self, own: Sentences) -> tuple[Ints, Floats]:
        """Of sentences that begin with a subject and have a verb, the words between them but one, and if they agree.

        Between the two of a grammatical sentence stand fillers and the cue; those of another count too, so that who
        keeps the class and loses the grammar shows as just that.
        """
        roles, classes, ids = (np.asarray(self._arrays[f"{SOURCE}.{name}"]) for name in ("roles", "classes", "ids"))
        role, kind = np.full((2, ids.max() + 1), -1)
        role[ids], kind[ids] = roles, classes
        said = role[np.minimum(own.tokens, len(role) - 1)]
        verbs = (said == VERB) & (np.arange(len(said))[:, None] < own.lengths)
        whole = (said[0] == SUBJECT) & verbs.any(axis=0)
        place = verbs.argmax(axis=0)[whole]
        agree = kind[own.tokens[0, whole]] == kind[own.tokens[place, np.flatnonzero(whole)]]
        return place - 2, agree.astype(np.float64)


def _mean(name: str, units: Floats, resampling: Resampling) -> dict[str, Any]:
    low, high, value = math.nan, math.nan, math.nan
    if len(units):
        value = float(units.mean())
        low, high = bootstrap_interval(units, np.arange(len(units)), **resampling._asdict())
    return {f"{name}_sentences": len(units), name: value, f"{name}_low": low, f"{name}_high": high}
