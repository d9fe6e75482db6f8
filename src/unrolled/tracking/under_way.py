"""Trainings that are under way, in MLflow: as far as their last checkpoints go, under the names of the finished curves.

A run of its own, that says so in its name, shows such a training; it is deleted once there is no checkpoint any more,
for then the finished training is published from its files. The training knows nothing of this: nothing that befalls
MLflow can harm it. Imported by publishing alone.
"""

import json
import math
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mlflow.tracking import MlflowClient
from safetensors import safe_open

from unrolled.perplexity import perplexity
from unrolled.report.series import BY_STEP
from unrolled.tasks.language_model import SCORES

Array = np.ndarray[Any, np.dtype[Any]]
TAG, STEP = "unrolled.under_way", "unrolled.step"  # which checkpoint of which machine is shown, and up to which step
FOLDERS = ("checkpoints", ".dvc/tmp/exps/*/checkpoints")  # an experiment's lie in its temporary workspace


class UnderWay(NamedTuple):
    """A training as its last checkpoint has it: settings, a row a step, and what each epoch's end was scored."""

    settings: dict[str, Any]
    history: dict[str, Array]
    epochs: list[tuple[int, float, dict[str, tuple[float, int]]]]  # number, learning rate, nats and tokens by head


def checkpoints(workspace: Path) -> list[Path]:
    """Of all trainings under way, those of DVC's experiments too."""
    return sorted(path for folder in FOLDERS for path in workspace.glob(f"{folder}/*.safetensors"))


def show(client: MlflowClient, experiment: str, repository: Path) -> None:
    """Bring the runs of trainings under way in ``repository`` up to their checkpoints; delete those that ended."""
    place = f"{socket.gethostname()}:{repository.resolve()}/"  # others may train for the same server
    runs = {run.data.tags[TAG]: run for run in client.search_runs([experiment], f"tags.`{TAG}` LIKE '{place}%'")}
    for path in checkpoints(repository):
        name = f"{place}{path.relative_to(repository).as_posix()}"
        run, training = runs.pop(name, None), _read(path)
        if training is None:
            continue
        if run is None:
            run = client.create_run(experiment, tags={TAG: name}, run_name=f"{path.stem} (training)")
            for key, value in training.settings.items():
                client.log_param(run.info.run_id, key, "none" if value is None else value)
        for key, value, step in _points(training, int(run.data.tags.get(STEP, 0))):
            if math.isfinite(value):
                client.log_metric(run.info.run_id, key, value, step=step)
        client.set_tag(run.info.run_id, STEP, int(training.history["step"][-1]))
    for run in runs.values():
        client.delete_run(run.info.run_id)


def _points(training: UnderWay, shown: int) -> Iterator[tuple[str, float, int]]:
    """One point a curve for the steps since ``shown``, and one for each epoch that ended in them."""
    history = training.history
    fresh = history["step"] > shown
    if not fresh.any():
        return
    for name, (column, how) in BY_STEP.items():  # the steps since the last look are one window
        finite = history[column][fresh & np.isfinite(history[column])]
        if len(finite):
            yield name, float(getattr(np, how)(finite)), int(history["step"][-1])
    for number, _, valid in training.epochs:
        of_epoch = history["step"][history["epoch"] == number]
        if len(of_epoch) and of_epoch[-1] > shown:
            for head, sums in valid.items():
                yield f"{SCORES[head]}/valid", perplexity(*sums), int(of_epoch[-1])


def _read(path: Path) -> UnderWay | None:
    """Nothing where it is gone by now, or damaged: the training itself will say so."""
    try:
        with safe_open(path, framework="np") as file:
            text = json.loads(file.metadata()["checkpoint"])
            names = [name for name in text["names"] if name.startswith("ledger/history/")]
            history = {name.rpartition("/")[2]: file.get_tensor(name) for name in names}
        settings = {key: value for key, value in text["identity"].items() if key.startswith(("network.", "train."))}
        return UnderWay(settings, history, text["ledger"]["epochs"]) if len(history.get("step", ())) else None
    except Exception:  # whatever a reader makes of foreign bytes
        return None
