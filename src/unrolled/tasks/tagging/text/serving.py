"""A trained arm that tags sentences, as MLflow loads it: `_load_pyfunc` is the entry that its "pyfunc" models call.

Reads safetensors and JSON; nothing is unpickled, and mlflow itself is not needed.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from unrolled.shell.errors import UserError
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

    def predict(self, texts: pd.DataFrame | Iterable[str]) -> pd.DataFrame:
        """A row a sentence: its words, the tag of each, how likely that is, and whether training showed the word.

        texts: strings, or a table with them in a column `text`; in a column `given` the tags that the network is given
        beside the words, where it is given any. UserError where there are not as many of these as words.
        """
        rows = texts["text"].tolist() if isinstance(texts, pd.DataFrame) else list(texts)
        words, given = [text.split() for text in rows], None
        if self.tagger.given and isinstance(texts, pd.DataFrame) and "given" in texts:
            given = [tags.split() for tags in texts["given"]]
            for own, tags in zip(words, given, strict=True):
                if len(own) != len(tags):
                    raise UserError(f"{len(tags)} given tags beside {len(own)} words in {' '.join(own)!r}")
        answers = list(self.tagger.tagged(words, given))
        return pd.DataFrame(
            {
                "words": [[each.word for each in words] for words in answers],
                "tags": [[each.tag for each in words] for words in answers],
                "probabilities": [[each.probability for each in words] for words in answers],
                "known": [[each.known for each in words] for words in answers],
            }
        )


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry: `path` is the folder of weights.safetensors, settings.json, names.json and corpus.json."""
    return Served(Path(path))
