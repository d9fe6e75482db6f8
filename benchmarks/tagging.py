"""The part `tagging`: an epoch of the tagger, words and letters, beside the same network of torch's modules."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race
from unrolled.ground.corpus import Corpus, read_corpus
from unrolled.ground.resolved import read_arm
from unrolled.tasks.tagging.model.batches import UNSCORED, Batch
from unrolled.training.fit import steps
from unrolled.training.training import Training, task_of

PIPELINE = Path(__file__).parents[1] / "pipelines" / "tagging"
ARM = "bilstm-clipped-1"
SMALL = {"embedding": 100, "hidden": 128, "letter_embedding": 32, "letter_hidden": 50}
TARGET = 1.0


def tagging_section(conditions: Conditions) -> Iterator[str]:
    if not (PIPELINE / "data/encoded").is_dir():
        raise click.ClickException(f"there is no treebank to train on; make one: cd {PIPELINE} && dvc repro vocabulary")
    corpus, arm = read_corpus(PIPELINE / "data/encoded"), read_arm(ARM, PIPELINE / "resolved")
    words = len(corpus.train.tokens)
    yield paragraph(
        conditions.sentence(conditions.few),
        f"One epoch of the arm `{ARM}` over the {words:,} words of the treebank LinES, at its own sizes and at smaller",
        "ones. Ours: batches made, both profiles, clipping, norms. Plain: the same batches, made beforehand, through",
        "torch's embeddings and packed bidirectional LSTMs of letters and of words, clip_grad_norm_ and Adam.",
    )
    yield from columns("words", "letters", "ours s", "plain s", "ours words/s", "plain / ours", "target", "met", text=2)
    for sizes in ({}, SMALL):
        network = arm["network"] | sizes
        turns = {"ours": our_epoch(arm | {"network": network}, corpus), "plain": plain_epoch(arm, network, corpus)}
        taken = race(turns, rounds=conditions.few, clock=conditions.clock, warm_up=1)
        ours, plain = taken["ours"].median, taken["plain"].median
        named = (f"{network[f'{of}embedding']} + {network[f'{of}hidden']}" for of in ("", "letter_"))
        yield row(*named, f"{ours:.2f}", f"{plain:.2f}", f"{words / ours:,.0f}", against(plain / ours, TARGET))


def our_epoch(arm: Mapping[str, Any], corpus: Corpus) -> Callable[[], object]:
    training = Training.of(arm, task_of(arm).sizes(corpus))

    def epoch() -> None:
        for _ in steps(training, corpus.train):
            pass
        training.epoch, training.position, training.carry = training.epoch + 1, 0, None
        training.profiles, training.profiled = {}, 0

    return epoch


def plain_epoch(arm: Mapping[str, Any], network: Mapping[str, Any], corpus: Corpus) -> Callable[[], object]:
    torch.manual_seed(1)
    task, train = task_of(arm), arm["train"]
    model, batches = Plain(task.sizes(corpus), network), list(task.batches(corpus.train))
    optimiser = torch.optim.Adam(model.parameters(), lr=train["learning_rate"])

    def epoch() -> None:
        for batch in batches:
            optimiser.zero_grad()
            scores = model(batch)
            cross_entropy(scores.flatten(0, 1), batch.tags.flatten(), ignore_index=UNSCORED).backward()
            nn.utils.clip_grad_norm_(model.parameters(), train["clip_norm"])
            optimiser.step()

    return epoch


class Plain(nn.Module):
    """The tagger that everyone writes (Plank, Søgaard & Goldberg 2016), but that it too spells each form once."""

    def __init__(self, sizes: Mapping[str, int], network: Mapping[str, Any]) -> None:
        super().__init__()
        embedding, hidden, spelled = (network[name] for name in ("embedding", "hidden", "letter_hidden"))
        self.words = nn.Embedding(sizes["words"], embedding)
        self.letters = nn.Embedding(sizes["letters"], network["letter_embedding"])
        self.spelling = nn.LSTM(network["letter_embedding"], spelled, bidirectional=True)
        self.sentence = nn.LSTM(embedding + 2 * spelled, hidden, bidirectional=True)
        self.dropout, self.output = nn.Dropout(network["dropout"]), nn.Linear(2 * hidden, sizes["tags"])

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the tags, [T, B, K]."""
        letters = pack_padded_sequence(self.letters(batch.letters), batch.letter_lengths, enforce_sorted=False)
        _, (ends, _) = self.spelling(letters)
        forms = ends.transpose(0, 1).flatten(1)
        read = self.dropout(torch.cat([self.words(batch.words), forms[batch.forms]], dim=-1))
        outputs, _ = self.sentence(pack_padded_sequence(read, batch.lengths, enforce_sorted=False))
        scores: Tensor = self.output(self.dropout(pad_packed_sequence(outputs)[0]))
        return scores
