"""A trained arm that writes down what it hears, as MLflow loads it: `_load_pyfunc` is what its "pyfunc" models call.

Reads safetensors, JSON and a numpy array; nothing is unpickled, and mlflow itself is not needed.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from unrolled.ground.checksums import sha256
from unrolled.ground.corpus import MANIFEST, corpus_digest
from unrolled.ground.resolved import read_resolved
from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError
from unrolled.shell.rows import read_each, rows_of
from unrolled.tasks.speech.audio.silence import longest_silence, without_long_silence
from unrolled.tasks.speech.corpus.features import SHIFT, frame_count, frame_sizes, log_mel, scaled
from unrolled.tasks.speech.corpus.recordings import Samples
from unrolled.tasks.speech.corpus.sound import read_sounds
from unrolled.tasks.speech.model.batches import Sound, of_about_one_length, sounds_side_by_side, texts_side_by_side
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.rereading import reread
from unrolled.tasks.speech.model.search import search

OWN_FILES = ("names.json", "spread.npy")  # of the corpus: they must be those that the weights were trained with

Floats = NDArray[np.float64]


class Transcript(NamedTuple):
    """What was written of a sound.

    ``probabilities``: of each word the one that the network gives it, having written the words before. ``attention``
    [words, T]: what each word was heard with, over T time steps of ``step`` seconds; None where there is no attention.
    """

    text: str
    words: list[str]
    probabilities: list[float]
    attention: Floats | None
    step: float


class Transcriber:
    """A network beside what its ids are spelled as (``names``, ``unit``) and how its sounds were encoded.

    ``rate``: samples a second; ``spread`` [mels]: what features are divided by; ``beam`` and ``ctc_share`` as in
    `search`; ``silence``: seconds at each end of a recording beyond which it is left out, None: never. UserError for a
    network that hears nothing.
    """

    def __init__(
        self, network: Network, names: Sequence[str], unit: str, rate: int, spread: NDArray[np.float32], *,
        beam: int, ctc_share: float, silence: float | None = None,
    ) -> None:  # fmt: skip
        if network.encoder is None:
            raise UserError("a network of conditioning none hears nothing; choose one that listens")
        self.network, self.names, self.unit, self.rate, self.spread = network, list(names), unit, rate, spread
        self.beam, self.ctc_share = beam, ctc_share if network.ctc is not None else 0.0
        self.silence = silence
        self.step = network.encoder.frames_per_output * SHIFT
        # What may follow a word that is spelled by letters.
        self._behind = [END_ID, *([self.names.index(" ")] if " " in self.names else [])]

    @classmethod
    def load(cls, folder: Path) -> "Transcriber":
        """Of a folder of weights.safetensors, settings.json, names.json, spread.npy, manifest.json and evaluate.json.

        It writes as the evaluation of these weights does, which evaluate.json is the settings of.

        ValueError where names or spread are not those of the corpus that the weights were trained on; UserError for a
        network that hears nothing.
        """
        settings, names, manifest = (
            json.loads((folder / file).read_text(encoding="utf-8"))
            for file in ("settings.json", "names.json", MANIFEST)
        )
        for file in OWN_FILES:
            if manifest["files"].get(file) != sha256(folder / file):
                raise ValueError(f"{folder / file} is not that of the corpus that {MANIFEST} beside it is of")
        if corpus_digest(manifest["files"]) != settings["corpus_digest"]:
            raise ValueError(f"{folder / MANIFEST} is not of the corpus that these weights were trained on")
        sizes, spread = settings["sizes"], np.load(folder / "spread.npy", allow_pickle=False)
        network = Network(sizes["vocabulary"], sizes["features"], **settings["network"])
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        silence = longest_silence(manifest["settings"]["corpus"]["name"])
        return cls(
            network,
            names["words"],
            names["unit"][0],
            int(names["rate"][0]),
            spread,
            **decoding(folder),
            silence=silence,
        )

    def read(self, paths: Sequence[Path]) -> list[Samples]:
        """The recordings at the rate of training, each int16 [N]; says and raises as `read_sounds`."""
        sounds = read_sounds(paths, self.rate)
        if self.silence is None:
            return sounds
        cut = [without_long_silence(each, self.rate, self.silence) for each in sounds]
        if shorter := sum(len(each) < len(whole) for each, whole in zip(cut, sounds, strict=True)):
            said = f"{shorter:,} of {len(cut):,} recordings" if len(cut) > 1 else str(paths[0])
            click.echo(f"{said}: silence at the ends is left out where it is longer than in training", err=True)
        return cut

    def features(self, samples: Samples) -> Sound:
        """What the network reads of int16 samples at its rate: [frames, mels], as the vocabulary stage makes it."""
        return scaled(log_mel(samples, self.rate, len(self.spread)), self.spread).astype(np.float32)

    def transcripts(self, sounds: Sequence[Samples]) -> list[Transcript]:
        """Of each sound, int16 [N] at the rate of training; ValueError for one shorter than a frame."""
        for number, each in enumerate(sounds, 1):
            if not frame_count(len(each), self.rate):
                least = frame_sizes(self.rate)[0]
                raise ValueError(f"sound {number} has {len(each)} samples; a frame alone takes {least}")
        features = [self.features(each) for each in sounds]
        found: dict[int, Transcript] = {}
        for chosen in of_about_one_length([len(each) for each in features]) if features else ():
            every = self._together([features[index] for index in chosen])
            found |= dict(zip(chosen.tolist(), every, strict=True))
        return [found[index] for index in range(len(sounds))]

    def predict(self, sounds: pd.DataFrame | Iterable[str | None]) -> pd.DataFrame:
        """A row a sound: its text, the words of it, and their probabilities.

        sounds: strings, or a table with them in a column `audio`: the base64 of an audio file's bytes each; no path, as
        who asks a server has no business with its files. A row that is none has no words, and its ``error`` says why;
        the others have none.
        """
        rows = rows_of(sounds, "audio")
        read, errors = read_each(rows, self._sound)
        found = iter(self.transcripts([sound for sound in read if sound is not None]))
        answers = [Transcript("", [], [], None, self.step) if sound is None else next(found) for sound in read]
        columns = {name: [getattr(each, name) for each in answers] for name in Transcript._fields[:3]}
        return pd.DataFrame(columns | {"error": pd.Series(errors, dtype=object)})

    def _sound(self, row: str) -> Samples:
        with TemporaryDirectory() as folder:
            path = _file(row, Path(folder, "the audio"))
            try:
                return self.read([path])[0]
            except UserError as error:
                raise UserError(str(error).replace(f"{folder}{os.sep}", "")) from None

    @torch.inference_mode()
    def _together(self, features: Sequence[Sound]) -> list[Transcript]:
        encoded = self.network.encode(*sounds_side_by_side(features, self.network.device))
        found = search(self.network, encoded, beam=self.beam, ctc_share=self.ctc_share)
        texts = [each.words for each in found]
        targets = texts_side_by_side(texts, max(map(len, texts)) + 1, self.network.device)
        logits, weights = reread(self.network, encoded, targets)
        shares = logits.double().softmax(-1).cpu().numpy()
        heard = None if weights is None else weights.double().cpu().numpy()
        return [
            self._transcript(ids, shares[:, column], None if heard is None else heard[:, column, :steps])
            for column, (ids, steps) in enumerate(zip(texts, encoded.lengths.tolist(), strict=True))
        ]

    def _transcript(self, ids: Sequence[int], shares: Floats, heard: Floats | None) -> Transcript:
        """``shares`` [L, V]: of each place the probability of each id; ``heard`` [L, T]."""
        places = self._places_of_words(ids)
        words = ["".join(self.names[ids[place]] for place in of_word) for of_word in places]
        probabilities = [self._probability(of_word, ids, shares) for of_word in places]
        rows = None if heard is None else np.array([heard[word].mean(0) for word in places]).reshape(-1, heard.shape[1])
        return Transcript(" ".join(words), words, probabilities, rows, self.step)

    def _places_of_words(self, ids: Sequence[int]) -> list[list[int]]:
        """Of each word the places of its ids: one, or those of its letters."""
        if self.unit == "word":
            return [[place] for place in range(len(ids))]
        words: list[list[int]] = [[]]
        for place, index in enumerate(ids):
            if self.names[index] == " ":
                words.append([])
            else:
                words[-1].append(place)
        return [word for word in words if word]

    def _probability(self, places: Sequence[int], ids: Sequence[int], shares: Floats) -> float:
        """Of a word of letters, that of all of them and that no other follows."""
        found = float(np.prod([shares[place, ids[place]] for place in places]))
        return found if self.unit == "word" else found * float(shares[places[-1] + 1, self._behind].sum())


def decoding(folder: Path) -> dict[str, Any]:
    """How texts are searched for, as the settings say it in ``folder``/evaluate.json; UserError as `read_resolved`."""
    settings = read_resolved("evaluate", folder)["evaluate"]
    return {key: settings[key] for key in ("beam", "ctc_share")}


def _file(row: str, path: Path) -> Path:
    """``path``, with the bytes that a row spells."""
    try:
        path.write_bytes(base64.b64decode("".join(row.split()), validate=True))
    except (binascii.Error, ValueError):
        shown = row if len(row) <= 60 else f"{row[:60]}..."
        raise UserError(f"{shown!r} is not the base64 of an audio file") from None
    return path


def _load_pyfunc(path: str) -> Transcriber:
    """MLflow's entry: `path` is the folder of what `Transcriber.load` reads."""
    return Transcriber.load(Path(path))
