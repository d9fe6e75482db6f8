"""Recorded speech as the stages ask for it; see `unrolled/corpus/of_task.py`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unrolled.corpus.catalogue import PublicFile, Source
from unrolled.shell.errors import UserError
from unrolled.tasks.speech.corpus.encoding import encode
from unrolled.tasks.speech.corpus.own_utterances import own_utterances
from unrolled.tasks.speech.corpus.own_words import own_words
from unrolled.tasks.speech.corpus.recordings import RATE, Recording, free_spoken_digits
from unrolled.tasks.speech.corpus.strings_of_words import sets_of
from unrolled.tasks.speech.corpus.utterances import Utterance, write_utterances

__all__ = ["CATALOGUE", "encode", "facts", "read"]

ARCHIVE = "free-spoken-digit-dataset-1.0.10.zip"

CATALOGUE: dict[str, Source] = {
    "digits": Source(  # Jackson et al. 2018, version 1.0.10
        (
            PublicFile(
                ARCHIVE,
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
                "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959",
                members=r"(?:.*/)?\d_[a-z]+_\d+\.wav",
            ),
        )
    ),
    "words": Source(own=True),
    "utterances": Source(own=True),
}

LICENCES = {"digits": "Free Spoken Digit Dataset, Zohar Jackson and contributors, CC BY-SA 4.0"}


def facts(name: str) -> dict[str, str]:
    """What the corpus report says of the source."""
    return {"corpus": name, **({"licence": LICENCES[name]} if name in LICENCES else {})}


def read(corpus: Mapping[str, Any], raw: Path, text: Path) -> None:
    """Recorded words, joined to strings, or the user's own utterances, into ``text``; UserError as their readers."""
    sets: Mapping[str, Iterable[Utterance]]
    if corpus["name"] == "utterances":
        sets, split = own_utterances(corpus)
    else:
        sets = sets_of(_recordings(corpus, raw), corpus, corpus["sample_rate"])
        split = f"recordings of one split are in no other, nor strings if there are enough; seed {corpus['seed']}"
    write_utterances(sets, text, {**facts(corpus["name"]), "split": split, "settings": dict(corpus)})


def _recordings(corpus: Mapping[str, Any], raw: Path) -> list[Recording]:
    if corpus["name"] == "words":
        return own_words(corpus["path"], corpus["pattern"], corpus["sample_rate"])
    if corpus["sample_rate"] != RATE:
        raise UserError(f"corpus.sample_rate: the digits were recorded at {RATE} Hz; set {RATE}")
    return free_spoken_digits(raw / ARCHIVE)
