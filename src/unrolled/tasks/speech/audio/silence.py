"""Silence at a recording's ends: longer than any that was trained with, it is left out.

Of each band the mean over an utterance is taken off. Where most of it is silence, the mean is of that, and the words
come out as nothing that training has shown.
"""

import numpy as np
from numpy.typing import NDArray

from unrolled.tasks.speech.corpus.recordings import Samples
from unrolled.tasks.speech.corpus.utterances import EDGES

Floats = NDArray[np.float64]

STRINGS = ("digits", "words")  # corpora that are joined, with silence of EDGES around
PIECE = 0.02  # seconds whose loudness is measured
QUIET, AT_MOST = 0.02, 0.1  # of the loudest piece: what is quieter is silence, what is louder is not
LOUDER = 2.0  # times the quietest tenth of all pieces: between the two, so loud is silence still


def longest_silence(corpus: str) -> float | None:
    """Seconds at each end of what was trained on of a corpus of this name; None where nobody knows."""
    return EDGES[1] if corpus in STRINGS else None


def without_long_silence(samples: Samples, rate: int, longest: float) -> Samples:
    """Of int16 [N] what is left with so many seconds of silence at each end, at the most."""
    size = max(1, round(PIECE * rate))
    count = len(samples) // size
    if not count:
        return samples
    pieces = samples[: count * size].reshape(count, size).astype(np.float64)
    heard = np.flatnonzero(~_silent(np.sqrt(np.square(pieces).mean(1))))
    kept = round(longest * rate)
    return samples[max(0, heard[0] * size - kept) : (heard[-1] + 1) * size + kept]


def _silent(loudness: Floats) -> NDArray[np.bool_]:
    """Which pieces are no louder than the room."""
    loudest, room = loudness.max(), np.quantile(loudness, 0.1)
    return np.asarray(loudness < min(max(QUIET * loudest, LOUDER * room), AT_MOST * loudest))
