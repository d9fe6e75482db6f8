"""Training as a generator: it yields every step and epoch, and whoever wants progress or a history consumes them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.ground.task import Batch, Carry
from unrolled.recurrence.bptt import Profile
from unrolled.training.annealing import anneal, average, averaged
from unrolled.training.clipping import Norms, clip
from unrolled.training.diagnostics import Epoch, end_of_epoch
from unrolled.training.training import Training

REDUCTION = "mean over all terms of a batch"  # what loss, gradient and clip_norm refer to


@dataclass(frozen=True)
class Step:
    """One update: the mean loss of a batch and the gradient norms it was taken with."""

    number: int
    epoch: int
    tokens: int
    loss: float
    learning_rate: float
    norms: Norms

    @property
    def diverged(self) -> bool:
        """The loss or its gradient is not finite: no update was made, and none will follow."""
        return not (math.isfinite(self.loss) and math.isfinite(self.norms.before))


def fit(training: Training, train: Split, valid: Split) -> Iterator[Step | Epoch]:
    """Train the model in place by truncated back-propagation through time, from where ``training`` stands.

    Yields the untrained model's Epoch 0, then each Step, and an Epoch at each epoch's end. A step that is not finite
    is yielded, marked ``diverged``, and is the last thing yielded: divergence is a result.
    """
    if training.step == 0:
        yield end_of_epoch(training, train, valid)
    while training.epoch < training.options.epochs:
        for step in steps(training, train):
            yield step
            if step.diverged:
                return
        training.epoch, training.position, training.carry = training.epoch + 1, 0, None
        with averaged(training):
            epoch = end_of_epoch(training, train, valid)
        training.profiles, training.profiled = {}, 0
        anneal(training, epoch.valid_loss)
        yield epoch


def steps(training: Training, train: Split) -> Iterator[Step]:
    """The rest of the current epoch."""
    model, options, task = training.model, training.options, training.task
    groups = model.groups()
    for batch, entry in upcoming(training, train):
        profile = Profile()
        training.optimiser.zero_grad()
        total, terms, carry = task.loss(model, batch, entry, generator=training.generator, profile=profile)
        mean = total / terms
        mean.backward()
        norms = clip(groups, options.clip_norm)
        number, rate = training.step + 1, training.learning_rate
        step = Step(number, training.epoch + 1, task.tokens(batch), mean.item(), rate, norms)
        if step.diverged:
            yield step
            return
        training.optimiser.step()
        average(training)
        _keep(profile.norms, training, train)
        training.step, training.position, training.carry = number, training.position + 1, carry
        yield step


def upcoming(training: Training, train: Split) -> Iterator[tuple[Batch, Carry]]:
    """The batches of the current epoch that were not read yet, each with what its step starts from."""
    task = training.task
    for batch in task.batches(train, epoch=training.epoch + 1, first=training.position, device=training.device):
        carry = training.carry if training.carry is not None else task.start(training.model)
        yield batch, task.entry(training.model, batch, carry)


def _keep(norms: dict[str, Tensor], training: Training, train: Split) -> None:
    """Add a batch's norms by time step to those of the epoch, if it has as many steps as the epoch's first.

    One array an epoch: a small tensor a step would lie between the large ones and keep the heap from shrinking.
    """
    kept = training.profiles
    if not kept:
        rows = training.task.steps(train)
        kept |= {name: of_batch.new_empty(rows, len(of_batch)) for name, of_batch in norms.items()}
    if all(name in kept and len(of_batch) == kept[name].shape[1] for name, of_batch in norms.items()):
        for name, of_batch in norms.items():
            kept[name][training.profiled] = of_batch
        training.profiled += 1
