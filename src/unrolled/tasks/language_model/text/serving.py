"""A trained arm that scores text, as MLflow loads it: `_load_pyfunc` is the entry that its "pyfunc" models call.

Reads safetensors and JSON; nothing is unpickled, and mlflow itself is not needed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from unrolled.corpus.files.lines import Reading, lines_of
from unrolled.corpus.vocabulary import encode_line, encode_opening, load_tokenizer, spelled
from unrolled.ground.checksums import sha256
from unrolled.ground.corpus import MANIFEST, corpus_digest
from unrolled.ground.perplexity import perplexity
from unrolled.ground.score import Sums
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.shell.errors import UserError
from unrolled.shell.rows import read_each, rows_of
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD, total_nats
from unrolled.tasks.language_model.text.reading import WINDOW, forward_nats, last_sentence

NEXT = 10  # words that may come next


class Scorer:
    """Text -> nats, tokens and perplexity, each text on its own, its lines as a corpus has them, ended by `<eos>`."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError where the tokenizer is not that of the corpus that the weights were trained on."""
        settings, manifest = (json.loads((folder / each).read_text("utf-8")) for each in ("settings.json", MANIFEST))
        own = manifest["files"]["tokenizer.json"] == sha256(folder / "tokenizer.json")
        if not own or corpus_digest(manifest["files"]) != settings["corpus_digest"]:
            raise ValueError(f"{folder}/tokenizer.json is not that of the corpus that these weights were trained on")
        self.tokenizer = load_tokenizer(folder / "tokenizer.json")
        self.network = Network(settings["sizes"]["vocabulary"], **settings["network"])
        self.network.load_state_dict(load_file(folder / "weights.safetensors"))
        self.reading = Reading.of_manifest(manifest)
        self.network.anew = settings["train"].get("reset") == "sentence"

    def predict(self, texts: pd.DataFrame | Iterable[str | None]) -> pd.DataFrame:
        """A row a text: tokens, how many of them are unknown, nats (of the forward head), what each head is scored as,
        and what may come next.

        `next_words` are the likeliest words after the text, `next_probabilities` theirs; a text that ends in a line end
        is followed by a new line's first word. A row that is no text has nulls in place of figures, and its `error`
        says why; the others have none.
        texts: strings, or a table with them in a column `text`.
        """
        rows = rows_of(texts, "text")
        found, errors = read_each(rows, self._score)
        answers = [each or self._nothing() for each in found]
        return pd.DataFrame(answers, dtype=object).assign(error=pd.Series(errors, dtype=object))

    def _nothing(self) -> dict[str, Any]:
        heads = SCORE_OF_HEAD if self.network.bidirectional else ("forward",)
        figures: dict[str, Any] = dict.fromkeys(("nats", *(SCORE_OF_HEAD[head] for head in heads)))
        return {"tokens": 0, "unknown": 0, **figures, "next_words": [], "next_probabilities": []}

    def _score(self, text: str) -> dict[str, Any]:
        """UserError or ValueError where it holds no word, or is none that could be written down."""
        ids = [index for line in lines_of(text, self.reading) for index in encode_line(self.tokenizer, line)]
        if all(index == END_ID for index in ids):  # none, or blank lines that a corpus keeps
            raise UserError("a text to score must hold at least one word")
        tokens = np.asarray(ids, dtype=np.uint32)
        sums = total_nats(self.network, tokens, window=WINDOW)
        if self.network.anew:
            nats = forward_nats(self.network, tokens)
            sums |= {"forward": Sums(nats.double().sum().item(), len(nats))}
        scores = {SCORE_OF_HEAD[head]: perplexity(*each) for head, each in sums.items()}
        counts = {"tokens": len(ids), "unknown": ids.count(UNKNOWN_ID)}
        return counts | {"nats": sums["forward"].sum} | scores | self._next(text)

    @torch.inference_mode()
    def _next(self, text: str) -> dict[str, Any]:
        opening = last_sentence(self.network, encode_opening(self.tokenizer, text, self.reading))
        read = torch.tensor([END_ID, *opening])[:, None]
        outputs, _ = self.network.read("forward", read, self.network.initial_state(1).forward)
        likeliest = self.network.logits(outputs[-1, 0]).softmax(-1).topk(min(NEXT, self.tokenizer.get_vocab_size()))
        words = [spelled(self.tokenizer, index) for index in likeliest.indices.tolist()]
        return {"next_words": words, "next_probabilities": likeliest.values.tolist()}


def _load_pyfunc(path: str) -> Scorer:
    """MLflow's entry: `path` is the folder of weights.safetensors, settings.json, tokenizer.json and manifest.json."""
    return Scorer(Path(path))
