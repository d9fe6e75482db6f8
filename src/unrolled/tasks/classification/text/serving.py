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

    def predict(self, texts: pd.DataFrame | Iterable[str]) -> pd.DataFrame:
        """A row a text: its likeliest ``label``, all ``labels``, and the ``probabilities`` of these, in their order.

        texts: strings, or a table with them in a column `text`. Raises ValueError for a text without a word.
        """
        rows = texts["text"].tolist() if isinstance(texts, pd.DataFrame) else list(texts)
        found = self.probabilities(rows)
        return pd.DataFrame(
            {
                "label": [self.labels[index] for index in found.argmax(1)],
                "labels": [self.labels] * len(rows),
                "probabilities": found.tolist(),
            }
        )


def _load_pyfunc(path: str) -> Classifier:
    """MLflow's entry: `path` is the folder of what `Classifier.load` reads."""
    return Classifier.load(Path(path))
