"""Speech in, text out: the network, its batches and its loss."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, ctc_loss

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.score import Sums
from unrolled.ground.sequences import in_pools
from unrolled.ground.task import WholeSequences
from unrolled.recurrence.columns import Columns
from unrolled.recurrence.profile import Profile
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.feeding import Feeding
from unrolled.tasks.speech.model.augmentation import Augmentation
from unrolled.tasks.speech.model.batches import Batch, batch_of, frame_counts, read_together, utterance
from unrolled.tasks.speech.model.encoder import Encoded
from unrolled.tasks.speech.model.feeding import OwnWords, every_own_word, own_words, written
from unrolled.tasks.speech.model.network import Network, before
from unrolled.tasks.speech.model.search import search
from unrolled.tasks.speech.model.transcripts import errors, space_of, texts_of, words_of

POOL = 8  # batches whose utterances are sorted by length together: the rest of the order is chance


class Task(WholeSequences):
    """Speech in, text out; see `ground/task.py`."""

    side_by_side = "utterances"

    def __init__(self, train: Mapping[str, Any]) -> None:
        self.utterances, self.seed = int(train["utterances"]), int(train["seed"])
        self.ctc_weight = float(train["ctc_weight"])
        self.augmentation, self.feeding = Augmentation.of(train), Feeding.of(train)

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        """UserError where no text leaves a word to be drawn."""
        if self.feeding.feeding != "teacher":
            self.feeding.check(max(map(len, texts_of(corpus.train))) + 1)
        return {"vocabulary": len(corpus.counts), "features": corpus.train.arrays["features"].shape[1]}

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Network:
        return Network(sizes["vocabulary"], sizes["features"], **settings, generator=generator).to(device)

    def steps(self, split: Split, epoch: int = 1) -> int:
        return -(-len(split.documents) // self.utterances)

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """Each utterance once, beside others of about its length; order and augmentation are the epoch's own."""
        own_epoch = epoch - self.feeding.teacher_epochs
        order = in_pools(frame_counts(split), self.utterances, np.random.default_rng([self.seed, epoch]), POOL)
        for number, chosen in enumerate(order[first:], first):
            draw = np.random.default_rng([self.seed, epoch, number])
            every = [utterance(split, int(index)) for index in chosen]
            if self.augmentation.wanted:
                every = [self.augmentation.heard(each, draw) for each in every]
            yield batch_of(every, device)._replace(epoch=own_epoch, updates=(own_epoch - 1) * len(order) + number)

    def share(self, batch: Batch, process: int, of: int) -> tuple[Batch, Columns]:
        """UserError where words of its own are drawn, which asks for all columns."""
        if self.feeding.feeding != "teacher":
            raise UserError(f"train.feeding: {self.feeding.feeding} trains in one process alone; use teacher")
        columns = Columns(process, of, len(batch.lengths))
        sounds, texts = columns.of(batch.features, 1), columns.of(batch.targets, 1)
        frames, lengths = columns.of(batch.frames, 0), columns.of(batch.lengths, 0)
        return batch._replace(features=sounds, frames=frames, targets=texts, lengths=lengths), columns

    def loss(
        self,
        model: Network,
        batch: Batch,
        entry: tuple[()],
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, tuple[()]]:
        """Summed nats of words and ends; the share ``ctc_weight`` of it is CTC's, whose terms are the same words.

        Teacher forcing: whatever the language model would have written, it reads the true words; unless `feeding` says
        otherwise. ``generator`` also draws the words that it reads then.
        """
        encoded = model.encode(batch.features, batch.frames, generator, profile)
        own = None if generator is None else own_words(self.feeding, batch, generator)
        nats = word_nats(model, encoded, batch, generator, profile, own).sum()
        if self.ctc_weight:
            nats = (1 - self.ctc_weight) * nats + self.ctc_weight * ctc_nats(model, encoded, batch).sum()
        return nats, int(batch.lengths.sum()), ()

    @torch.inference_mode()
    def validate(self, model: Network, split: Split) -> dict[str, Sums]:
        """First what is trained on, then the words wrong that it writes greedily, and the nats of the true text.

        It writes with CTC in the share that it was taught by. Where words of its own teach it, the first is with all
        of them behind the prompt its own, drawn alike in every epoch.
        """
        text = taught = heard = 0.0
        generator = torch.Generator().manual_seed(self.seed)
        written: dict[int, list[int]] = {}
        for chosen, batch in read_together(split, model.device):
            encoded = model.encode(batch.features, batch.frames)
            found = search(model, encoded, ctc_share=self.ctc_weight)
            written |= {index: each.words for index, each in zip(chosen.tolist(), found, strict=True)}
            text += (nats := word_nats(model, encoded, batch).double().sum().item())
            if self.feeding.feeding != "teacher" and (own := every_own_word(self.feeding, batch, generator)):
                nats = word_nats(model, encoded, batch, own=own).double().sum().item()
            taught += nats
            if self.ctc_weight:
                heard += ctc_nats(model, encoded, batch).double().sum().item()
        terms = len(split.tokens)
        loss = (1 - self.ctc_weight) * taught + self.ctc_weight * heard
        said, space = texts_of(split), space_of(split)
        hypotheses = [words_of(written[index], space) for index in range(len(said))]
        wrong = errors([words_of(ids, space) for ids in said], hypotheses)
        return {
            "loss": Sums(loss, terms),
            "word_error_rate": Sums(float(wrong.of_words.sum()), len(wrong.of_words)),
            "cross_entropy": Sums(text, len(wrong.of_words)),
        }

    def single_loss(self, model: Network, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """One loss a column, that of <eos>, which comes last, over sounds of the same number of frames.

        The longest sounds, cut to their end where the shortest of them is shorter.
        """
        counts = frame_counts(split)
        order = np.argsort(-counts, kind="stable")
        chosen = order[stretch * self.utterances :][: self.utterances]
        if stretch and len(chosen) < self.utterances:
            raise IndexError(f"the split has no {stretch + 1} batches of {self.utterances} utterances")
        shortest = int(counts[chosen].min())
        every = [utterance(split, int(index)) for index in chosen]
        batch = batch_of([each._replace(sound=each.sound[-shortest:]) for each in every], model.device)
        encoded = model.encode(batch.features, batch.frames, profile=profile)
        nats = word_nats(model, encoded, batch, profile=profile)
        return nats.gather(0, batch.lengths[None] - 1).sum()


def word_nats(
    model: Network,
    encoded: Encoded,
    batch: Batch,
    generator: torch.Generator | None = None,
    profile: Profile | None = None,
    own: OwnWords | None = None,
) -> Tensor:
    """-ln p of each true word and end, given the audio and the words before it: [L, B], 0 in the padding.

    Those are the true ones, but for those of its ``own``.
    """
    true, writing = before(batch.targets), model.begin(encoded)
    if own is None:
        hidden, _ = model.write(true, writing, generator, profile)
    else:
        hidden = written(model, true, own, writing, generator, profile)
    nats = cross_entropy(model.logits(hidden).flatten(0, 1), batch.targets.flatten(), reduction="none")
    inside = torch.arange(len(batch.targets), device=nats.device)[:, None] < batch.lengths
    return nats.view_as(batch.targets).masked_fill(~inside, 0.0)


def ctc_nats(model: Network, encoded: Encoded, batch: Batch) -> Tensor:
    """-ln p of each text by CTC, over all ways to say it in the audio's time steps: [B].

    UserError where a sound has fewer time steps than its text takes: one a word, and one between two of the same.
    """
    lengths, targets = batch.lengths - 1, batch.targets.t()
    inside = torch.arange(targets.shape[1] - 1, device=targets.device) < (lengths - 1)[:, None]
    needed = lengths + ((targets[:, 1:] == targets[:, :-1]) & inside).sum(1)
    if (short := (needed > encoded.lengths).nonzero()).numel():
        column = int(short[0])
        raise UserError(
            f"an utterance of {int(lengths[column])} words has a sound of {int(encoded.lengths[column])} time steps, "
            f"and CTC takes {int(needed[column])}; lower network.frames_per_step, train.tempo, or train.ctc_weight to 0"
        )
    scores = model.ctc_scores(encoded)
    return ctc_loss(scores, targets, encoded.lengths, lengths, blank=scores.shape[2] - 1, reduction="none")
