"""An unfinished training, kept in one file: a killed one goes on from there, to the same bytes in the end.

    checkpoints/<arm>-<digest of its settings>.safetensors
                                      tensors by name: weights, optimiser, what batches carry on, averages, random
                                      generator, profiles, the history's steps, best weights and epochs; one entry of
                                      text beside them: counters, what training this is, and a digest over everything

Written under another name and renamed, so that the one before stands until the new one is whole; of the same training
twice at once, as two experiments may be, each writes its own and finds either's. It lies outside the outputs of DVC,
which removes those before it runs a stage.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from unrolled.ground.atomic import sweep, workplace
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.history import History
from unrolled.training.training import Training

EVERY = 60.0  # seconds between two checkpoints, or more: what it takes to write them stays under ...
SHARE = 0.02  # ... this share of the time; there is one at each epoch's end too
TEXT = "checkpoint"  # the one entry of metadata: more are written in random order

Content = tuple[dict[str, Tensor], dict[str, Any]]


class Checkpoint:
    """The file of one arm's training, and what makes that training this one and no other."""

    def __init__(self, folder: Path, training: Training, history: History, arm: Mapping[str, Any], corpus: str) -> None:
        """``arm``: its resolved settings; ``corpus``: the digest of what it is trained on.

        The file is named by both, so that experiments side by side in one ``folder`` do not meet.
        """
        self._training, self._history, self._arm = training, history, str(arm["arm"])
        self.seconds = 0.0  # of training, in all the processes that took part
        self._identity = {
            "task": arm["task"],
            **{f"{section}.{key}": value for section in ("network", "train") for key, value in arm[section].items()},
            "corpus": corpus,
        }
        digest = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()
        self._identity |= {"code": _code_digest(), "torch": torch.__version__}
        self.path = folder / f"{self._arm}-{digest[:8]}.safetensors"
        self._partial = folder / ".partial"  # the folder in which the file is written, as soon as there is one

    def kept(self, records: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
        """Pass the records on to whoever adds them to the history, and write the file now and then."""
        written, wait = time.monotonic(), EVERY
        started = written - self.seconds
        try:
            for record in records:
                yield record
                now = time.monotonic()
                self.seconds = now - started
                ended = isinstance(record, Step) and record.diverged  # its row would stand twice if training went on
                if self._training.step and not ended and (isinstance(record, Epoch) or now - written > wait):
                    self.write()
                    written = time.monotonic()
                    wait = max(EVERY, (written - now) / SHARE)
        finally:  # Ctrl-C may have come in the midst of the clean-up in `write`
            shutil.rmtree(self._partial, ignore_errors=True)

    def write(self) -> None:
        """Put the file in place of what stood there, whole or not at all."""
        (tensors, of_training), (rows, of_history) = _of_training(self._training), self._history.state()
        tensors |= {f"history/{name}": each for name, each in rows.items()}
        tensors = {name: each.detach().to("cpu", copy=True) for name, each in tensors.items()}  # views share storage
        text: dict[str, Any] = {
            "arm": self._arm,
            "identity": self._identity,
            "seconds": self.seconds,
            "training": of_training,
            "history": of_history,
        }
        text["device"] = self._training.device.type
        text["names"] = list(tensors)  # safetensors sorts them, and a table's columns have an order
        text["digest"] = _digest(tensors, text)
        # A folder, for safetensors too writes under another name first, and a kill would leave that for ever.
        with workplace(self.path) as self._partial:
            whole = self._partial / self.path.name
            save_file(tensors, whole, metadata={TEXT: json.dumps(text)})
            with whole.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut after the rename leaves a name without its bytes
            os.replace(whole, self.path)

    def resume(self) -> None:
        """Set training and history to where the file left them, and say so; without a file nothing happens.

        A file of another training, or a damaged one, is not used: a line says why, and training starts anew.
        """
        if self.path.exists():
            said = self._resume()
            print(f"{self._arm}: {said}", file=sys.stderr)

    def _resume(self) -> str:
        try:
            tensors, text = _read(self.path)
        except Exception as error:  # whatever a reader makes of foreign bytes
            return f"training starts anew: {self.path} is damaged ({type(error).__name__}: {error})"
        for key, value in self._identity.items():
            if text["identity"].get(key) != value:
                was = "" if key in ("corpus", "code") else f": {text['identity'].get(key)}, now {value}"
                return f"training starts anew: {self.path} is of another {key}{was}"
        _set_training(self._training, tensors, text["training"])
        self._history.restore(_under(tensors, "history"), text["history"])
        self.seconds = text["seconds"]
        here, there = self._training.device.type, text["device"]
        moved = f" of a training on {there}, now on {here}: rounding will differ" if here != there else ""
        return f"training goes on after step {self._training.step:,}, from {self.path}{moved}"

    def remove(self) -> None:
        """The training is done and its run directory stands."""
        self.path.unlink(missing_ok=True)
        sweep(self.path)


COUNTERS = ("step", "epoch", "position", "profiled", "valid_losses", "averaged")


def _of_training(training: Training) -> Content:
    tensors: dict[str, Tensor] = {f"weights/{name}": each for name, each in training.model.named_parameters()}
    for index, state in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": each for name, each in state.items() if each is not None}
    tensors |= {f"carry/{place}": each for place, each in enumerate(_flat(training.carry))}
    tensors |= {f"profiles/{name}": each for name, each in training.profiles.items()}
    tensors |= {f"averages/{name}": each for name, each in (training.averages or {}).items()}
    tensors["generator"] = training.generator.get_state()
    counters = {name: getattr(training, name) for name in COUNTERS}
    return tensors, counters | {"learning_rate": training.learning_rate}


def _set_training(training: Training, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    device = training.device  # where what follows is wanted; torch sees to its weights and its optimiser
    training.model.load_state_dict(_under(tensors, "weights"))
    optimiser = training.optimiser.state_dict()
    for name, each in _under(tensors, "optimiser").items():
        index, key = name.split("/")
        optimiser["state"].setdefault(int(index), {})[key] = each
    for group in optimiser["param_groups"]:
        group["lr"] = counters["learning_rate"]
    training.optimiser.load_state_dict(optimiser)
    carried = _under(tensors, "carry", device)
    start = training.task.start(training.model)
    training.carry = _like(start, iter(carried[str(place)] for place in range(len(carried)))) if carried else None
    training.profiles = _under(tensors, "profiles", device)
    training.averages = _under(tensors, "averages", device) or None
    training.generator.set_state(tensors["generator"])
    for name in COUNTERS:
        setattr(training, name, counters[name])


def _flat(carry: Any) -> list[Tensor]:
    """The tensors of nested tuples, in their order."""
    if isinstance(carry, Tensor):
        return [carry]
    return [each for part in carry or () for each in _flat(part)]


def _like(carry: Any, tensors: Iterator[Tensor]) -> Any:
    """Undo `_flat`: the tensors in nested tuples such as ``carry``."""
    if isinstance(carry, Tensor):
        return next(tensors)
    parts = [_like(part, tensors) for part in carry]
    return type(carry)(*parts) if hasattr(carry, "_fields") else tuple(parts)


def _under(tensors: dict[str, Tensor], folder: str, device: torch.device | None = None) -> dict[str, Tensor]:
    own = {name: each.to(device) for name, each in tensors.items() if name.startswith(f"{folder}/")}
    return {name.removeprefix(f"{folder}/"): each for name, each in own.items()}


def _read(path: Path) -> Content:
    with safe_open(path, framework="pt") as file:
        text = json.loads(file.metadata()[TEXT])
        tensors = {name: file.get_tensor(name) for name in text["names"]}
    digest = text.pop("digest")
    if digest != _digest(tensors, text):
        raise ValueError("its bytes are not those that were written")
    return tensors, text


def _digest(tensors: dict[str, Tensor], text: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(text, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _code_digest() -> str:
    """sha256 over the files of ours that this process has imported: those that made the numbers.

    What only talks to the user makes none.
    """
    ours = {module.__file__ for name, module in sys.modules.items() if name.startswith("unrolled.")}
    files = sorted(file for file in ours if file and Path(file).parent.name != "shell")
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
