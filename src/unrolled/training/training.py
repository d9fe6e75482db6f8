"""What a training is between two steps: all that must be kept for it to go on as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from unrolled.ground.older_runs import completed
from unrolled.ground.registry import task_part
from unrolled.ground.task import Carry, Model, Task
from unrolled.training.descent import GradientDescent
from unrolled.training.processes import Processes


@dataclass(frozen=True)
class Options:
    """How a training goes on, whatever its task; ``clip_norm`` None: gradients are measured, never clipped."""

    seed: int
    epochs: int
    optimiser: str  # sgd | adam | adamw
    learning_rate: float
    anneal_factor: float
    anneal_after: int | None
    average_after: int | None
    average_again: int | None
    weight_decay: float
    profile_every: int  # batches, of which one is profiled
    clip_norm: float | None

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> Self:
        """Its part of the section ``train``; what else stands there is the task's."""
        stated = completed(train)
        return cls(**{each.name: stated[each.name] for each in fields(cls) if each.name in stated})


@dataclass
class Training:
    """A network on its way, with its optimiser, and where in the data it stands."""

    task: Task
    model: Model
    options: Options
    generator: torch.Generator  # draws the dropout masks
    optimiser: torch.optim.Optimizer | GradientDescent = field(init=False)
    step: int = 0  # updates made
    epoch: int = 0  # epochs ended
    position: int = 0  # batches of the current epoch that were read
    carry: Carry | None = None  # for the next batch; None at an epoch's start
    profiles: dict[str, Tensor] = field(default_factory=dict)  # by layer: ||dL/dh_t|| of each one, [batches, T]
    profiled: int = 0  # rows of them that are filled
    valid_losses: list[float] = field(default_factory=list)  # by epoch
    averages: dict[str, Tensor] | None = None  # of the weights, once averaging has begun
    averaged: int = 0  # how many weights were averaged
    began: int = 0  # after how many epochs averaging last began
    processes: Processes | None = None  # among whom the columns are shared out; None: one reads them all

    def __post_init__(self) -> None:
        options = self.options
        parameters, rate, decay = self.model.parameters(), options.learning_rate, options.weight_decay
        if options.optimiser == "sgd" and decay == 0:
            self.optimiser = GradientDescent(parameters, rate)
            return
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.optimiser]
        # In one pass over the numbers, which is ten times as fast; the bits do not depend on the number of threads.
        fused = self.device.type in ("cpu", "cuda")
        self.optimiser = kind(parameters, lr=rate, weight_decay=decay, fused=fused)

    @classmethod
    def of(cls, arm: Mapping[str, Any], sizes: Mapping[str, int], device: torch.device | None = None) -> Self:
        """An arm's training before its first step; one generator, of the CPU, draws the weights and then the masks.

        ``arm``: its resolved settings; ``sizes``: what the task read off the encoded corpus.
        """
        options = Options.of(arm["train"])
        task = task_of(arm)
        generator = torch.Generator().manual_seed(options.seed)
        return cls(task, task.model(sizes, arm["network"], generator, device), options, generator)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and all that is read must be."""
        return next(self.model.parameters()).device

    @property
    def learning_rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    @property
    def nominal_steps(self) -> int | None:
        """How many time steps are usual in a batch, where the task draws how many each has; else None."""
        return getattr(self.task, "nominal_steps", None)

    @property
    def profiling(self) -> bool:
        """Whether the norms by time step are measured of the next batch; of an epoch's first one they always are."""
        return self.position % self.options.profile_every == 0

    def weights(self) -> dict[str, Tensor]:
        """The weights to predict with: averaged ones, once averaging has begun."""
        return dict(self.model.named_parameters()) if self.averages is None else self.averages


def task_of(arm: Mapping[str, Any]) -> Task:
    """The task of an arm, from its resolved settings."""
    task: Task = task_part(arm["task"], "model").Task(arm["train"])
    return task
