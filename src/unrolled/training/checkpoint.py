"""An unfinished training, kept in one file: a killed one goes on from there, to the same bytes in the end.

    checkpoints/<arm>-<digest of its settings>.safetensors
                                      tensors by name: weights, optimiser, what batches carry on, averages, random
                                      generator, profiles, the history's steps, best weights and epochs; one entry of
                                      text beside them: counters, what training this is, and a digest over everything

Written under another name and renamed, so that the one before stands until the new one is whole; of the same training
twice at once, as two experiments may be, each writes its own and finds either's. It lies outside the outputs of DVC,
which removes those before it runs a stage.
"""

import ast
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from unrolled.ground.atomic import sweep, workplace
from unrolled.ground.start import checkpoints_of
from unrolled.recurrence.compiled import dispatch
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.history import History
from unrolled.training.start import begin
from unrolled.training.state import Content, set_state, state_of
from unrolled.training.training import Training

EVERY = 60.0  # seconds between two checkpoints, or more: what it takes to write them stays under ...
SHARE = 0.02  # ... this share of the time; there is one at each epoch's end too
TEXT = "checkpoint"  # the one entry of metadata: more are written in random order


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

    @classmethod
    def resumed(cls, training: Training, history: History, arm: Mapping[str, Any], corpus: str, encoded: Path) -> Self:
        """In the folder that all trainings share; ``resume`` was called, and where nothing was kept `begin`."""
        checkpoint = cls(checkpoints_of(), training, history, arm, corpus)
        checkpoint.resume()
        begin(training, history, arm, corpus, encoded)
        return checkpoint

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
        tensors, state = state_of(self._training, self._history)
        text: dict[str, Any] = {"arm": self._arm, "identity": self._identity, "seconds": self.seconds, **state}
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
        set_state(self._training, self._history, tensors, text)
        self.seconds = text["seconds"]
        here, there = self._training.device.type, text["device"]
        moved = f" of a training on {there}, now on {here}: rounding will differ" if here != there else ""
        return f"training goes on after step {self._training.step:,}, from {self.path}{moved}"

    def remove(self) -> None:
        """The training is done and its run directory stands."""
        self.path.unlink(missing_ok=True)
        sweep(self.path)


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
    """sha256 over what the files of ours say that this process has imported: those that made the numbers.

    And the kernels, which come when they are first called. Neither what only talks to the user makes any numbers, nor a
    comment, a docstring or the layout of a file.
    """
    ours = {module.__file__ for name, module in sys.modules.items() if name.startswith("unrolled.")}
    ours |= {str(file) for file in Path(dispatch.__file__).parent.glob("*.py")}
    files = sorted(file for file in ours if file and Path(file).parent.name != "shell")
    return hashlib.sha256("".join(map(_said_in, files)).encode()).hexdigest()


def _said_in(file: str) -> str:
    tree = ast.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    return ast.dump(tree, annotate_fields=False)
