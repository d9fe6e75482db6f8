"""Sentences in which one word must be remembered: `subject_j filler^d cue verb_i <eos>`.

The subject j is one of K; a rate r is one of R; the distance d is geometric with the mean of that rate, and each rate
has fillers of its own. The verb agrees (i = j) with probability 1 - noise, else it is one of the K - 1 others. Every
choice is uniform. So the last filler says all that a text so far says of the next token, the cue says that the verb is
due, and nothing but the subject must be remembered, over d fillers and the cue: what is lost on the way is seen at the
verb alone.

What each token costs at the least, all costs in nats, with lam_r = 1 / mean_r, L = sum of lam_r:

             reading forward                                       seeing both sides
    subject  ln K                                                  as its verb, which it is read off
    filler   first: ln R + ln fillers; later: -ln(1 - lam) + ...   ln fillers; the only one: + ln(L / lam)
    cue      -ln lam                                               0
    verb     -ln(1 - noise), or -ln(noise / (K - 1))               the same
    <eos>    0                                                     0
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import entr

from unrolled.corpus.sources.filtering import Floats, Ints
from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.corpus.sources.probabilities import checked_text
from unrolled.shell.errors import UserError

NEGLIGIBLE = 1e-20  # the share of sentences that are longer than any that is counted


class Role(IntEnum):
    """What a token is in its sentence."""

    SUBJECT, FILLER, CUE, VERB, END = range(5)


class Costs(NamedTuple):
    """Of each token [T] its role, its distance (of a verb its number of fillers, else 0), and its floors in nats."""

    roles: npt.NDArray[np.int8]
    distances: Ints
    causal: Floats
    smoothing: Floats


@dataclass(frozen=True)
class Agreement:
    """The source with K ``classes``, a rate for each mean of ``distances``, and so many ``fillers`` for each rate.

    Raises UserError for what is no such source.
    """

    classes: int
    noise: float
    distances: tuple[float, ...]
    fillers: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UserError(f"agreement needs 2 classes or more, not {self.classes}: one subject tells nothing")
        if not 0 <= self.noise < 1:
            raise UserError(f"the noise of agreement is a probability below 1, not {self.noise:g}")
        if not self.distances:
            raise UserError("agreement needs the mean of at least one distance")
        for mean in self.distances:
            if not 1 <= mean < math.inf:
                raise UserError(f"a mean distance is 1 or more, not {mean:g}: there is at least one filler")
        if self.fillers < 1:
            raise UserError(f"agreement needs 1 filler a rate or more, not {self.fillers}")

    @property
    def words(self) -> list[str]:
        """By role: subjects, fillers by rate, the cue, verbs, <eos>; so a token is a place in here."""
        fillers = [f"filler{r}.{i}" for r in range(1, self._rates + 1) for i in range(1, self.fillers + 1)]
        subjects, verbs = ([f"{role}{j}" for j in range(1, self.classes + 1)] for role in ("subject", "verb"))
        return [*subjects, *fillers, "cue", *verbs, "<eos>"]

    def draw(self, sentences: int, generator: np.random.Generator) -> Ints:
        """The tokens of so many sentences."""
        subjects = generator.integers(self.classes, size=sentences)
        rates = generator.integers(self._rates, size=sentences)
        distances = generator.geometric(self._stops[rates])
        others = (subjects + generator.integers(1, self.classes, size=sentences)) % self.classes
        verbs = np.where(generator.random(sentences) < self.noise, others, subjects)
        ends = (distances + 4).cumsum() - 1
        # Fillers everywhere, and the rest put in their midst.
        tokens = generator.integers(self.fillers, size=int((distances + 4).sum()))
        tokens += self.classes + self.fillers * np.repeat(rates, distances + 4)
        tokens[ends - distances - 3] = subjects
        tokens[ends - 2] = self._cue
        tokens[ends - 1] = self._cue + 1 + verbs
        tokens[ends] = self._cue + 1 + self.classes
        return tokens

    def costs(self, tokens: npt.ArrayLike) -> Costs:
        """What each token of a text costs at the least; the last sentence need not be whole.

        Raises UserError for the first token that the source cannot have written.
        """
        text = checked_text(tokens, self.words)
        roles = self._roles[text]
        places = np.arange(len(text))
        subject_at = np.maximum.accumulate(np.where(roles == Role.SUBJECT, places, 0))
        agrees = text[subject_at] == text - self._cue - 1
        causal = self._causal(text, roles, agrees)
        impossible = np.flatnonzero(~np.isfinite(causal))
        if len(impossible):
            word = self.words[text[impossible[0]]]
            raise UserError(f"token {impossible[0]} of the text, {word!r}, cannot stand there in a text of agreement")
        distances = np.where(roles == Role.VERB, places - subject_at - 2, 0)
        return Costs(roles, distances, causal, self._smoothing(text, roles, causal))

    def _causal(self, text: Ints, roles: npt.NDArray[np.int8], agrees: npt.NDArray[np.bool_]) -> Floats:
        """inf where a token cannot stand."""
        before = np.concatenate(([Role.END], roles[:-1]))[: len(text)]
        rates = self._rate_of(text)
        going_on = (before == Role.FILLER) & (rates == np.concatenate(([-1], rates[:-1]))[: len(text)])
        stops = self._stops[rates]
        stops_before = np.concatenate(([1.0], stops[:-1]))[: len(text)]
        with np.errstate(divide="ignore"):
            verb = np.where(agrees, -np.log1p(-self.noise), -np.log(self.noise / (self.classes - 1)))
            later = np.where(going_on, -np.log1p(-stops), np.inf)
        first = np.where(before == Role.SUBJECT, math.log(self._rates), later)
        of_role = (
            np.where(before == Role.END, math.log(self.classes), np.inf),
            first + math.log(self.fillers),
            np.where(before == Role.FILLER, -np.log(stops_before), np.inf),
            np.where(before == Role.CUE, verb, np.inf),
            np.where(before == Role.VERB, 0.0, np.inf),
        )
        return np.asarray(np.choose(roles, of_role), dtype=np.float64)

    def _smoothing(self, text: Ints, roles: npt.NDArray[np.int8], causal: Floats) -> Floats:
        ends = np.flatnonzero(roles == Role.END)
        starts = np.concatenate(([0], ends[:-1] + 1))[: len(ends)]
        nats = np.where(roles == Role.FILLER, math.log(self.fillers), 0.0)
        nats[starts] = nats[ends - 1] = causal[ends - 1]
        only = starts[ends - starts == 4] + 1
        nats[only] += np.log(self._stops.sum() / self._stops[self._rate_of(text[only])])
        whole = int(ends[-1]) + 1 if len(ends) else 0
        if whole < len(text):  # its rest is unknown: a verb may be missing, and the number of fillers too
            nats[whole:] = self.hidden_markov().smoothing_nats(text[whole:])
        return nats

    def hidden_markov(self) -> HiddenMarkov:
        """The same source with the same words, a state for what is remembered and what is said: 2K + KR + K + 1."""
        k, r = self.classes, self._rates
        subjects, cues, verbs, end = np.arange(k), np.arange(k) + k + k * r, np.arange(k) + 2 * k + k * r, 3 * k + k * r
        fillers = k + np.arange(k * r).reshape(k, r)
        agrees = np.where(np.eye(k, dtype=bool), 1 - self.noise, self.noise / (k - 1))
        stops = np.broadcast_to(self._stops, (k, r))
        steps = [
            (subjects[:, None], fillers, np.full((k, r), 1 / r)),
            (fillers, fillers, 1 - stops),
            (fillers, cues[:, None], stops),
            (cues[:, None], verbs[None], agrees),
            (verbs, np.array(end), np.ones(k)),
            (np.array(end), subjects, np.full(k, 1 / k)),
        ]
        says = [
            (subjects, subjects, np.ones(k)),
            (fillers[..., None], self._cue - r * self.fillers + np.arange(r * self.fillers).reshape(r, self.fillers),
             np.full((k, r, self.fillers), 1 / self.fillers)),
            (cues, np.array(self._cue), np.ones(k)),
            (verbs, self._cue + 1 + np.arange(k), np.ones(k)),
            (np.array([end]), np.array(self._cue + 1 + k), np.ones(1)),
        ]  # fmt: skip
        start = np.where(np.arange(end + 1) < k, 1 / k, 0.0)
        return HiddenMarkov(start, _table(steps, end + 1), _table(says, end + 1, len(self.words)), self.words)

    @property
    def tokens_a_sentence(self) -> float:
        return float(np.mean(self.distances)) + 4

    @property
    def information(self) -> float:
        """What the subject says of the verb: the nats that a model loses at each verb if it remembers nothing."""
        return math.log(self.classes) - self._verb_nats

    @property
    def causal_rate(self) -> float:
        """Nats a token of a model that reads forward: the entropy rate."""
        going_on = (entr(self._stops) + entr(1 - self._stops)) / self._stops
        fillers = np.mean(self.distances) * math.log(self.fillers)
        choices = math.log(self.classes) + math.log(self._rates)
        return float(choices + np.mean(going_on) + fillers + self._verb_nats) / self.tokens_a_sentence

    @property
    def smoothing_rate(self) -> float:
        """Nats a token of a model that sees both sides."""
        fillers = np.mean(self.distances) * math.log(self.fillers)
        only = self._stops.mean() * entr(self._stops / self._stops.sum()).sum()
        return float(2 * self._verb_nats + fillers + only) / self.tokens_a_sentence

    def ngram_rate(self, n: int) -> float:
        """Nats a token of a model that sees the n - 1 tokens before, the subject among them where d <= n - 3."""
        if n < 2:
            raise ValueError(f"the closed form is of n-grams from 2 tokens on, not {n}")
        further = np.mean((1 - self._stops) ** max(n - 3, 0))
        return self.causal_rate + float(further) * self.information / self.tokens_a_sentence

    @property
    def memoryless_rate(self) -> float:
        """Nats a token of a model that knows all but the subject at the verb."""
        return self.ngram_rate(2)

    @property
    def own_words_nats(self) -> float:
        """Nats a sentence behind its subject, at the least, if a model must go on from words of its own.

        Those say nothing of the words that it is compared with. So all that it can know is the subject, the place t
        and that the sentence goes on there: the sum over t of p(length >= t) H(w_t | subject).
        Takes time and memory of some 50 numbers for each filler of the largest mean.
        """
        longest = max(1, math.ceil(math.log(NEGLIGIBLE) / math.log1p(-self._stops.min()))) if self._largest > 1 else 1
        going_on = (1 - self._stops) ** np.arange(longest)[:, None] / self._rates  # p(r, d >= t)
        none = np.zeros(longest + 3)
        fillers, cue, verb, end = none, none.copy(), none.copy(), none.copy()
        fillers[:longest] = self.fillers * entr(going_on / self.fillers).sum(axis=1)
        cue[1 : longest + 1] = verb[2 : longest + 2] = end[3:] = going_on @ self._stops
        verbs = entr(verb * (1 - self.noise)) + (self.classes - 1) * entr(verb * self.noise / (self.classes - 1))
        lasting = cue + verb + end
        lasting[:longest] += going_on.sum(axis=1)
        return float((fillers + entr(cue) + verbs + entr(end) - entr(lasting)).sum())

    @property
    def sentence_nats(self) -> float:
        """The entropy of a sentence."""
        return self.causal_rate * self.tokens_a_sentence

    def of_words(self) -> dict[str, Ints | Floats]:
        """By the names in `corpus/made_up.py`: role and class of each word, and what is known of a sentence."""
        kinds = np.zeros(len(self.words), dtype=np.int64)
        kinds[: self.classes] = kinds[self._cue + 1 : -1] = np.arange(self.classes)
        nats, agrees = np.array([self.sentence_nats, math.log(self.classes)]), np.array([1 - self.noise])
        return {"roles": self._roles.astype(np.int64), "classes": kinds, "sentence_nats": nats, "agreement": agrees}

    @property
    def _rates(self) -> int:
        return len(self.distances)

    @property
    def _largest(self) -> float:
        return max(self.distances)

    @cached_property
    def _stops(self) -> Floats:
        """lam, by rate."""
        return 1 / np.array(self.distances, dtype=np.float64)

    @property
    def _verb_nats(self) -> float:
        return float(entr(1 - self.noise) + (self.classes - 1) * entr(self.noise / (self.classes - 1)))

    @property
    def _cue(self) -> int:
        """The token of the cue: it parts those that are counted from the front from those behind it."""
        return self.classes + self._rates * self.fillers

    @property
    def _roles(self) -> npt.NDArray[np.int8]:
        sizes = [self.classes, self._rates * self.fillers, 1, self.classes, 1]
        return np.repeat(np.arange(len(Role), dtype=np.int8), sizes)

    def _rate_of(self, text: Ints) -> Ints:
        """Of a filler its rate, of other tokens any."""
        return np.clip((text - self.classes) // self.fillers, 0, self._rates - 1)


def mixed() -> Agreement:
    """Distances of all sizes, of which the short ones teach what the long ones need: recall by distance is a curve."""
    return Agreement(classes=4, noise=0.1, distances=(1, 2, 4, 8, 16, 32, 64), fillers=2)


def far(distance: float) -> Agreement:
    """One mean distance, which a model learns to bridge or does not."""
    return Agreement(classes=4, noise=0.1, distances=(distance,), fillers=8)


def _table(entries: list[tuple[Ints, Ints, Floats]], rows: int, columns: int | None = None) -> sp.csr_array:
    """A sparse array of blocks (rows, columns, values), each of arrays that go together."""
    blocks = [[each.ravel() for each in np.broadcast_arrays(*block)] for block in entries]
    row, column, value = (np.concatenate(each) for each in zip(*blocks, strict=True))
    return sp.csr_array((value, (row, column)), shape=(rows, columns or rows))
