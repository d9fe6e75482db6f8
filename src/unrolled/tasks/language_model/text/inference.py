"""A trained arm as a person talks to it: text in, text or surprisals out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer

from unrolled.corpus.vocabulary import decode, encode_opening, load_tokenizer
from unrolled.ground.run import Run
from unrolled.ground.special_tokens import UNKNOWN_ID
from unrolled.ground.trained import ENCODED, read_trained
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.text.generation import generate
from unrolled.tasks.language_model.text.reading import forward_nats

TASK = "language_model"


class Surprisal(NamedTuple):
    """A token of a text and how little the forward head expected it."""

    word: str
    known: bool  # or the network saw <unk> in its place
    bits: float


@dataclass(frozen=True)
class Trained:
    """A run's network beside the tokenizer of the corpus that it was trained on."""

    arm: str
    network: Network
    tokenizer: Tokenizer

    @classmethod
    def read(cls, arm: str | None = None, workspace: Path = Path()) -> "Trained":
        """``arm`` of runs/; without a name, of the arms that read from left to right the best by validation loss.

        UserError where it is not trained or damaged, or was trained on another corpus than data/encoded now holds.
        """
        run, _ = read_trained(arm, TASK, _loss, workspace, that=" that reads from left to right")
        network = run.model()
        assert isinstance(network, Network)
        return cls(run.arm, network, load_tokenizer(workspace / ENCODED / "tokenizer.json"))

    def continued(
        self, prompt: str, *, length: int, samples: int, seed: int, unknown: bool = False,
        temperature: float = 1.0, top_k: int | None = None, nucleus: float | None = None,
    ) -> list[str]:  # fmt: skip
        """So many continuations of the prompt, the prompt included; ``unknown``: <unk> may be drawn."""
        ids = encode_opening(self.tokenizer, prompt)
        try:
            drawn = generate(
                self.network, ids, length=length, samples=samples, never=[] if unknown else [UNKNOWN_ID],
                generator=torch.Generator().manual_seed(seed), temperature=temperature, top_k=top_k, nucleus=nucleus,
            )  # fmt: skip
        except ValueError as error:
            raise UserError(f"{self.arm}: {error}") from None
        return [decode(self.tokenizer, [*ids, *column]) for column in drawn.t().tolist()]

    def surprisals(self, lines: Iterable[str]) -> list[list[Surprisal]]:
        """A row a line, each ended by <eos>: -log2 p of each token given all before it.

        Of an arm that was trained on each line from a zero state, given all before it in its line.
        """
        read = [(line, self.tokenizer.encode(line)) for line in lines]
        if not read:
            raise UserError("a text to score must hold at least one word")
        ids = np.array([index for _, encoded in read for index in encoded.ids], dtype=np.uint32)
        bits = iter(forward_nats(self.network, ids).div(math.log(2)).tolist())
        return [
            [
                Surprisal(line[start:end] or token, index != UNKNOWN_ID, next(bits))  # <eos> stands nowhere in the line
                for index, token, (start, end) in zip(encoded.ids, encoded.tokens, encoded.offsets, strict=True)
            ]
            for line, encoded in read
        ]


def _loss(run: Run) -> float | None:
    """That with true words, whatever the arm read in training, for no other compares.

    Bidirectional ones have none to compare: it is of three heads, and they cannot generate.
    """
    valid = {} if run.settings["network"]["bidirectional"] else run.valid()
    loss = valid.get("teacher_loss", valid.get("loss"))
    return loss.sum / loss.terms if loss else None
