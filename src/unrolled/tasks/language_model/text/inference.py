"""A trained arm as a person talks to it: text in, text or surprisals out."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer

from unrolled.corpus.files.lines import Reading, batches
from unrolled.corpus.vocabulary import END, decode, encode_opening, load_tokenizer, stretches, unit_of
from unrolled.ground.checksums import read_sealed
from unrolled.ground.corpus import MANIFEST
from unrolled.ground.run import Run
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.ground.trained import ENCODED, read_trained
from unrolled.recurrence.layer import read_by_torch
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.text.generation import draws
from unrolled.tasks.language_model.text.reading import Reader
from unrolled.tasks.language_model.text.unknown import UnknownWords

T = TypeVar("T")
R = TypeVar("R")

TASK = "language_model"
LOGITS = 1 << 22  # of the texts that are drawn side by side: 32 MB
CUT, LETTER = "\ufffd", 4  # what a decoder writes for bytes that are no letter, and how many bytes one has at most
HELD = 1 << 18  # stretches of text whose words are kept at hand
MOST, SEEDS = 1_000_000, 2**32  # texts, or tokens of one; torch's generator heeds 32 bits


class Surprisal(NamedTuple):
    """A token of a text and how little the forward head expected it."""

    word: str
    known: bool  # or the network saw <unk> in its place, and the bits are those of <unk>
    bits: float


@dataclass(frozen=True)
class Trained:
    """A run's network beside the tokenizer of the corpus that it was trained on.

    ``reading``: how lines were cut of what it was trained on; ``unknown``: why words are; ``flaw``: what its training
    came to, where it came to no good.
    """

    arm: str
    network: Network
    tokenizer: Tokenizer
    reading: Reading
    unknown: UnknownWords
    flaw: str = ""

    @classmethod
    def read(cls, arm: str | None = None, workspace: Path = Path()) -> "Trained":
        """As ``with_run``, without the run."""
        return cls.with_run(arm, workspace)[0]

    @classmethod
    def with_run(cls, arm: str | None = None, workspace: Path = Path()) -> tuple["Trained", Run]:
        """``arm`` of runs/; without a name, of the arms that read from left to right the best by validation loss.

        UserError where it is not trained or damaged, or was trained on another corpus than data/encoded now holds; or
        where none is named and all that there are diverged before an epoch ended.
        """
        run, _ = read_trained(arm, TASK, _rank, workspace, that=" that reads from left to right")
        flaw = _flaw(run)
        if arm is None and _loss(run) is None:
            raise UserError(
                f"{run.arm} {flaw}, before an epoch ended, and no other arm here reads from left to right and came "
                f"further: train one with clipping; --arm {run.arm} takes it as it is"
            )
        network = run.model()
        assert isinstance(network, Network)
        read_by_torch(network)
        encoded = workspace / ENCODED
        tokenizer, reading = (
            load_tokenizer(encoded / "tokenizer.json"),
            Reading.of_manifest(read_sealed(encoded, MANIFEST)),
        )
        trained = cls(run.arm, network, tokenizer, reading, UnknownWords(tokenizer, encoded), flaw)
        return trained, run

    @property
    def title(self) -> str:
        return f"{self.arm} ({self.flaw})" if self.flaw else self.arm

    def continued(self, prompt: str, **options: Any) -> list[str]:
        """As `said`, whole texts."""
        pieces = groupby(self.said(prompt, **options), key=itemgetter(0))
        return ["".join(piece for _, piece in of_text) for _, of_text in pieces]

    def said(
        self, prompt: str, *, length: int, samples: int = 1, seed: int, unknown: bool = False,
        temperature: float = 1.0, top_k: int | None = None, nucleus: float | None = None,
    ) -> Iterator[tuple[int, str]]:  # fmt: skip
        """The continuations of the prompt, each with it, piece by piece, and which of the texts a piece is of.

        The first of those that are drawn side by side comes token by token. ``unknown``: <unk> may be drawn. UserError
        for an argument out of range, and for a network that cannot generate.
        """
        for name, value in (("length", length), ("samples", samples)):
            if not 1 <= value <= MOST:
                raise UserError(f"{name} must be at least 1 and at most {MOST:,}, not {value}")
        if not 0 <= seed < SEEDS:
            raise UserError(f"seed must be from 0 to {SEEDS - 1:,}, not {seed}")
        ids, generator = self.ids(prompt), torch.Generator().manual_seed(seed)
        size = max(1, LOGITS // self.tokenizer.get_vocab_size())
        for first in range(0, samples, size):
            others: list[list[int]] = [[] for _ in range(1, min(size, samples - first))]
            before: list[int] = []
            held: list[int] = []  # bytes of a letter that is not whole yet
            try:
                for drawn in draws(
                    self.network, ids, length=length, samples=1 + len(others), never=[] if unknown else [UNKNOWN_ID],
                    generator=generator, temperature=temperature, top_k=top_k, nucleus=nucleus,
                ):  # fmt: skip
                    token, *rest = drawn.tolist()
                    for other, index in zip(others, rest, strict=True):
                        other.append(index)
                    held.append(token)
                    piece = self._piece(before or ids, held, whole=not before)
                    if piece.endswith(CUT) and len(held) < LETTER:
                        continue
                    yield first, piece
                    before, held = held[-1:], []
            except ValueError as error:
                raise UserError(f"{self.title}: {error}") from None
            for number, other in enumerate(others, first + 1):
                yield number, decode(self.tokenizer, [*ids, *other])

    def surprisals(self, lines: Iterable[str], anew: bool | None = None) -> Iterator[list[Surprisal]]:
        """A row a line, each ended by <eos>: -log2 p of each token given all before it, some lines ahead.

        ``anew``: given all before it in its line alone; None: as the arm was trained. UserError where there is no line.
        """
        reader, words = Reader(self.network, anew), _Words(self.tokenizer)

        def scored(read: list[list[tuple[str, int]]]) -> list[float]:
            ids = np.array([index for line in read for _, index in line], dtype=np.uint32)
            return list(reader.nats(ids).div(math.log(2)).tolist())

        there = False
        for read, found in _ahead(scored, ([words.of(line) for line in batch] for batch in batches(lines))):
            there, bits = there or any(len(line) > 1 for line in read), iter(found)
            for line in read:
                yield [Surprisal(word, index != UNKNOWN_ID, next(bits)) for word, index in line]
        if not there:
            raise UserError("a text to score must hold at least one word")

    def ids(self, prompt: str) -> list[int]:
        """Those of a text that is to be continued, without an <eos> behind it; UserError where it is no text."""
        return encode_opening(self.tokenizer, prompt, self.reading, "the prompt")

    def _piece(self, before: list[int], tokens: list[int], *, whole: bool) -> str:
        """What tokens add to a text in which they stand behind others; ``whole``: with these."""
        text = decode(self.tokenizer, [*before, *tokens])
        return text if whole else text.removeprefix(decode(self.tokenizer, before))


class _Words(dict[str, list[tuple[str, int]]]):
    """The words of a stretch of text, as it spells them, with their ids; the tokenizer is asked once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer, self._unit = tokenizer, unit_of(tokenizer)

    def of(self, line: str) -> list[tuple[str, int]]:
        """Those of a line, with the <eos> that ends it."""
        if len(self) > HELD:
            self.clear()
        return [word for stretch in stretches(line, self._unit) for word in self[stretch]] + [(END, END_ID)]

    def __missing__(self, stretch: str) -> list[tuple[str, int]]:
        read = self._tokenizer.encode(stretch, add_special_tokens=False)
        as_written = (
            stretch[start:end] or token for token, (start, end) in zip(read.tokens, read.offsets, strict=True)
        )
        found = self[stretch] = list(zip(as_written, read.ids, strict=True))
        return found


def _ahead(work: Callable[[T], R], given: Iterable[T]) -> Iterator[tuple[T, R]]:
    """What ``work`` makes of each, in turn; it is at the next one already while the caller sees to the one before."""
    with ThreadPoolExecutor(1) as beside:
        waiting: list[tuple[T, Future[R]]] = []
        for each in given:
            waiting.append((each, beside.submit(work, each)))
            if len(waiting) > 1:
                first, found = waiting.pop(0)
                yield first, found.result()
        for first, found in waiting:
            yield first, found.result()


def _rank(run: Run) -> tuple[float, float] | None:
    """What is least of the best arm: those that diverged before they were scored come last, the longest-lived first."""
    if (loss := _loss(run)) is not None:
        return 0.0, loss
    step = run.summary["diverged_at_step"]
    return None if step is None or run.settings["network"]["bidirectional"] else (1.0, -step)


def _loss(run: Run) -> float | None:
    """That with true words, whatever the arm read in training, for no other compares.

    Bidirectional ones have none to compare: it is of three heads, and they cannot generate.
    """
    valid = {} if run.settings["network"]["bidirectional"] else run.valid()
    loss = valid.get("teacher_loss", valid.get("loss"))
    return loss.sum / loss.terms if loss else None


def _flaw(run: Run) -> str:
    if (step := run.summary["diverged_at_step"]) is not None:
        return f"diverged at step {step}"
    loss = _loss(run)
    guessing = math.log(run.settings["sizes"]["vocabulary"])
    return "" if loss is None or loss <= guessing else "worse than guessing: its training went astray"
