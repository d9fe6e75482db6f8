"""Unfinished trainings in MLflow: as far as their last checkpoints go, under the names of the finished curves.

A run of its own, that says so in its name, shows such a training; it is deleted once there is no checkpoint any more,
for then the finished training is published from its files. The training knows nothing of this: nothing that befalls
MLflow can harm it.
"""

import json
import math
import socket
import time
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from safetensors import safe_open

from unrolled.ground.registry import task_part
from unrolled.ground.score import Sums, by_name
from unrolled.ground.start import checkpoints_of
from unrolled.report.series import BY_STEP
from unrolled.tracking.connection import log_metrics
from unrolled.tracking.projection import as_param
from unrolled.tracking.saved_view import CORPUS

Array = np.ndarray[Any, np.dtype[Any]]
# Which checkpoint of which machine a run shows, and up to which step.
CHECKPOINT, STEP = "unrolled.checkpoint", "unrolled.step"


class Unfinished(NamedTuple):
    """A training as its last checkpoint has it: settings, a row a step, and what each epoch's end was scored."""

    task: str
    arm: str
    corpus: str  # its digest
    written: float  # when
    settings: dict[str, Any]
    steps: dict[str, Array]
    epochs: list[tuple[int, float, dict[str, tuple[float, int]]]]  # number, learning rate, sum and terms by score


def checkpoints(root: Path) -> list[Path]:
    """Of all unfinished trainings in the repository, those of DVC's experiments too."""
    return sorted(checkpoints_of(root).glob("*.safetensors"))


def begun(root: Path) -> dict[str, str]:
    """The tasks that unfinished trainings are of, each with the corpus of the latest checkpoint."""
    trainings = [training for training in map(_read, checkpoints(root)) if training is not None]
    return {each.task: each.corpus for each in sorted(trainings, key=attrgetter("written"))}


def show(client: MlflowClient, experiment: str, task: str, root: Path) -> None:
    """Bring the runs of a task's unfinished trainings up to their checkpoints; delete those of trainings that ended."""
    place = f"{socket.gethostname()}:{checkpoints_of(root).resolve()}"  # others may train for the same server
    # Compared here, as MLflow's filters have no way to write an apostrophe, and match any character by _ and %.
    found = {run.data.tags[CHECKPOINT]: run for run in client.search_runs([experiment], f"tags.`{CHECKPOINT}` != ''")}
    runs = {name: run for name, run in found.items() if name.rpartition("/")[0] == place}
    for path in checkpoints(root):
        run, training = runs.pop(name := f"{place}/{path.name}", None), _read(path)
        if training is None or training.task != task:
            continue
        if run is None:
            tags = {CHECKPOINT: name, CORPUS: training.corpus}
            run = client.create_run(experiment, tags=tags, run_name=f"{training.arm} (training)")
            params = [Param(key, as_param(value)) for key, value in training.settings.items()]
            client.log_batch(run.info.run_id, params=params)
        now = int(time.time() * 1000)
        points = _points(training, int(run.data.tags.get(STEP, 0)))
        log_metrics(client, run, [Metric(name, value, now, step) for name, value, step in points])
        client.set_tag(run.info.run_id, STEP, int(training.steps["step"][-1]))
    for run in runs.values():
        client.delete_run(run.info.run_id)


def _points(training: Unfinished, shown: int) -> Iterator[tuple[str, float, int]]:
    """One finite point a curve for the steps since ``shown``, and one for each epoch that ended in them."""
    steps, scores = training.steps, by_name(task_part(training.task, "scores").SCORES)
    fresh = steps["step"] > shown
    for name, (column, how) in BY_STEP.items():  # the steps since the last look are one window
        finite = steps[column][fresh & np.isfinite(steps[column])]
        if len(finite):
            yield name, float(getattr(np, how)(finite)), int(steps["step"][-1])
    for number, _, valid in training.epochs:
        of_epoch = steps["step"][steps["epoch"] == number]
        if len(of_epoch) and of_epoch[-1] > shown:
            values = {name: scores[name].of(Sums(*sums)) for name, sums in valid.items() if name in scores}
            for name, value in values.items():
                if math.isfinite(value):
                    yield f"{name}/valid", value, int(of_epoch[-1])


def _read(path: Path) -> Unfinished | None:
    """Nothing where it is gone by now, or damaged: the training itself will say so."""
    try:
        with safe_open(path, framework="np") as file:
            text = json.loads(file.metadata()["checkpoint"])
            names = [name for name in text["names"] if name.startswith("history/steps/")]
            steps = {name.rpartition("/")[2]: file.get_tensor(name) for name in names}
        identity = text["identity"]
        settings = {key: value for key, value in identity.items() if key.startswith(("network.", "train."))}
        if not len(steps["step"]):
            return None
        of = (identity["task"], text["arm"], identity["corpus"], path.stat().st_mtime)
        return Unfinished(*of, settings, steps, text["history"]["epochs"])
    except Exception:  # whatever a reader makes of foreign bytes
        return None
