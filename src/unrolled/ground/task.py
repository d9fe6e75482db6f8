"""The contract of a task: all that training, scoring, probing, the report and MLflow ask of it.

tasks/<task>/
  settings.py              SECTIONS of params.yaml that are its own, and memory(), what a training takes at least;
                           check_arm(), where a network and how it is trained may not go together
  corpus/corpus.py         what data it reads and how (`corpus/of_task.py`); a task without it reads plain text
  model/task.py            Task, the class below: the network, its batches and its loss
  evaluation/scores.py     SCORES, each declared once; the first is what arms are compared by
  evaluation/evaluate.py   evaluate(), and BASELINES, models without recurrence
  probes/probes.py         stacks(), context() and targets(): the network's parts and what they read
  report.py                what the comparison says of it beyond its scores
  publishing.py            what MLflow is told: its experiment, the model that is served (LOADER, or None), a note

A new task is such a folder and pipelines/<task>/. No other room names one.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.score import Sums

Batch = Any  # the task's own: made by `batches`, read by `loss`
Carry = Any  # nested tuples of tensors
Profile = Any  # recurrence.profile.Profile: it is only passed on to the layers
Columns = Any  # recurrence.columns.Columns


class Model(nn.Module):
    """A network that a training knows how to report of."""

    def groups(self) -> dict[str, list[Tensor]]:
        """The parameters by the part of the network that gradient norms are reported of, each in one group."""
        raise NotImplementedError

    def rows(self) -> dict[str, str]:
        """The parameters with a row for each name of a kind, as "types", in `ground.corpus.vocabularies`.

        Another vocabulary takes such rows over by their names; none, where a network is bound to its own.
        """
        return {}


class Task(Protocol):
    """One task with the settings of one training; ``train``: that section of params.yaml."""

    def __init__(self, train: Mapping[str, Any]) -> None: ...

    def sizes(self, corpus: Corpus) -> dict[str, int]:
        """What the encoded data decides about the network, as the number of types; kept beside its weights."""

    def model(
        self,
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Model:
        """The network; ``settings``: the section ``network``. ``generator``, of the CPU, draws every weight."""

    def steps(self, split: Split, epoch: int = 1) -> int:
        """Batches in an epoch; the first is number 1."""

    def batches(
        self, split: Split, *, epoch: int = 1, first: int = 0, device: torch.device | None = None
    ) -> Iterator[Batch]:
        """The epoch's batches but for the ``first`` ones: the same index, the same batch, so a training can go on."""

    def tokens(self, batch: Batch) -> int:
        """What a rate of tokens a second counts."""

    def start(self, model: Model) -> Carry:
        """What the first batch of an epoch is given in place of what a batch before it carried on."""

    def entry(self, model: Model, batch: Batch, carry: Carry) -> Carry:
        """What the batch starts from: what was carried on, and what else is read without gradient (the text ahead)."""

    def loss(
        self,
        model: Model,
        batch: Batch,
        entry: Carry,
        *,
        generator: torch.Generator | None = None,
        profile: Profile | None = None,
    ) -> tuple[Tensor, int, Carry]:
        """The summed loss, the number of terms in it, and what the next batch is to be given, cut from the graph.

        ``generator`` draws the dropout masks; without one nothing drops out.
        """

    def validate(self, model: Model, split: Split) -> dict[str, Sums]:
        """Sums by score over the whole split. The first is what the learning rate is annealed on, its mean lowest."""

    def single_loss(self, model: Model, split: Split, steps: int, profile: Profile, *, stretch: int = 0) -> Tensor:
        """One loss a column, about ``steps`` time steps from where the layers start: for the lag profile.

        ``stretch``: which of the split's stretches, that do not overlap; IndexError where it has fewer.
        """


class SharedTask(Task, Protocol):
    """A task that trains in several processes too, each of which reads some columns of a batch."""

    side_by_side: str  # the key of ``train`` that says how many columns a batch has

    def share(self, batch: Batch, process: int, of: int) -> tuple[Batch, Columns]:
        """The batch with the columns of one process alone, and which these are; as many time steps as it has.

        UserError where this training cannot be shared out.
        """


class VaryingTask(Task, Protocol):
    """A task that may draw how many time steps each batch has."""

    # What is usual; None: in this training they are not drawn. A step's learning rate is in proportion to its batch's,
    # and norms by time step are kept of so many, counted from a batch's end.
    nominal_steps: int | None

    def time_steps(self, batch: Batch) -> int: ...


class WholeSequences:
    """What tasks have in common whose batches hold whole sequences, of ``lengths`` [B]: none is carried on."""

    def tokens(self, batch: Batch) -> int:
        return int(batch.lengths.sum())

    def start(self, model: Model) -> Carry:
        return ()

    def entry(self, model: Model, batch: Batch, carry: Carry) -> Carry:
        return carry
