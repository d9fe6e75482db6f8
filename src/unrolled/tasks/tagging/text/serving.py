"""A trained arm that tags sentences, as MLflow loads it: `_load_pyfunc` is the entry that its "pyfunc" models call.

Reads safetensors and JSON; nothing is unpickled, and mlflow itself is not needed.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file

from unrolled.shell.errors import UserError
from unrolled.shell.rows import read_each, rows_of
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.text.tagger import Tagger


class Served:
    """Sentences, their words parted by white space -> their tags."""

    def __init__(self, folder: Path) -> None:
        settings, names, corpus = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("settings", "names", "corpus")
        )
        sizes = settings["sizes"]
        network = Network(**sizes, **settings["network"])
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        self.tagger = Tagger.of(settings["arm"], network, names, corpus)

    def predict(self, texts: pd.DataFrame | Iterable[str | None]) -> pd.DataFrame:
        """A row a sentence: its words, the tag of each, how likely that is, and whether training showed the word.

        texts: strings, or a table with them in a column `text`; in a column `given` the tags that the network is given
        beside the words, where it is given any. A row that is no sentence, or has not as many given tags as words, has
        empty lists, and its `error` says why; the others have none.
        """
        found, errors = read_each(rows_of(texts, "text"), _words)
        told: list[Any] | None = None
        if self.tagger.given and isinstance(texts, pd.DataFrame) and "given" in texts:
            told = rows_of(texts, "given")
            for number, (words, tags) in enumerate(zip(found, told, strict=True)):
                if words is not None:
                    (found[number],), (errors[number],) = read_each([tags], partial(_beside, words))
            told = [tags.split() if words else [] for words, tags in zip(found, told, strict=True)]
        answers = list(self.tagger.tagged([words or [] for words in found], told))
        return pd.DataFrame(
            {
                "words": [[each.word for each in words] for words in answers],
                "tags": [[each.tag for each in words] for words in answers],
                "probabilities": [[each.probability for each in words] for words in answers],
                "known": [[each.known for each in words] for words in answers],
                "error": pd.Series(errors, dtype=object),
            }
        )


def _words(text: str) -> list[str]:
    if words := text.split():
        return words
    raise UserError("a sentence to tag must hold at least one word")


def _beside(words: list[str], given: str) -> list[str]:
    """The words, where there are as many given tags."""
    if len(words) != len(given.split()):
        raise UserError(f"{len(given.split())} given tags beside {len(words)} words in {' '.join(words)!r}")
    return words


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry: `path` is the folder of weights.safetensors, settings.json, names.json and corpus.json."""
    return Served(Path(path))
