"""Predicting each token of a stream from what stands beside it: the network, its batches and its loss."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.ground.corpus import Corpus, Split, Tokens
from unrolled.ground.older_runs import completed
from unrolled.ground.score import Sums
from unrolled.ground.sequences import Ints
from unrolled.recurrence.columns import Columns
from unrolled.recurrence.dropout import drawn_kept
from unrolled.recurrence.profile import Profile
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.batches import Batch, of_sentences, of_stretches
from unrolled.tasks.language_model.model.feeding import Feeding, with_own_words
from unrolled.tasks.language_model.model.network import Network, States
from unrolled.tasks.language_model.model.ngrams import NGrams
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD, total_nats
from unrolled.tasks.language_model.model.reading import Reading, with_sentences_of_its_own, with_words_of_its_own
from unrolled.tasks.language_model.model.regularisation import Regularisation, with_gradient_of
from unrolled.tasks.language_model.model.sentences import Sentences
from unrolled.tasks.language_model.model.windows import Window, column_length, drawn_lengths, windows

VALID_WINDOW = 512  # tokens scored at a time; the figure does not depend on it
VALID_SENTENCES = 64  # sentences scored at a time; with true words the figure does not depend on it

Carry = States | tuple[()]  # of whole sentences nothing is carried on


class Task:
    """Language modelling by back-propagation through time, truncated or over whole sentences; see `ground/task.py`."""

    side_by_side = "columns"

    def __init__(self, train: Mapping[str, Any]) -> None:
        train = completed(train)
        self.columns, self.window = int(train["columns"]), int(train["window"])
        self.nominal_steps = self.window if train["window_varies"] else None
        self.feeding, self._seed = Feeding.of(train), int(train.get("seed", 0))
        reset = train["reset"]
        self._by_sentence = reset == "sentence"
        self._kept = 1.0 if isinstance(reset, str) else 1.0 - reset  # probability that a column's state goes on
        self._regularisation = Regularisation.of(train)
        self._text: Tokens | None = None  # that it is trained on, and ...
        self._rewards: NGrams | None = None  # ... a model of it, made when it is first asked for
        # What adam and weight decay sum up wants the gradient of every row of the embedding, read or not.
        self._sums_all_rows = train["optimiser"] != "sgd" or train["weight_decay"] != 0

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        """UserError where no sentence leaves a word to be drawn."""
        if self.feeding.feeding != "teacher":
            self.feeding.check(int(Sentences.read(corpus.train.tokens).lengths.max()))
        return {"vocabulary": len(corpus.counts)}

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Network:
        network = Network(sizes["vocabulary"], **settings, generator=generator).to(device)
        network.anew = self._by_sentence
        # A gradient for the rows that were read, and no others. A GPU fills them all in less time than it takes to find
        # out which were read.
        network.embedding.sparse = network.device.type == "cpu" and (network.tied or not self._sums_all_rows)
        return network

    def steps(self, split: Split, epoch: int = 1) -> int:
        if self._by_sentence:
            return -(-len(Sentences.read(split.tokens).starts) // self.columns)
        window = self._window(split, epoch)
        return -(-column_length(split.tokens, self.columns) // window) if isinstance(window, int) else len(window)

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """The text in its order, in every epoch; or its sentences, in an order that is the epoch's own."""
        if not self._by_sentence:
            window = self._window(split, epoch)
            return of_stretches(split.tokens, columns=self.columns, window=window, first=first, device=device)
        self._text = split.tokens
        draw, own_epoch = np.random.default_rng([self._seed, epoch]), epoch - self.feeding.teacher_epochs
        return of_sentences(split.tokens, self.columns, draw, epoch=own_epoch, first=first, device=device)

    def _window(self, split: Split, epoch: int) -> int | Ints:
        """The length of all windows, or of each of the epoch's, drawn from the seed and its number alone."""
        if self.nominal_steps is None:
            return self.window
        draw = np.random.default_rng([self._seed, epoch])
        return drawn_lengths(column_length(split.tokens, self.columns), self.nominal_steps, draw)

    def tokens(self, batch: Batch) -> int:
        return batch.window.target.numel() if batch.lengths is None else int(batch.lengths.sum())

    def time_steps(self, batch: Batch) -> int:
        return len(batch.window.target)

    def share(self, batch: Batch, process: int, of: int) -> tuple[Batch, Columns]:
        """UserError where words of its own are drawn, which asks for all columns."""
        if self.feeding.feeding != "teacher":
            raise UserError(f"train.feeding: {self.feeding.feeding} trains in one process alone; use teacher")
        columns = Columns(process, of, batch.window.target.shape[1])
        window, ahead = (
            each and Window(*(columns.of(part, 1) for part in each)) for each in (batch.window, batch.ahead)
        )
        assert window is not None
        lengths = None if batch.lengths is None else columns.of(batch.lengths, 0)
        return batch._replace(window=window, ahead=ahead, lengths=lengths), columns

    def start(self, model: Network) -> Carry:
        return () if self._by_sentence else model.initial_state(self.columns)

    def entry(self, model: Network, batch: Batch, carry: Any) -> States:
        """The forward state goes on; the backward stack's is read from the text ahead. A sentence starts from zero."""
        columns = batch.window.target.shape[1]
        if batch.lengths is not None:
            return model.initial_state(columns)
        return States(carry.forward, state_from_the_right(model, batch.ahead, columns))

    def loss(
        self,
        model: Network,
        batch: Batch,
        entry: States,
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, Carry]:
        """Summed nats over the window and all heads; the mean is over all its tokens, and over the heads.

        Where activations are regularised, the gradient is that of their penalty too, and the value that of the nats.
        Teacher forcing: whatever the network would have predicted, it reads the true tokens; unless `feeding` says
        otherwise. ``generator`` also draws the words that it reads then, and which columns' state starts anew.
        """
        reading = Reading(batch, generator)
        if generator is not None:
            if self._kept < 1:
                entry = _started_anew(entry, self._kept, generator)
            reading = self._reading(model, batch, entry, generator)
        return self._loss_of(model, reading, entry, profile)

    def _loss_of(
        self, model: Network, reading: Reading, entry: States, profile: Profile | None = None
    ) -> tuple[Tensor, int, Carry]:
        read, masks = reading.batch, reading.masks
        window, lengths = read.window, read.lengths
        noted: list[tuple[Tensor, Tensor]] = []
        heads, after = model.hidden(
            window.left, window.right, entry, generator=masks, profile=profile, lengths=lengths, noted=noted
        )
        hidden = torch.cat([read.of_tokens(each) for each in heads.values()])
        targets = read.of_tokens(window.target).repeat(len(heads))
        factors = None if reading.factors is None else read.of_tokens(reading.factors).to(hidden.dtype)
        nats = model.nats(hidden, targets, factors)
        total = nats if factors is None else nats + reading.rest
        if any(self._regularisation):  # each stack's by itself, as a part of the mean over all terms
            penalties = [self._regularisation.penalty(*each) for each in noted]
            total = with_gradient_of(total, torch.stack(penalties).sum() * len(targets))
        return total, len(targets), () if self._by_sentence else after.detach()

    def _reading(self, model: Network, batch: Batch, entry: States, generator: torch.Generator) -> Reading:
        if self.feeding.feeding == "teacher":
            return Reading(batch, generator)
        if self.feeding.feeding != "reinforce":
            return with_words_of_its_own(self.feeding, model, batch, entry, generator)
        return with_sentences_of_its_own(self.feeding, self._rated_by(model), model, batch, entry, generator)

    def _rated_by(self, model: Network) -> NGrams:
        if self._rewards is None:
            assert self._text is not None, "a batch comes from `batches`"
            self._rewards = NGrams(self._text, self.feeding.reward_order, len(model.embedding.weight))
        return self._rewards

    def validate(self, model: Network, split: Split) -> dict[str, Sums]:
        """First the loss of training, over all heads, then each head's nats, read with true words and as one stream.

        Of whole sentences the loss too is that of sentences, each from a zero state. Where the network is to predict
        true words from its own, it is that with all its own behind the prompt; where its own are rated, what those are
        worth, taken from 0 (before the first step, as nothing was counted yet, that with true words); `teacher_loss` is
        that with true ones.
        """
        totals = total_nats(model, split.tokens, window=VALID_WINDOW)
        scores = {SCORE_OF_HEAD[head]: sums for head, sums in totals.items()}
        if not self._by_sentence:
            whole = Sums(sum(each.sum for each in totals.values()), sum(each.terms for each in totals.values()))
            return {"loss": whole, **scores}
        teacher = self._valid_loss(model, split, own=False)
        if self.feeding.feeding == "teacher":
            return {"loss": teacher, **scores}
        rated = self.feeding.feeding == "reinforce"
        own = teacher if rated and self._text is None else self._valid_loss(model, split, own=True)
        return {"loss": own, "teacher_loss": teacher, **scores}

    @torch.no_grad()
    def _valid_loss(self, model: Network, split: Split, *, own: bool) -> Sums:
        """Summed nats of all sentences and heads; the words of its ``own`` are drawn alike in every epoch."""
        everywhere = replace(self.feeding, horizon=None)
        generator = torch.Generator().manual_seed(self._seed)
        nats, terms = 0.0, 0
        for batch in of_sentences(split.tokens, VALID_SENTENCES, device=model.device):
            assert batch.lengths is not None
            entry, reading = self.entry(model, batch, ()), Reading(batch, None)
            if own and everywhere.feeding == "reinforce":
                reading = with_sentences_of_its_own(
                    everywhere, self._rated_by(model), model, batch._replace(epoch=1), entry, generator, dropped=False
                )
            elif own:
                places = everywhere.own_places(batch.lengths, len(batch.window.left), 1)
                left = with_own_words(model, batch.window.left, places, entry, generator, None).read
                reading = Reading(batch._replace(window=batch.window._replace(left=left)), None)
            of_batch, scored, _ = self._loss_of(model, reading, entry)
            nats += of_batch.double().item()
            terms += scored if reading.factors is None else int(batch.lengths.sum())  # the same in every epoch
        return Sums(nats if math.isfinite(nats) else math.inf, terms)

    def single_loss(self, model: Network, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """Of each stack, the loss at the last step that it reads, summed over the columns.

        The stacks are apart, so neither loss reaches the other's profile.
        """
        total = model.embedding.weight.new_zeros(())
        for head, (context, measured) in self._measured(split, steps, stretch, model.device).items():
            if head in model.stacks:
                last, inputs = (-1, measured.left) if head == "forward" else (0, measured.right)
                state = model.stacks[head].initial_state(inputs.shape[1])
                if context is not None:
                    with torch.no_grad():
                        _, state = model.read(head, context.left if head == "forward" else context.right, state)
                hidden, _ = model.read(head, inputs, state, profile=profile)
                total = total + cross_entropy(model.logits(hidden[last]), measured.target[last], reduction="sum")
        return total

    def _measured(
        self, split: Split, steps: int, stretch: int, device: torch.device
    ) -> dict[str, tuple[Window | None, Window]]:
        """By stack, what it reads for its context, and the window that its loss is measured over.

        A stream's forward stack first reads the window to the left, a backward stack the one to the right, so that it
        is not measured from a cold start. Sentences, the longest, all cut to one length, have nothing before them.
        """
        if self._by_sentence:
            window = Sentences.read(split.tokens).longest(self.columns, steps, stretch).window(device=device)[0]
            return {"forward": (None, window), "backward": (None, window)}
        length = column_length(split.tokens, self.columns)
        window_length = min(steps, length // 2)
        if length < 2 * (stretch + 1) * window_length:
            raise IndexError(f"the split has no stretch {stretch} of two windows of {window_length} steps")
        first, second = islice(
            windows(split.tokens, columns=self.columns, window=window_length, first=2 * stretch, device=device), 2
        )
        return {"forward": (first, second), "backward": (second, first)}


def _started_anew(entry: States, kept: float, generator: torch.Generator) -> States:
    """Zeros in place of the forward state of each column that does not go on, which it does with probability ``kept``.

    The backward stack's is carried on by none.
    """
    some = entry.forward[0][0]
    stays = drawn_kept(torch.Size((len(some), 1)), kept, generator, 0).to(some.device)
    return entry._replace(forward=tuple(tuple(each.where(stays, 0.0) for each in state) for state in entry.forward))


def state_from_the_right(network: Network, ahead: Window | None, columns: int) -> tuple[tuple[Tensor, ...], ...]:
    """The backward stack's state at a window's right edge, read from the window ahead without gradient.

    The mirror image of the state that a forward stack carries: truncated too, but to one window, for what lies further
    to the right was never read before. Zeros at the end of the columns.
    """
    state = network.initial_state(columns).backward
    if ahead is None or not network.bidirectional:
        return state
    with torch.no_grad():
        return network.read("backward", ahead.right, state)[1]
