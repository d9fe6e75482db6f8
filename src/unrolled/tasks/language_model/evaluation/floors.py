"""Made-up text: what a model pays beyond the least that its tokens can cost, and over how many words it remembers.

The floor is that of the very tokens of the test split: the difference varies a hundredth as much as the nats do. A head
that reads forward is compared with p(x_t | x_<t), one that reads backward with p(x_t | x_>t), both joined with
p(x_t | all others), an n-gram model with that of its order, one that starts anew at each sentence with that too.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.ground.bootstrap import bootstrap_interval, bootstrap_statistic
from unrolled.ground.corpus import Split
from unrolled.ground.evaluation import Resampling
from unrolled.scoring.checks import fail
from unrolled.tasks.language_model.evaluation.scores import RESET

Nats = NDArray[Any]

FLOORS = {  # score: the floor under it, and what is paid beyond it
    "forward_perplexity": ("causal", "forward_excess"),
    "backward_perplexity": ("backward", "backward_excess"),
    "pseudo_perplexity": ("smoothing", "joined_excess"),
    RESET: ("reset", "reset_excess"),
}
EXCESS = {score: name for score, (_, name) in FLOORS.items()}
# Whatever more they use, all stands before a token.
FORWARD = ("forward", "reset", "interpolated", "temperature", "cache", "dynamic")
LEAST = {f"{name}_perplexity": "causal" for name in FORWARD} | {
    "backward_perplexity": "backward",
    "pseudo_perplexity": "smoothing",
}
ROLES = ("subject", "filler", "cue", "verb", "end")  # of the tokens of agreement, by their number
VERB = ROLES.index("verb")
ROUNDING = 1e-4  # nats a token that a head in single precision may seem to save
LUCK = math.log(1000)  # nats that an honest model saves on a whole text by luck, in a text of a thousand at the most
FEW = 50  # verbs in a bin, with which recall is known to 0.15 or so
BINS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # each bin of distances begins at one


def excess(split: Split, nats: Mapping[str, Nats], order: int | None = None) -> dict[str, Nats]:
    """By the name of a score, nats beyond the floor of each token [N]; nothing of a text whose floor is not known.

    ``nats``: by score. ``order``: of an n-gram model, whose floor is its own.
    """
    if "causal" not in split.arrays:
        return {}
    if order is not None:
        floors = np.asarray(split.arrays["ngrams"])
        known = order <= floors.shape[1]
        return {"forward_excess": nats["forward_perplexity"] - floors[:, order - 1]} if known else {}
    return {
        name: nats[score] - np.asarray(split.arrays[floor]) for score, (floor, name) in FLOORS.items() if score in nats
    }


def no_head_beats_its_floor(split: Split, nats: Mapping[str, Nats], settings: Mapping[str, Any]) -> None:
    """An interval wholly below 0 says that a target was seen, or a token not scored: no model can expect it.

    All that read forward are compared with p(x_t | x_<t): a text of slow changes may happen to be as that of training
    was, and a model that knows of it pays less than the floor of one that has read less and knows of none. Nor can the
    savings be luck: where q is a model, exp(saved nats) = q(text) / p(text) is 1 in expectation, so they reach LUCK
    with a probability of 1/1000 at the most (Markov's inequality); an interval knows nothing of words so rare that the
    text has none.
    """
    if "causal" not in split.arrays:
        return
    for score, floor in LEAST.items():
        if score in nats:
            paid = nats[score] - np.asarray(split.arrays[floor])
            interval = bootstrap_interval(paid, split.document_of_tokens(), **Resampling.of(settings)._asdict())
            if interval.high < -ROUNDING and paid.sum() < -LUCK:
                name = EXCESS.get(score, score.replace("perplexity", "excess")).replace("_", " ")
                said = f"{name} {float(paid.mean()):.4f} nats a token, at most {interval.high:.4f}"
                fail("no model pays less than the floor of its text", said)


def tables(
    split: Split, nats: Nats, found: Mapping[str, Nats], settings: Mapping[str, Any], main: str = "forward_excess"
) -> dict[str, pd.DataFrame]:
    """Of agreement: the forward head's excess by role, and its recall by distance; nothing of other text.

    No recall where verbs are so few, or so noisy, that it cannot be seen how much their subjects say of them.
    ``nats``: the forward head's, as ``main`` is its excess.
    """
    if "roles" not in split.arrays or "forward_excess" not in found:
        return {}
    by_role = {"by_role": _by_role(split, found, settings, main)}
    return by_role | ({"recall": _recall(split, nats, settings)} if _subjects_tell(split) else {})


def _by_role(split: Split, found: Mapping[str, Nats], settings: Mapping[str, Any], main: str) -> pd.DataFrame:
    roles, clusters, resampling = np.asarray(split.arrays["roles"]), split.document_of_tokens(), Resampling.of(settings)
    rows = []
    for number, role in enumerate(ROLES):
        mine = roles == number
        low, high = bootstrap_interval(found[main][mine], clusters[mine], **resampling._asdict())
        row = {"role": role, "tokens": int(mine.sum()), "floor": float(split.arrays["causal"][mine].mean())}
        row |= {"forward_excess": float(found[main][mine].mean()), "low": low, "high": high}
        joined = found.get("joined_excess")
        rows.append(row | {"joined_excess": math.nan if joined is None else float(joined[mine].mean())})
    return pd.DataFrame(rows)


def _recall(split: Split, nats: Nats, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Recall by distance, 1 - excess / information: 1 is all that the subject says of the verb, 0 is nothing.

    Times the information, it bounds from below what is carried (Barber & Agakov 2003).
    """
    distances, paid, clusters, told = _verbs(split, nats)
    place, resampling = _bins(distances), Resampling.of(settings)
    rows = []
    for number in np.unique(place).tolist():
        mine = place == number
        low, high = bootstrap_interval(paid[mine], clusters[mine], **resampling._asdict())
        ends = 1 - np.array([paid[mine].mean(), high, low]) / told
        row = {"shortest": int(distances[mine].min()), "longest": int(distances[mine].max()), "verbs": int(mine.sum())}
        rows.append(row | dict(zip(("recall", "low", "high"), ends.tolist(), strict=True)))
    return pd.DataFrame(rows)


def span(split: Split, nats: Nats, settings: Mapping[str, Any]) -> dict[str, float]:
    """What is remembered of the subjects, in numbers; nothing of other text than agreement, or where `tables` has none.

    `memory_span`, with its interval: the distance at which recall falls below one half. That is the first time: far
    out there are few verbs, and one that does not agree looks like recall to who has forgotten. Where it does not
    fall, the middle of the farthest bin; 0 where it is less from the beginning; between two bins the logarithm of the
    distance is interpolated.
    `recall`: at all verbs together. `effective_order`: the smallest n of an n-gram model that at the best loses as
    little at the verbs; it loses all of those farther than n - 3 words from their subjects.
    ``nats``: the forward head's.
    """
    if "roles" not in split.arrays or not _subjects_tell(split):
        return {}
    distances, paid, clusters, told = _verbs(split, nats)
    place = _bins(distances)
    inside = (place[:, None] == np.arange(place.max() + 1)).astype(np.float64)
    centres = np.log(distances) @ inside / inside.sum(axis=0)

    def reached(means: Nats) -> float:
        verbs, sums = np.split(means, 2)
        there = verbs > 0
        return _half(centres[there], 1 - sums[there] / verbs[there] / told)

    units = np.concatenate([inside, np.where(inside > 0, paid[:, None], 0.0)], axis=1)  # paid may be infinite
    found = bootstrap_statistic(units, clusters, reached, **Resampling.of(settings)._asdict())
    spans = dict(zip(("memory_span", "memory_span_low", "memory_span_high"), (found[0], *found[1]), strict=True))
    lost = float(paid.mean()) / told
    return {**spans, "recall": 1 - lost, "effective_order": float(_order(distances, lost))}


def _order(distances: NDArray[np.int64], lost: float) -> int:
    """The smallest n of which no larger share than ``lost`` of the verbs is farther than n - 3 words."""
    farther = 1 - np.cumsum(np.bincount(distances)) / len(distances)  # than 0, 1, 2, ... words
    return 3 + int(np.argmax(farther <= max(lost, 0.0) + 1e-9))


def _bins(distances: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each verb's bin, from 0 on; of the farthest, those with fewer than FEW verbs are joined."""
    place = np.digitize(distances, BINS)
    for number in sorted(set(place.tolist()))[:0:-1]:
        if np.count_nonzero(place >= number) >= FEW:
            break
        place[place >= number] = place[place < number].max()
    joined: NDArray[np.int64] = np.unique(place, return_inverse=True)[1]
    return joined


def _half(log_distances: Nats, recall: Nats) -> float:
    """The distance at which recall falls below one half; the last one where it does not."""
    below = np.flatnonzero(recall < 0.5)
    last = int(below[0]) - 1 if len(below) else len(recall) - 1
    if last < 0:
        return 0.0
    if last == len(recall) - 1:
        return float(np.exp(log_distances[last]))
    part = (recall[last] - 0.5) / (recall[last] - recall[last + 1])
    return float(np.exp(log_distances[last] + part * (log_distances[last + 1] - log_distances[last])))


def _verbs(split: Split, nats: Nats) -> tuple[Nats, Nats, Nats, float]:
    """Of each verb its distance, what is paid beyond the causal floor, its document; and what its subject says of it.

    The latter, in nats, is what a bigram model pays more than one that remembers all, in the mean.
    """
    mine = np.asarray(split.arrays["roles"]) == VERB
    floor, distances = (np.asarray(split.arrays[name])[mine] for name in ("causal", "distances"))
    return distances, nats[mine] - floor, split.document_of_tokens()[mine], float(_told(split).mean())


def _told(split: Split) -> Nats:
    """What the subject says of each verb, in nats."""
    mine = np.asarray(split.arrays["roles"]) == VERB
    told: Nats = np.asarray(split.arrays["ngrams"])[mine, 1] - np.asarray(split.arrays["causal"])[mine]
    return told


def _subjects_tell(split: Split) -> bool:
    """Whether what they say of their verbs, of which recall is a share, is above 0 by two standard errors."""
    told = _told(split)
    return bool(told.mean() > max(2 * told.std() / math.sqrt(len(told)), 1e-9))
