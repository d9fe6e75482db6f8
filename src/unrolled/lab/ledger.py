"""The run directory: what a training leaves behind, written whole or not at all, and read back with every byte checked.

    runs/<arm>/
      weights.safetensors   of the best epoch by validation loss
      settings.json         the arm's settings, the vocabulary's size and the corpus' digest
      history.parquet       a row a step: loss, learning rate, gradient norms before and after clipping, by group
      epochs.csv            a row an epoch: losses, perplexities, a summary of the norms
      profile.csv           norm of dL/dh by epoch, layer and time step, all losses of the window mixed
      lag_profile.csv       the same from one loss at the last step, by distance back; epoch 0 is the untrained network
      spectra.csv           spectral radius and largest singular value of each gate's recurrent weights, by epoch
      addends.csv           norm of what each time step adds to the gradient of a shared weight, and of their sum
      summary.json          how it ended, and the sha256 of every file above

Nothing in it tells the time or the place, so the same settings give the same bytes.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from unrolled.bptt import Addends
from unrolled.corpus.folders import whole_folder, whole_text
from unrolled.lab.device import CPU, describe
from unrolled.lab.fit import REDUCTION, Epoch, Step, Training
from unrolled.nets.gates import Spectrum
from unrolled.nets.network import Network
from unrolled.perplexity import perplexity
from unrolled.sealed import seal, sha256, write_json
from unrolled.settings import Settings
from unrolled.tasks.language_model import SCORES, Sums

COUNTS = ("step", "epoch", "tokens")  # the columns of the history that are whole numbers


class Ledger:
    """Consumes what ``fit`` yields and writes the run directory at the end."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._steps: list[dict[str, float]] = []
        self._epochs: list[Epoch] = []
        self._best: Epoch | None = None
        self._weights: dict[str, Tensor] = {}
        self._diverged_at: int | None = None

    def add(self, record: Step | Epoch) -> None:
        """Note a step or an epoch; the weights of the best epoch so far are kept."""
        if isinstance(record, Step):
            self._steps.append(_history_row(record))
            self._diverged_at = record.number if record.diverged else None
            return
        self._epochs.append(record)
        if record.number > 0 and (self._best is None or record.valid_loss < self._best.valid_loss):
            self._best = record
            self._weights = _copy_of(self._training.weights())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that was added, for a checkpoint: tensors by name, and the rest as JSON takes it."""
        tensors = {f"best/{name}": each for name, each in self._weights.items()}
        for name in self._steps[0] if self._steps else ():
            column = [row[name] for row in self._steps]
            tensors[f"history/{name}"] = torch.tensor(column, dtype=torch.int64 if name in COUNTS else torch.float64)
        for epoch in self._epochs:
            for kind in ("profile", "lag_profile"):
                for layer, norms in getattr(epoch, kind).items():
                    tensors[f"epoch/{epoch.number}/{kind}/{layer}"] = norms
            for layer, of_layer in epoch.addends.items():
                for part, each in of_layer._asdict().items():
                    tensors[f"epoch/{epoch.number}/addends/{layer}/{part}"] = each
            for layer, of_gates in epoch.spectra.items():
                for gate, of_gate in of_gates.items():
                    both = torch.tensor(of_gate, dtype=torch.float64)
                    tensors[f"epoch/{epoch.number}/spectra/{layer}/{gate}"] = both
        epochs = [[epoch.number, epoch.learning_rate, epoch.valid] for epoch in self._epochs]
        return tensors, {"epochs": epochs, "best": self._best.number if self._best else None}

    def restore(self, tensors: dict[str, Tensor], text: dict[str, Any]) -> None:
        """Undo ``state``: as if all of that had been added here."""
        parted: dict[str, dict[str, Any]] = {}
        for name, each in tensors.items():
            folder, _, rest = name.partition("/")
            parted.setdefault(folder, {})[rest] = each
        self._weights = parted.get("best", {})
        columns = {name: column.tolist() for name, column in parted.get("history", {}).items()}
        self._steps = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        self._epochs = [_epoch_of(parted["epoch"], *epoch) for epoch in text["epochs"]]
        self._best = next((epoch for epoch in self._epochs if epoch.number == text["best"]), None)

    def write(self, directory: Path, settings: Settings, corpus_digest: str) -> None:
        """Write the run directory in place of what stood there.

        A run that diverged before its first epoch ended leaves the weights as they stood then, finite or not.
        """
        history = pd.DataFrame(self._steps)
        with whole_folder(directory) as place:
            save_file(self._weights or _copy_of(self._training.weights()), place / "weights.safetensors")
            write_json(place / "settings.json", _settings_of_run(settings, self._training.network, corpus_digest))
            history.to_parquet(place / "history.parquet", index=False)
            _epochs_frame(self._epochs, history).to_csv(place / "epochs.csv", index=False)
            _profile_frame(self._epochs, "profile", "time_step").to_csv(place / "profile.csv", index=False)
            _profile_frame(self._epochs, "lag_profile", "distance").to_csv(place / "lag_profile.csv", index=False)
            _addends_frame(self._epochs).to_csv(place / "addends.csv", index=False)
            _spectra_frame(self._epochs).to_csv(place / "spectra.csv", index=False)
            seal(place / "summary.json", self._summary(settings))

    def write_timings(self, path: Path, run: Path, seconds: float) -> None:
        """How long the training of ``run`` took: a file of its own, for it is never the same twice."""
        tokens = sum(row["tokens"] for row in self._steps)
        timings = {
            "run": sha256(run / "summary.json"),
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
            "threads": torch.get_num_threads(),
            "device": describe(self._training.network.device),
        }
        whole_text(path, json.dumps(timings, indent=2) + "\n")

    def _summary(self, settings: Settings) -> dict[str, Any]:
        best = self._best
        return {
            "status": "finished" if self._diverged_at is None else "diverged",
            "diverged_at_step": self._diverged_at,
            "steps": len(self._steps),
            "epochs": len(self._epochs) - 1,
            "best_epoch": best.number if best else None,
            "parameters": sum(parameter.numel() for parameter in self._training.network.parameters()),
            "valid": {head: sums._asdict() for head, sums in best.valid.items()} if best else {},
            "clip_norm": settings.train.clip_norm,
            "reduction": REDUCTION,
        }


def _copy_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().to(CPU, copy=True) for name, each in weights.items()}


def _settings_of_run(settings: Settings, network: Network, corpus_digest: str) -> dict[str, Any]:
    return {
        "arm": settings.arm,
        "arch": settings.arch,
        "clipping": settings.clipping,
        "network": settings.network.model_dump(),
        "train": settings.train.model_dump(),
        "vocabulary_size": network.embedding.num_embeddings,
        "corpus_digest": corpus_digest,
    }


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
    return Epoch(number, learning_rate, {head: Sums(*sums) for head, sums in valid.items()}, **kinds)


def _history_row(step: Step) -> dict[str, float]:
    return {
        "step": step.number,
        "epoch": step.epoch,
        "tokens": step.tokens,
        "loss": step.loss,
        "learning_rate": step.learning_rate,
        "norm_before": step.norms.before,
        "norm_after": step.norms.after,
        **{f"norm/{group}": norm for group, norm in step.norms.groups.items()},
    }


def _epochs_frame(epochs: list[Epoch], history: pd.DataFrame) -> pd.DataFrame:
    """A row an epoch; the columns stand even where the first epoch never ended."""
    heads = list(epochs[0].valid)
    scored = [name for head in heads for name in (f"valid_nats_{head}", f"valid_{SCORES[head]}")]
    columns = ["epoch", "learning_rate", "train_loss", *scored]
    columns += ["valid_tokens", "norm_median", "norm_max", "clipped_share"]
    rows = []
    for epoch in epochs[1:]:
        steps = history[history.epoch == epoch.number]
        of_heads = [each for sums in epoch.valid.values() for each in (sums.nats, perplexity(sums.nats, sums.tokens))]
        rows.append(
            [
                epoch.number,
                epoch.learning_rate,
                float((steps.loss * steps.tokens).sum() / steps.tokens.sum()),
                *of_heads,
                epoch.valid[heads[0]].tokens,
                float(steps.norm_before.median()),
                float(steps.norm_before.max()),
                float((steps.norm_after < steps.norm_before).mean()),
            ]
        )
    return pd.DataFrame(rows, columns=columns)


def _profile_frame(epochs: list[Epoch], kind: str, index: str) -> pd.DataFrame:
    rows = []
    for epoch in epochs:
        for name, norms in getattr(epoch, kind).items():
            rows += [[epoch.number, *_place(name), position, norm] for position, norm in enumerate(norms.tolist())]
    return pd.DataFrame(rows, columns=["epoch", "stack", "layer", index, "norm"])


def _spectra_frame(epochs: list[Epoch]) -> pd.DataFrame:
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
    stack, layer = name.split(".")
    return stack, int(layer)


def _addends_frame(epochs: list[Epoch]) -> pd.DataFrame:
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
