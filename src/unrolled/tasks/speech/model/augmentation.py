"""Other voices from those that there are: each training utterance is heard a little differently in each epoch.

Another microphone is none: of each band the mean over an utterance is taken off, here as in all features.

tempo        faster or slower by up to this share: its frames are interpolated along time
vocal_tract  as a longer or shorter throat would say it: the bands are interpolated along pitch, up to this share apart
             (Jaitly & Hinton 2013)
noise        in each band no moment is quieter than up to this share of the way from its quietest to its loudest one, as
             where a microphone hears more than the voice, or the voice is low
masks        so many stretches of bands, and of time, in which nothing is heard (SpecAugment: Park et al. 2019)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.tasks.speech.model.batches import Utterance

MASKED_BANDS, MASKED_TIME = 0.2, 0.1  # at most this share of the bands, or of the time, in one mask
QUIETEST, LOUDEST = 2, 98  # percentiles of a band's frames
NATS = 2.8  # that a step of 1 in a feature is, about: the spread of log-mel energies that they were divided by


@dataclass(frozen=True)
class Augmentation:
    tempo: float = 0.0
    vocal_tract: float = 0.0
    noise: float = 0.0
    masks: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        return cls(**{each.name: settings[each.name] for each in fields(cls)})

    @property
    def wanted(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def heard(self, said: Utterance, draw: np.random.Generator) -> Utterance:
        """The utterance as another voice, or another microphone, might give it; where its words are is not kept up."""
        sound = said.sound
        frames, bands = sound.shape
        if self.tempo:
            count = max(1, round(frames * float(draw.uniform(1 - self.tempo, 1 + self.tempo))))
            sound = _interpolated(sound, np.linspace(0, frames - 1, count))
        if self.vocal_tract:
            factor = float(draw.uniform(1 - self.vocal_tract, 1 + self.vocal_tract))
            sound = _interpolated(sound.T, np.clip(np.arange(bands) * factor, 0, bands - 1)).T
        if self.noise:
            quiet, loud = np.percentile(sound, (QUIETEST, LOUDEST), axis=0)
            floor = quiet + float(draw.uniform(0, self.noise)) * (loud - quiet)
            sound = np.logaddexp(NATS * sound, NATS * floor) / NATS
        sound = sound - sound.mean(0)
        sound = np.array(sound, dtype=np.float32)
        for _ in range(self.masks):
            sound[:, _stretch(bands, MASKED_BANDS, draw)] = 0.0
            sound[_stretch(len(sound), MASKED_TIME, draw)] = 0.0
        return said._replace(sound=sound)


def _interpolated(rows: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """Rows [N, F] at places between 0 and N - 1, on the line between the two beside each."""
    low = np.floor(places).astype(np.int64)
    high, share = np.minimum(low + 1, len(rows) - 1), (places - low)[:, None].astype(np.float32)
    found: NDArray[Any] = rows[low] * (1 - share) + rows[high] * share
    return found


def _stretch(length: int, most: float, draw: np.random.Generator) -> slice:
    width = int(draw.integers(0, int(length * most) + 1))
    first = int(draw.integers(0, length - width + 1))
    return slice(first, first + width)
