"""What a training has yielded so far: every step, every epoch, and the weights of the best one."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from unrolled.ground.score import Sums
from unrolled.recurrence.profile import Addends
from unrolled.recurrence.spectra import Spectrum
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.training import Training

COUNTS = ("step", "epoch", "tokens")  # the columns of `steps` that are whole numbers


class History:
    """Collects what ``fit`` yields, for the run directory and for checkpoints."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._rows: list[dict[str, float]] = []
        self._weights: dict[str, Tensor] = {}
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.diverged_at: int | None = None
        self.inherited = 0  # steps of another training, which this one goes on from

    def add_all(self, records: Iterable[Step | Epoch]) -> None:
        """``add`` each of them."""
        for record in records:
            self.add(record)

    def add(self, record: Step | Epoch) -> None:
        """Note a step or an epoch; the weights of the best epoch so far are kept."""
        if isinstance(record, Step):
            self._rows.append(_row(record))
            self.diverged_at = record.number if record.diverged else None
            return
        self.epochs.append(record)
        if record.number > 0 and (self.best is None or record.valid_loss < self.best.valid_loss):
            self.best = record
            self._weights = _copy_of(self._training.weights())

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the best epoch; of a run that diverged in its first one as they stand, finite or not."""
        return self._weights or _copy_of(self._training.weights())

    def steps(self) -> pd.DataFrame:
        """A row a step: loss, learning rate, gradient norms before and after clipping, before clipping by group."""
        return pd.DataFrame(self._rows)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that was added, for a checkpoint: tensors by name, and the rest as JSON takes it."""
        tensors = {f"best/{name}": each for name, each in self._weights.items()}
        for name in self._rows[0] if self._rows else ():
            column = [row[name] for row in self._rows]
            tensors[f"steps/{name}"] = torch.tensor(column, dtype=torch.int64 if name in COUNTS else torch.float64)
        for epoch in self.epochs:
            tensors |= {f"epoch/{epoch.number}/{name}": each for name, each in _tensors_of(epoch).items()}
        epochs = [[epoch.number, epoch.learning_rate, epoch.valid] for epoch in self.epochs]
        return tensors, {
            "epochs": epochs,
            "best": self.best.number if self.best else None,
            "inherited": self.inherited,
        }

    def restore(self, tensors: dict[str, Tensor], text: dict[str, Any]) -> None:
        """Undo ``state``: as if all of that had been added here."""
        parted: dict[str, dict[str, Any]] = {}
        for name, each in tensors.items():
            folder, _, rest = name.partition("/")
            parted.setdefault(folder, {})[rest] = each
        self._weights = parted.get("best", {})
        columns = {name: column.tolist() for name, column in parted.get("steps", {}).items()}
        self._rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        self.epochs = [_epoch_of(parted["epoch"], *epoch) for epoch in text["epochs"]]
        self.best = next((epoch for epoch in self.epochs if epoch.number == text["best"]), None)
        self.inherited = text["inherited"]


def _copy_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().to("cpu", copy=True) for name, each in weights.items()}


def _row(step: Step) -> dict[str, float]:
    return {
        "step": step.number,
        "epoch": step.epoch,
        "tokens": step.tokens,
        "loss": step.loss,
        "learning_rate": step.learning_rate,
        "grad_norm": step.norms.before,
        "grad_norm_after": step.norms.after,
        **{f"grad_norm/{group}": norm for group, norm in step.norms.groups.items()},
    }


def _tensors_of(epoch: Epoch) -> dict[str, Tensor]:
    """What an epoch measured, by kind, layer and part of it."""
    tensors = {f"profile/{layer}": norms for layer, norms in epoch.profile.items()}
    tensors |= {f"lag_profile/{layer}": norms for layer, norms in epoch.lag_profile.items()}
    for layer, of_layer in epoch.addends.items():
        tensors |= {f"addends/{layer}/{part}": each for part, each in of_layer._asdict().items()}
    for layer, of_gates in epoch.spectra.items():
        for gate, spectrum in of_gates.items():
            tensors[f"spectra/{layer}/{gate}"] = torch.tensor(spectrum, dtype=torch.float64)
    return tensors


def _epoch_of(tensors: dict[str, Tensor], number: int, learning_rate: float, valid: dict[str, list[Any]]) -> Epoch:
    kinds: dict[str, dict[str, Any]] = {"profile": {}, "lag_profile": {}, "addends": {}, "spectra": {}}
    for name, each in tensors.items():
        of, kind, layer, *part = name.split("/")
        if of == str(number) and part:
            kinds[kind].setdefault(layer, {})[part[0]] = each
        elif of == str(number):
            kinds[kind][layer] = each
    kinds["addends"] = {layer: Addends(**parts) for layer, parts in kinds["addends"].items()}
    kinds["spectra"] = {
        layer: {gate: Spectrum(*each.tolist()) for gate, each in gates.items()}
        for layer, gates in kinds["spectra"].items()
    }
    return Epoch(number, learning_rate, {score: Sums(*sums) for score, sums in valid.items()}, **kinds)
