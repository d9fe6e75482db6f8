"""A task that the house has never seen, tests/parity, and its pipeline, beside the language model's."""

import json
import os
import random
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from project import ROOT, Project, copied, running

EXPERIMENT = "unrolled-parity"
CONFIGURATIONS = ["rnn-clipped", "rnn-unclipped"]
ARMS = [f"{name}-1" for name in CONFIGURATIONS]
# A change of the threshold runs one arm of the two.
CLIPPED = {f"{stage}@rnn-clipped-1" for stage in ("train", "evaluate", "probe")}
CHANGED = {"resolve", *CLIPPED, "compare", "record"}


@pytest.fixture(scope="module")
def whole(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The built project with the second task beside the first, reproduced and committed; not to be written to."""
    project = copied(built, tmp_path_factory.mktemp("parity") / "project")
    folder = project.place / "pipelines" / "parity"
    shutil.copytree(ROOT / "tests" / "parity" / "task", project.place / "src" / "unrolled" / "tasks" / "parity")
    shutil.copytree(ROOT / "tests" / "parity" / "pipeline", folder)
    (folder / "bits").mkdir()
    draw = random.Random(1)
    for number in range(40):
        lines = ("".join(draw.choices("01", (3, 2), k=draw.randint(5, 20))) for _ in range(8))
        (folder / "bits" / f"{number:02}.txt").write_text("".join(f"{line}\n" for line in lines))
    project.must("git", "add", "-A")
    project.must("git", "commit", "-qm", "a second task")
    project.must("scripts/repro.sh", "2", "parity", PYTHONPATH=str(project.place / "src"))
    project.must("git", "add", "-A")
    project.must("git", "commit", "-qm", "its results")
    return project


@pytest.fixture
def parity(whole: Project, tmp_path: Path) -> Project:
    """The folder of the second pipeline in a copy of it all."""
    return copied(whole, tmp_path / "project").pipeline("parity")


def published(root: Path) -> dict[str, float]:
    """The accuracy of each run of the second task in the repository's store, by its name."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    runs = client.search_runs([experiment.experiment_id])
    assert all(run.info.artifact_uri.startswith((root / "mlartifacts").as_uri()) for run in runs)
    return {str(run.info.run_name): run.data.metrics["accuracy/test"] for run in runs}


def test_every_arm_is_trained_scored_compared_and_recorded(whole: Project) -> None:
    folder = whole.place / "pipelines" / "parity"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert published(whole.place) == pytest.approx({f"{name}-1": metrics[name]["accuracy"] for name in CONFIGURATIONS})
    assert not list(folder.glob("mlflow.db*"))
    lines = (folder / "data" / "text" / "test.txt").read_text().split()
    even = [line[:end].count("1") % 2 == 0 for line in lines for end in range(1, len(line) + 1)]
    scores = json.loads((folder / "baselines" / "even" / "scores.json").read_text())["scores"]
    assert scores["accuracy"]["value"] == pytest.approx(sum(even) / len(even))


def test_neither_pipeline_runs_for_the_other(parity: Project) -> None:
    root = replace(parity, place=parity.place.parents[1])
    assert running(parity.must("dvc", "repro")) == set()
    assert parity.must("git", "status", "--porcelain") == ""
    assert running(root.must("dvc", "repro", "--dry")) == set()
    root.append("src/unrolled/tasks/parity/settings.py", "\n# edited\n")
    parity.edit(train__learning_rate=0.02)
    assert root.would_run() == set()
    assert parity.would_run() == {"resolve", *(f"train@{arm}" for arm in ARMS), "compare", "record"}


def test_an_experiment_in_its_folder_runs_what_its_override_changes(parity: Project) -> None:
    said = parity.must("dvc", "exp", "run", "-S", "clipping.clipped.clip_norm=0.05", "evaluate")
    assert running(said) == {"resolve", *(stage for stage in CLIPPED if not stage.startswith("probe@"))}
    assert running(parity.must("dvc", "repro", "--dry")) == {"probe@rnn-clipped-1", "compare", "record"}


def test_an_experiment_elsewhere_reaches_the_store_at_the_root(parity: Project) -> None:
    root = parity.place.parents[1]
    parity.must("dvc", "repro", "-f", "-s", "record")
    before = parity.must("git", "status", "--porcelain")
    said = parity.must("dvc", "exp", "run", "--temp", "-n", "aside", "-S", "clipping.clipped.clip_norm=0.05")
    assert running(said) == CHANGED
    assert set(published(root)) == {"rnn-clipped-1 aside", *ARMS}
    assert parity.must("git", "status", "--porcelain") == before


def test_a_checkpoint_of_a_killed_training_is_found_by_an_experiment_elsewhere(parity: Project) -> None:
    root = parity.place.parents[1]
    override = "train.epochs=40"
    parity.edit(train__epochs=40)
    parity.must("python", "../../stages/resolve.py", PYTHONPATH="../../src")
    killed = subprocess.Popen(
        ["python", "../../stages/train.py", "rnn-clipped-1"],
        cwd=parity.place,
        env=parity.environ(PYTHONPATH="../../src"),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert killed.stderr is not None
    while "epoch 2:" not in killed.stderr.readline():
        assert killed.poll() is None
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    (kept,) = (root / "checkpoints").glob("rnn-clipped-1-*.safetensors")
    said = parity.must("dvc", "exp", "run", "--temp", "-S", override, "train@rnn-clipped-1")
    assert "training goes on after step" in said and str(kept) in said
    assert not list((root / "checkpoints").iterdir())
