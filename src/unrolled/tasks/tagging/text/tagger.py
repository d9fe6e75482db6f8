"""A trained arm as a person talks to it: words in, tags out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrolled.ground.checksums import json_of, load
from unrolled.ground.run import Run
from unrolled.ground.sequences import by_length
from unrolled.ground.trained import read_trained
from unrolled.recurrence.layer import read_by_torch
from unrolled.recurrence.threads import one_thread
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.model.batches import batch_of
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import tag

TASK, CORPUS_REPORT = "tagging", Path("data/corpus.json")
TOGETHER = 64  # sentences in a batch; no tag depends on it
READ = 32 * TOGETHER  # sentences read at a time, among which those of about the same length go together


class TaggedWord(NamedTuple):
    word: str
    tag: str
    probability: float
    known: bool  # or the network saw `<unk>` in its place, and the letters


@dataclass(frozen=True)
class Tagger:
    """A network beside what its ids stand for; ``tags``: which tags these are, as corpus.tags says.

    ``fold``: words are looked up in lower case. ``given``: which tags it is given beside each word; None: it is not.
    """

    arm: str
    network: Network
    names: Mapping[str, list[str]]
    tags: str
    fold: bool
    given: str | None = None

    @classmethod
    def of(cls, arm: str, network: Network, names: Mapping[str, list[str]], report: Mapping[str, Any]) -> "Tagger":
        """``report``: that of the corpus."""
        corpus, vocabulary = report["settings"]["corpus"], report["settings"]["vocabulary"]
        return cls(arm, network, names, corpus["tags"], vocabulary["lowercase"], corpus["given"])

    @classmethod
    def read(cls, arm: str | None = None, workspace: Path = Path()) -> "Tagger":
        """``arm`` of runs/; without a name the one that tagged the validation split best.

        UserError where it is not trained or damaged, or was trained on another corpus than data/encoded now holds.
        """
        run, corpus = read_trained(arm, TASK, _errors, workspace)
        network = run.model()
        assert isinstance(network, Network)
        read_by_torch(network)
        return cls.of(
            run.arm, network, corpus.names, load(workspace / CORPUS_REPORT.parent, CORPUS_REPORT.name, json_of)
        )

    def tagged(
        self, sentences: Iterable[Sequence[str]], given: Iterable[Sequence[str]] | None = None
    ) -> Iterator[list[TaggedWord]]:
        """The words of each sentence, which may have none, with their tags; reads READ sentences ahead.

        ``given``: of each sentence, what the network is given of its words. UserError where it is given nothing.
        """
        if self.given and given is None:
            raise UserError(f"{self.arm} is given the {self.given} tag of each word, and here there is none")
        known = set(self.names["words"][1:])
        stream, beside = iter(sentences), iter(given or ())
        while chosen := [list(words) for words in islice(stream, READ)]:
            told = list(islice(beside, len(chosen)))
            answers: list[list[TaggedWord]] = [[] for _ in chosen]
            filled = [index for index, words in enumerate(chosen) if words]
            lengths = torch.tensor([len(chosen[index]) for index in filled]).numpy()
            for numbers in by_length(lengths, TOGETHER) if filled else ():
                places = [filled[number] for number in numbers.tolist()]
                own = [told[place] for place in places] if self.given else None
                batch = batch_of([chosen[place] for place in places], self.names, self.fold, own)
                with one_thread():  # steps so small that threads wait for each other, where something else runs too
                    result = tag(self.network, batch)
                found = zip(result.tags.tolist(), result.confidence.tolist(), strict=True)
                for place in places:
                    for word in chosen[place]:
                        number, probability = next(found)
                        looked_up = word.lower() if self.fold else word
                        answers[place].append(
                            TaggedWord(word, self.names["tags"][number], probability, looked_up in known)
                        )
            yield from answers


def _errors(run: Run) -> float | None:
    valid = run.valid()
    return valid["errors"].sum / valid["errors"].terms if "errors" in valid else None
