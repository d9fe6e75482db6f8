"""A miniature of the whole pipeline through DVC itself: what it makes, and that the same comes out every time."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from project import ARMS, CONFIGURATIONS, Project, running
from unrolled.tracking.environment import DEFAULTS
from warm import warm_shims


def published(root: Path, experiment: str = "unrolled") -> list[str]:
    """The names of the runs in the store, sorted."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (found,) = client.search_experiments(filter_string=f"name = '{experiment}'")
    return sorted(str(run.info.run_name) for run in client.search_runs([found.experiment_id]))


def test_every_arm_is_trained_scored_compared_and_recorded(built: Project) -> None:
    metrics = json.loads((built.place / "metrics.json").read_text())
    assert set(CONFIGURATIONS) <= set(metrics)
    client = MlflowClient(f"sqlite:///{built.place / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(ARMS)
    for run in runs:
        measured = run.data.metrics["forward_perplexity/test"]
        assert measured == pytest.approx(metrics[run.info.run_name.removesuffix("-1")]["forward_perplexity"])


def test_a_second_repro_does_nothing(project: Project) -> None:
    assert running(project.must("dvc", "repro")) == set()
    assert project.must("dvc", "status").strip() == "Data and pipelines are up to date."
    assert project.must("git", "status", "--porcelain") == ""


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock here")
def test_a_second_make_repro_waits_for_the_first(project: Project) -> None:
    with open(project.place / ".dvc" / "tmp" / "repro", "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = subprocess.Popen(
            ["scripts/repro.sh"],
            cwd=project.place,
            env=project.environ(PYTHONPATH="src"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None and "this one waits" in second.stderr.readline()
        assert second.poll() is None
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0 and "up to date" in said and running(said) == set()


def test_a_forced_repro_gives_the_same_lock(project: Project, tmp_path: Path) -> None:
    """Every output of every stage of one arm, byte for byte; and publishing again changes nothing.

    In processes that hash texts in another way.
    """
    before = (project.place / "dvc.lock").read_bytes()
    of_arm = [f"{stage}@lstm-unclipped-1" for stage in ("train", "evaluate", "probe")]
    stages = ["resolve", "preprocess", "vocabulary", of_arm[0], "baseline@kneser_ney", *of_arm[1:], "compare", "record"]
    (shims := tmp_path / "shims").mkdir()
    with warm_shims(shims, "python", PYTHONHASHSEED="1", **DEFAULTS):
        path = os.pathsep.join([str(shims), project.environment["PATH"]])
        said = project.must("dvc", "repro", "-f", "-s", *stages, PATH=path)
    assert running(said) == set(stages)
    assert (project.place / "dvc.lock").read_bytes() == before


def test_an_altered_run_directory_is_named(project: Project) -> None:
    weights = project.place / "runs" / "rnn-clipped-1" / "weights.safetensors"
    altered = weights.read_bytes()[:-8] + b"\0" * 8
    weights.unlink()
    weights.write_bytes(altered)
    done = project.run("python", "stages/evaluate.py", "rnn-clipped-1", PYTHONPATH="src")
    assert done.returncode == 1
    assert "weights.safetensors was altered" in done.stderr and "dvc repro -f -s train@rnn-clipped-1" in done.stderr


def test_a_fresh_clone_with_the_results_of_another_publishes_them_without_training(
    project: Project, tmp_path: Path
) -> None:
    clone = Project(tmp_path / "clone", project.environment)
    project.must("git", "clone", "-q", project.place, clone.place)
    clone.must("dvc", "remote", "add", "-d", "--local", "ours", project.place / ".dvc" / "cache")
    clone.must("dvc", "pull")
    assert running(clone.must("dvc", "repro")) == {"record"}
    assert published(clone.place) == sorted(ARMS)
    assert clone.must("git", "status", "--porcelain", "dvc.lock") == ""
