"""Sentences about a topic that stays: each topic has words that it prefers, and outlives the sentence.

No token says for sure which topic it is, so that there is no closed form: a model must weigh what it has read, the
older the less. Here it is right to forget, and a model that is started anew at each sentence pays for it.
"""

import math

import numpy as np

from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.shell.errors import UserError


def topics(*, states: int, words: int, stay: float, noise: float, end: float) -> HiddenMarkov:
    """``states`` topics, each lasting ``stay`` tokens in the mean, then one of the others.

    Each token is <eos> with probability ``end``, else a word: with probability ``noise`` one of the other topics', else
    of the topic's own, of which each topic has as many. The last of the source's words is <eos>.
    Raises UserError for what is no such source.
    """
    if states < 2 or words < states or words % states:
        raise UserError(f"topics are 2 or more and share the words evenly; {words} words for {states} topics do not")
    if not 1 <= stay < math.inf:
        raise UserError(f"a topic stays for 1 token or more in the mean, not {stay:g}")
    if not 0 <= noise <= 1 or not 0 < end < 1:
        raise UserError(f"topics have a noise from 0 to 1 and an end between 0 and 1, not {noise:g} and {end:g}")
    size = words // states
    same = np.eye(states, dtype=bool)
    own = np.repeat(same, size, axis=1)
    said = (1 - end) * np.where(own, (1 - noise) / size, noise / (words - size))
    return HiddenMarkov(
        start=np.full(states, 1 / states),
        transitions=np.where(same, 1 - 1 / stay, 1 / (stay * (states - 1))),
        emissions=np.hstack((said, np.full((states, 1), end))),
        words=[f"word{topic}.{i}" for topic in range(1, states + 1) for i in range(1, size + 1)] + ["<eos>"],
    )
