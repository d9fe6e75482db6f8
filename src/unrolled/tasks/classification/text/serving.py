"""A trained arm that labels texts, as MLflow loads it: `_load_pyfunc` is the entry that its "pyfunc" models call.

Reads safetensors and JSON; nothing is unpickled, and mlflow itself is not needed.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer

from unrolled.corpus.vocabulary import load_tokenizer
from unrolled.recurrence.threads import one_thread
from unrolled.shell.errors import UserError
from unrolled.shell.rows import read_each, rows_of
from unrolled.tasks.classification.model.network import Network
from unrolled.tasks.classification.model.task import probabilities_of


class Classifier:
    """A network beside the tokenizer and the labels of the corpus that it was trained on."""

    def __init__(self, network: Network, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        self.network, self.tokenizer, self.labels = network, tokenizer, list(labels)

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Of a folder of weights.safetensors, settings.json, tokenizer.json and names.json."""
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        sizes = settings["sizes"]
        network = Network(sizes["vocabulary"], sizes["labels"], **settings["network"])
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        return cls(network, load_tokenizer(folder / "tokenizer.json"), names["labels"])

    @one_thread()  # steps so small that threads wait for each other, where something else runs too
    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, labels], each row summing to 1; ValueError names a text, counted from 1, that holds no word."""
        lines = [" ".join(text.split()) for text in texts]
        ids = [
            np.array(each.ids, dtype=np.int64) for each in self.tokenizer.encode_batch(lines, add_special_tokens=False)
        ]
        for number, each in enumerate(ids, 1):
            if not len(each):
                raise ValueError(f"text {number} is empty; a text to label must hold at least one word")
        return probabilities_of(self.network, ids)

    def predict(self, texts: pd.DataFrame | Iterable[str | None]) -> pd.DataFrame:
        """A row a text: its likeliest ``label``, all ``labels``, and the ``probabilities`` of these, in their order.

        texts: strings, or a table with them in a column `text`. A row that is no text has no label and no
        probabilities, and its ``error`` says why; the others have none.
        """
        rows = rows_of(texts, "text")
        read, errors = read_each(rows, self._words)
        there = [text for text in read if text is not None]
        found = iter(self.probabilities(there) if there else ())
        shares = [None if text is None else next(found) for text in read]
        return pd.DataFrame(
            {
                "label": pd.Series(
                    [None if each is None else self.labels[each.argmax()] for each in shares], dtype=object
                ),
                "labels": [self.labels] * len(rows),
                "probabilities": [[] if each is None else each.tolist() for each in shares],
                "error": pd.Series(errors, dtype=object),
            }
        )

    def _words(self, text: str) -> str:
        """The text, if there is a word in it."""
        if not self.tokenizer.encode(" ".join(text.split()), add_special_tokens=False).ids:
            raise UserError("a text to label must hold at least one word")
        return text


def _load_pyfunc(path: str) -> Classifier:
    """MLflow's entry: `path` is the folder of what `Classifier.load` reads."""
    return Classifier.load(Path(path))
