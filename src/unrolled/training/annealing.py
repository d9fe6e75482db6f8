"""What happens to the learning rate at an epoch's end, and to the weights after each step: annealing and averaging."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unrolled.training.training import Training


def anneal(training: Training, valid_loss: float) -> None:
    """Divide the learning rate, and begin to average the weights, where the options say so.

    Averaging begins where the loss is above the best of all epochs but the last n (NT-ASGD: Merity, Keskar & Socher
    2018, algorithm 1), with n = 0 after the first epoch. It begins again, from the averages, by the same rule over the
    epochs since it began (their fine-tuning, section 5), or else goes on until the training ends.
    """
    options, before = training.options, training.valid_losses
    patience = options.average_after if training.averages is None else options.average_again
    if patience is not None and _stalled(valid_loss, before[training.began :], patience):
        if training.averages is not None:
            training.model.load_state_dict(training.averages)
        training.averages = {name: each.detach().clone() for name, each in training.model.named_parameters()}
        training.averaged, training.began = 0, len(before) + 1
    lowered = valid_loss < min(before, default=math.inf)
    if not lowered if options.anneal_after is None else training.epoch >= options.anneal_after:
        for group in training.optimiser.param_groups:
            group["lr"] /= options.anneal_factor
    before.append(valid_loss)


def _stalled(valid_loss: float, before: list[float], patience: int) -> bool:
    return patience == 0 or valid_loss > min(before[:-patience], default=math.inf)


@torch.no_grad()
def average(training: Training) -> None:
    """Take the weights as they stand now into their averages, once averaging has begun."""
    if training.averages is None:
        return
    training.averaged += 1
    for name, parameter in training.model.named_parameters():
        training.averages[name].lerp_(parameter, 1 / training.averaged)


@contextmanager
def averaged(training: Training) -> Iterator[None]:
    """The model with its averaged weights, for as long as the block lasts."""
    if training.averages is None:
        yield
        return
    own = {name: each.detach().clone() for name, each in training.model.named_parameters()}
    training.model.load_state_dict(training.averages)
    try:
        yield
    finally:
        training.model.load_state_dict(own)
