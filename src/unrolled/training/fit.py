"""Training as a generator: it yields every step and epoch, and whoever wants progress or a history consumes them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor
from torch.nn.functional import pad

from unrolled.ground.corpus import Split
from unrolled.ground.score import Sums
from unrolled.ground.task import Batch, Carry, VaryingTask
from unrolled.recurrence.profile import Profile
from unrolled.training.annealing import anneal, average, averaged
from unrolled.training.clipping import Norms, clip
from unrolled.training.diagnostics import Epoch, end_of_epoch
from unrolled.training.processes import Gradient
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
        yield _measured(training, train, valid)
    while training.epoch < training.options.epochs:
        for step in steps(training, train):
            yield step
            if step.diverged:
                return
        training.epoch, training.position, training.carry = training.epoch + 1, 0, None
        with averaged(training):
            epoch = _measured(training, train, valid)
        training.profiles, training.profiled = {}, 0
        anneal(training, epoch.valid_loss)
        yield epoch


def steps(training: Training, train: Split) -> Iterator[Step]:
    """The rest of the current epoch."""
    model, options, task = training.model, training.options, training.task
    groups = model.groups()
    for batch, carry in _unread(training, train):
        training.optimiser.zero_grad()
        profile = Profile() if training.profiling else None
        found = _gradient(training, batch, carry, profile)
        norms = clip(groups, options.clip_norm)
        number, rate = training.step + 1, _rate(training, batch)
        step = Step(number, training.epoch + 1, task.tokens(batch), float(found.loss), rate, norms)
        if step.diverged:
            yield step
            return
        _update(training, rate)
        average(training)
        if profile and found.norms:
            _keep(found.norms, profile.reversed, training, train)
        training.step, training.position, training.carry = number, training.position + 1, found.carry
        yield step


def upcoming(training: Training, train: Split) -> Iterator[tuple[Batch, Carry]]:
    """The batches of the current epoch that were not read yet, each with what its step starts from."""
    for batch, carry in _unread(training, train):
        yield batch, training.task.entry(training.model, batch, carry)


def _unread(training: Training, train: Split) -> Iterator[tuple[Batch, Carry]]:
    """The same, each with what was carried on to it."""
    task = training.task
    for batch in task.batches(train, epoch=training.epoch + 1, first=training.position, device=training.device):
        yield batch, training.carry if training.carry is not None else task.start(training.model)


def _gradient(training: Training, batch: Batch, carry: Carry, profile: Profile | None) -> Gradient:
    """The gradients of the batch's mean loss, at the parameters, and what else it leaves."""
    task, model, generator = training.task, training.model, training.generator
    if training.processes is not None:
        return training.processes.gradient(task, model, batch, carry, generator, profile)
    entry = task.entry(model, batch, carry)
    total, terms, after = task.loss(model, batch, entry, generator=generator, profile=profile)
    mean = total / terms
    mean.backward()
    norms = profile.norms if profile else {}
    return Gradient(mean.detach(), norms, after)  # a number only after the norms: a GPU stands still for each


def _rate(training: Training, batch: Batch) -> float:
    """The step's learning rate, in proportion to its time steps where these are drawn (Merity et al. 2018, 4.1)."""
    usual, rate = training.nominal_steps, training.learning_rate
    return rate if usual is None else rate * cast(VaryingTask, training.task).time_steps(batch) / usual


def _update(training: Training, rate: float) -> None:
    """The optimiser's step, at a rate that is this one's alone."""
    (group,) = training.optimiser.param_groups
    own, group["lr"] = group["lr"], rate
    training.optimiser.step()
    group["lr"] = own


def _measured(training: Training, train: Split, valid: Split) -> Epoch:
    """`end_of_epoch`; of several processes the first measures, and the others know the scores and no more."""
    if training.processes is None:
        return end_of_epoch(training, train, valid)
    if training.processes.rank == 0:
        epoch = end_of_epoch(training, train, valid)
        training.processes.told(lambda: {name: tuple(sums) for name, sums in epoch.valid.items()})
        return epoch
    told = training.processes.told(dict)
    scores = {name: Sums(*sums) for name, sums in told.items()}
    return Epoch(training.epoch, training.learning_rate, scores, {}, {}, {}, {})


def _keep(norms: dict[str, Tensor], in_reverse: set[str], training: Training, train: Split) -> None:
    """Add a batch's norms by time step to those of the epoch, if it has as many steps as the epoch's first.

    Where lengths vary, every batch's, so that the steps at the same distance from its end stand below each other.
    One array an epoch: a small tensor a step would lie between the large ones and keep the heap from shrinking.
    """
    kept, usual = training.profiles, training.nominal_steps
    if usual is not None:
        norms = {name: _from_the_end(of_batch, usual, name in in_reverse) for name, of_batch in norms.items()}
    if not kept:
        rows = -(-training.task.steps(train, training.epoch + 1) // training.options.profile_every)
        kept |= {name: of_batch.new_empty(rows, len(of_batch)) for name, of_batch in norms.items()}
    if all(name in kept and len(of_batch) == kept[name].shape[1] for name, of_batch in norms.items()):
        for name, of_batch in norms.items():
            kept[name][training.profiled] = of_batch
        training.profiled += 1


def _from_the_end(norms: Tensor, steps: int, reverse: bool) -> Tensor:
    """Of the last ``steps`` that a layer reads, nan for those it never read; one in reverse ends at the first."""
    beyond = steps - len(norms)
    return pad(norms, (0, beyond) if reverse else (beyond, 0), value=math.nan)
