"""A trained arm as a person talks to it: words in, tags out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrolled.ground.checksums import json_of, load
from unrolled.ground.corpus import read_corpus
from unrolled.ground.run import Run
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.model.batches import batch_of, by_length
from unrolled.tasks.tagging.model.network import Network
from unrolled.tasks.tagging.model.task import tag

ENCODED, CORPUS_REPORT = Path("data/encoded"), Path("data/corpus.json")
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

    ``fold``: words are looked up in lower case.
    """

    arm: str
    network: Network
    names: Mapping[str, list[str]]
    tags: str
    fold: bool

    @classmethod
    def of(cls, arm: str, network: Network, names: Mapping[str, list[str]], report: Mapping[str, Any]) -> "Tagger":
        """``report``: that of the corpus."""
        settings = report["settings"]
        return cls(arm, network, names, settings["corpus"]["tags"], settings["vocabulary"]["lowercase"])

    @classmethod
    def read(cls, arm: str | None = None, workspace: Path = Path()) -> "Tagger":
        """``arm`` of runs/; without a name the one that tagged the validation split best.

        UserError where it is not trained or damaged, or was trained on another corpus than data/encoded now holds.
        """
        name = arm or _best(workspace / "runs")
        if not (workspace / "runs" / name).is_dir():
            raise UserError(f"runs/{name} does not exist; train it with: dvc repro train@{name}")
        run, corpus = Run.read(workspace / "runs" / name), read_corpus(workspace / ENCODED)
        run.check(corpus.digest)
        network = run.model()
        if not isinstance(network, Network):
            raise UserError(f"runs/{name} is of the task {run.settings['task']}; taggers are in pipelines/tagging")
        return cls.of(name, network, corpus.names, load(workspace / CORPUS_REPORT.parent, CORPUS_REPORT.name, json_of))

    def tagged(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[TaggedWord]]:
        """The words of each sentence, which may have none, with their tags; reads READ sentences ahead."""
        known = set(self.names["words"][1:])
        stream = iter(sentences)
        while chosen := [list(words) for words in islice(stream, READ)]:
            answers: list[list[TaggedWord]] = [[] for _ in chosen]
            filled = [index for index, words in enumerate(chosen) if words]
            lengths = torch.tensor([len(chosen[index]) for index in filled]).numpy()
            for numbers in by_length(lengths, TOGETHER) if filled else ():
                places = [filled[number] for number in numbers.tolist()]
                result = tag(self.network, batch_of([chosen[place] for place in places], self.names, self.fold))
                found = zip(result.tags.tolist(), result.confidence.tolist(), strict=True)
                for place in places:
                    for word in chosen[place]:
                        number, probability = next(found)
                        looked_up = word.lower() if self.fold else word
                        answers[place].append(
                            TaggedWord(word, self.names["tags"][number], probability, looked_up in known)
                        )
            yield from answers


def _best(runs: Path) -> str:
    """The arm that made the fewest errors on the validation split."""
    errors = {}
    for directory in sorted(runs.glob("[!.]*")) if runs.is_dir() else []:
        valid = Run.read(directory).valid() if (directory / "summary.json").is_file() else {}
        if "errors" in valid:
            errors[directory.name] = valid["errors"].sum / valid["errors"].terms
    if not errors:
        raise UserError("runs/ holds no trained tagger; in pipelines/tagging, train them with: dvc repro")
    return min(errors, key=lambda name: errors[name])
