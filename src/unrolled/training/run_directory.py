"""The run directory: what a training leaves behind, written whole or not at all; ground/run.py reads it back.

    runs/<arm>/
      weights.safetensors   of the best epoch by validation loss
      last.safetensors      what else a longer training needs to go on from the end; none where it diverged
      settings.json         the arm's resolved settings, the network's sizes and the corpus' digest
      steps.parquet         a row a step: loss, learning rate, gradient norms before and after clipping, by group
      epochs.csv            a row an epoch: training loss, the validation split's sums by score, a summary of the norms
      profile.csv           norm of dL/dh by epoch, layer and time step, all losses of the batch mixed; the median of
                            the batches that train.profile_every names; where lengths vary, the last step is every
                            window's end
      lag_profile.csv       the same from one loss at the last step, by distance back; epoch 0 is the untrained network
      spectra.csv           spectral radius and largest singular value of each gate's recurrent weights, by epoch
      addends.csv           norm of what each time step adds to the gradient of a shared weight, and of their sum
      summary.json          how it ended, and the sha256 of every file above

Nothing in it tells the time or the place, so the same settings give the same bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from unrolled.ground.atomic import whole_folder, whole_text
from unrolled.ground.checksums import seal, sha256, write_json
from unrolled.ground.score import Sums
from unrolled.ground.start import SETTINGS, WEIGHTS
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.training.clipping import is_clipped
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import REDUCTION
from unrolled.training.history import History
from unrolled.training.state import write_last
from unrolled.training.training import Training

TABLES = ("epochs", "profile", "lag_profile", "addends", "spectra")


def write_run(
    directory: Path, training: Training, history: History, arm: Mapping[str, Any], sizes: Mapping[str, int], corpus: str
) -> None:
    """Write the run directory in place of what stood there; ``arm``: its resolved settings, ``corpus``: the digest."""
    steps = history.steps()
    with whole_folder(directory) as place:
        save_file(history.weights, place / WEIGHTS)
        if history.diverged_at is None:
            write_last(place, training, history)
        write_json(place / SETTINGS, {**arm, "sizes": dict(sizes), "corpus_digest": corpus})
        steps.to_parquet(place / "steps.parquet", index=False)
        tables = {
            "epochs": _epochs_table(history.epochs, steps, training.options.clip_norm),
            "profile": _profile_table(history.epochs, "profile", "time_step"),
            "lag_profile": _profile_table(history.epochs, "lag_profile", "distance"),
            "addends": _addends_table(history.epochs),
            "spectra": _spectra_table(history.epochs),
        }
        for name, table in tables.items():
            table.to_csv(place / f"{name}.csv", index=False)
        seal(place / "summary.json", _summary(training, history))


def write_timings(arm: str, training: Training, history: History, seconds: float, device: str) -> None:
    """timings/<arm>.json, how long its training took: a file of its own, for it is never the same twice."""
    if training.processes is not None:
        device += f" in {training.processes.size} processes"
    tokens = int(history.steps()["tokens"][history.inherited :].sum())
    timings = {
        "run": sha256(Path("runs", arm, "summary.json")),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    whole_text(Path("timings", f"{arm}.json"), json.dumps(timings, indent=2) + "\n")


def _summary(training: Training, history: History) -> dict[str, Any]:
    best = history.best
    return {
        "status": "finished" if history.diverged_at is None else "diverged",
        "diverged_at_step": history.diverged_at,
        "steps": training.step + (history.diverged_at is not None),
        "epochs": len(history.epochs) - 1,
        "best_epoch": best.number if best else None,
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
        "stacks": _stacks(training.model),
        "valid": {score: sums._asdict() for score, sums in best.valid.items()} if best else {},
        "reduction": REDUCTION,
    }


def _stacks(model: nn.Module) -> dict[str, bool]:
    """The stacks of recurrent layers in their order, and whether each runs from right to left."""
    layers = (module for module in model.modules() if isinstance(module, RecurrentLayer))
    return {_place(layer.name)[0]: layer.reverse for layer in layers}


def _epochs_table(epochs: list[Epoch], steps: pd.DataFrame, clip_norm: float | None) -> pd.DataFrame:
    """The columns stand even where the first epoch never ended."""
    scores = list(epochs[0].valid)
    columns = ["epoch", "learning_rate", "train_loss", *(f"{score}_{of}" for score in scores for of in Sums._fields)]
    columns += ["grad_norm_median", "grad_norm_max", "clipped_share"]
    rows = []
    for epoch in epochs[1:]:
        own = steps[steps["epoch"] == epoch.number]
        norms = own["grad_norm"]
        rows.append(
            [
                epoch.number,
                epoch.learning_rate,
                float((own["loss"] * own["tokens"]).sum() / own["tokens"].sum()),
                *(each for score in scores for each in epoch.valid[score]),
                float(norms.median()),
                float(norms.max()),
                float(is_clipped(norms, clip_norm).mean()),
            ]
        )
    return pd.DataFrame(rows, columns=columns)


def _profile_table(epochs: list[Epoch], kind: str, index: str) -> pd.DataFrame:
    rows = []
    for epoch in epochs:
        for name, norms in getattr(epoch, kind).items():
            rows += [[epoch.number, *_place(name), position, norm] for position, norm in enumerate(norms.tolist())]
    return pd.DataFrame(rows, columns=["epoch", "stack", "layer", index, "norm"])


def _spectra_table(epochs: list[Epoch]) -> pd.DataFrame:
    rows = [
        [epoch.number, *_place(name), gate, *spectrum]
        for epoch in epochs
        for name, gates in epoch.spectra.items()
        for gate, spectrum in gates.items()
    ]
    columns = ["epoch", "stack", "layer", "gate", "spectral_radius", "largest_singular_value"]
    return pd.DataFrame(rows, columns=columns)


def _place(name: str) -> tuple[str, int]:
    """Stack and layer of a layer's name, as "forward.0"."""
    stack, _, layer = name.rpartition(".")
    return stack, int(layer)


def _addends_table(epochs: list[Epoch]) -> pd.DataFrame:
    """A row a time step of each weight; `sum_norm`, of the whole gradient, stands in all of them."""
    rows = []
    for epoch in epochs:
        for name, addends in epoch.addends.items():
            for weight, norms, whole in (
                ("weight_ih", addends.weight_ih, addends.sum_ih),
                ("weight_hh", addends.weight_hh, addends.sum_hh),
            ):
                for step, norm in enumerate(norms.tolist()):
                    rows.append([epoch.number, *_place(name), weight, step, norm, whole.item()])
    return pd.DataFrame(rows, columns=["epoch", "stack", "layer", "weight", "time_step", "norm", "sum_norm"])
