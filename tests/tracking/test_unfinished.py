"""An unfinished training is seen in MLflow as far as its checkpoint goes, and gone from there when it has ended."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from socket import gethostname

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from unrolled.ground.corpus import Split
from unrolled.ground.resolved import read_arm
from unrolled.shell.store import Store
from unrolled.tracking import ui, unfinished
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.training import Training

TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 600)) % 9).astype(np.uint16)


class Halting:
    """A training that halts after so many records, its checkpoint written."""

    def __init__(self, root: Path) -> None:
        arm = read_arm("lstm-clipped-1", root / "resolved")
        arm["train"] |= {"columns": 4, "window": 8, "epochs": 3}
        training = Training.of(arm, {"vocabulary": 9})
        self.history = History(training)
        self.checkpoint = Checkpoint(root / "checkpoints", training, self.history, arm, "corpus")
        start = np.zeros(1, dtype=np.int64)
        self.records = fit(training, Split(TOKENS[:400], start), Split(TOKENS[400:], start))
        self.steps: list[float] = []

    def go_on(self, records: int) -> None:
        for record in islice(self.records, records):
            self.history.add(record)
            self.steps += [] if isinstance(record, Epoch) else [record.norms.before]
        self.checkpoint.write()


@pytest.fixture
def training(root: Path) -> Iterator[Halting]:
    halting = Halting(root)
    yield halting
    halting.checkpoint.remove()


@pytest.fixture
def look(root: Path, runs: Callable[[], list[Run]]) -> Callable[[], list[Run]]:
    def show() -> list[Run]:
        ui.show_unfinished(Store.locate(root), root)
        return [run for run in runs() if run.info.run_name == "lstm-clipped-1 (training)"]

    return show


def test_its_curves_grow_and_end_with_it(
    training: Halting, look: Callable[[], list[Run]], client: MlflowClient, publish: Callable[[], dict[str, str]],
    viewed: Callable[[], list[str]],
) -> None:  # fmt: skip
    training.go_on(6)  # the untrained network's, and five steps
    [run] = look()
    assert viewed() == [run.info.run_id]  # no other was trained on its corpus
    assert run.info.status == "RUNNING"
    params = run.data.params
    assert (params["train.epochs"], params["network.tied"], params["train.anneal_after"]) == ("3", "true", "none")
    largest = max(training.steps)
    training.go_on(12)  # past the end of the first epoch
    assert len(look()) == 1
    curve = client.get_metric_history(run.info.run_id, "grad_norm/window_max")
    assert [point.step for point in curve] == [5, len(training.steps)]
    assert [point.value for point in curve] == pytest.approx([largest, max(training.steps[5:])])
    [valid] = client.get_metric_history(run.info.run_id, "forward_perplexity/valid")
    assert valid.step == 13 and 1 < valid.value < math.inf
    look()  # nothing new: no further point
    assert len(client.get_metric_history(run.info.run_id, "grad_norm/window_max")) == 2
    training.checkpoint.remove()
    assert set(publish().values()) <= {"unchanged", "mended"}
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    assert len(viewed()) == 4


@pytest.mark.parametrize("name", ["exp_1", "exp%", "Ada's"])
def test_the_trainings_of_a_folder_of_a_similar_name_are_left_alone(
    name: str, client: MlflowClient, runs: Callable[[], list[Run]], tmp_path: Path
) -> None:
    experiment, own = runs()[0].info.experiment_id, tmp_path / name
    files = [
        f"{gethostname()}:{place}/checkpoints/lstm.safetensors" for place in (own, tmp_path / "expX1", own / "clone")
    ]
    mine, *others = (client.create_run(experiment, tags={unfinished.CHECKPOINT: file}).info.run_id for file in files)
    unfinished.show(client, experiment, "language_model", own)
    assert {run.info.run_id for run in runs()} & {mine, *others} == set(others)
    for run_id in others:
        client.delete_run(run_id)


def test_another_machines_training_is_left_alone(
    training: Halting, look: Callable[[], list[Run]], client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.go_on(6)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    [theirs] = look()
    monkeypatch.undo()
    assert len(look()) == 2
    training.checkpoint.remove()
    assert [run.info.run_id for run in look()] == [theirs.info.run_id]
    client.delete_run(theirs.info.run_id)


def test_another_tasks_training_is_none_of_this_experiment(
    training: Halting, look: Callable[[], list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    training.checkpoint._identity["task"] = "tagging"
    training.go_on(6)
    assert look() == []


def test_neither_a_damaged_checkpoint_nor_a_server_that_is_away_does_harm(
    training: Halting, root: Path, look: Callable[[], list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    training.checkpoint.path.parent.mkdir(exist_ok=True)
    training.checkpoint.path.write_bytes(b"no checkpoint")
    assert look() == []
    ui.show_unfinished(Store(uri="http://127.0.0.1:9", lock=root / "lock"), root)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "not shown now: the MLflow server http://127.0.0.1:9 does not answer" in said
