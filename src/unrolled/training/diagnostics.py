"""What is measured at an epoch's end: the validation split's scores, and where the gradient goes.

Nothing of it touches the training: no random number is drawn, and the parameters' `.grad` stays as it was.
"""

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from unrolled.ground.corpus import Split
from unrolled.ground.score import Sums
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Addends, Profile, lag_profile
from unrolled.recurrence.spectra import Spectrum, spectra
from unrolled.training.training import Training

LAG_STEPS = 100  # how far back the lag profile looks: the lecture's rule of thumb for an LSTM


@dataclass(frozen=True)
class Epoch:
    """What is known at an epoch's end; number 0 is the untrained network."""

    number: int
    learning_rate: float
    valid: dict[str, Sums]  # by score; the first is what the learning rate is annealed on
    profile: dict[str, Tensor]  # by layer: median over the profiled batches of ||dL/dh_t||, [T]; the last ends a window
    lag_profile: dict[str, Tensor]  # by layer: ||dL/dh|| by distance from one loss at the last step
    addends: dict[str, Addends]  # by layer: ||dL_t/dW|| of what each step t of a batch adds, and of their sum
    spectra: dict[str, dict[str, Spectrum]]  # by layer and gate: of the recurrent weights

    @property
    def valid_loss(self) -> float:
        """Mean of the first score: the best epoch is the one where it is lowest."""
        first = next(iter(self.valid.values()))
        return first.sum / first.terms


def end_of_epoch(training: Training, train: Split, valid: Split) -> Epoch:
    """Measure the model as it is now."""
    model = training.model
    layers = [module for module in model.modules() if isinstance(module, RecurrentLayer)]
    return Epoch(
        training.epoch,
        training.learning_rate,
        training.task.validate(model, valid),
        {name: _medians(norms[: training.profiled]) for name, norms in training.profiles.items()},
        lag_profile(lambda profile: training.task.single_loss(model, train, LAG_STEPS, profile), model.parameters()),
        addends(training, train),
        {layer.name: spectra(layer) for layer in layers},
    )


def _medians(norms: Tensor) -> Tensor:
    """Over an epoch's batches, [batches, T]; of those that reach a time step, and not of one that none has reached."""
    return norms.nanmedian(0).values[~norms.isnan().all(0)]


def addends(training: Training, train: Split) -> dict[str, Addends]:
    """What each time step adds to the gradients of the recurrent layers' shared weights; {layer name: norms [T]}.

    Of training's loss, the mean over all terms of a batch, without dropout. The batch is the second, if there are two,
    and starts from what the first carried on.
    """
    task, model = training.task, training.model
    carry, profile = task.start(model), Profile(addends_wanted=True)
    first, *more = islice(task.batches(train, device=training.device), 2)
    if more:
        with torch.no_grad():
            _, _, carry = task.loss(model, first, task.entry(model, first, carry))
    measured = more[0] if more else first
    total, terms, _ = task.loss(model, measured, task.entry(model, measured, carry), profile=profile)
    torch.autograd.grad(total / terms, list(model.parameters()), allow_unused=True)
    return profile.addends
