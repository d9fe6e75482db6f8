"""What `dvc exp run --queue` has queued, over a cluster."""

import re
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from over_workers import ARMS, CLIPPED, whole_lock, workers
from project import Project, copied, queue_of, running

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Dask's processes end when they will


def test_queued_experiments_end_as_their_own(project: Project, fresh: Project, tmp_path: Path) -> None:
    """Each arm is a task, equal ones are made once, and what fails is named and stays in the queue."""
    project.edit(clipping=CLIPPED)
    project.must("git", "commit", "-qam", "clipped alone")
    before = project.must("git", "status", "--porcelain")
    changes = {
        "fast": ["arch.rnn.learning_rate=3.0"],
        "sampled": ["arch.rnn.learning_rate=3.0", "evaluate.bootstrap_samples=30"],
        "broken": ["train.columns=100000"],
        "wrong": ["train.columns=-1"],
    }
    for name, values in changes.items():
        said = [word for value in values for word in ("-S", value)]
        project.must("dvc", "exp", "run", "--queue", "-n", name, *said)
    with workers(2, tmp_path / "workers") as address:
        done = project.run("unrolled", "distribute", "--queue", address)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if re.match(r"error: \d of", line))
    assert re.match(
        r"error: 2 of 4 experiments failed and are still queued, the others are done: "
        r"wrong: params.yaml: 'train.columns': -1: .*; "
        r"(rnn|lstm)-clipped-1 of broken: dvc repro failed on \S+: error: a split of \d+ tokens is too small",
        line,
    )
    assert "0 of 6 arms are up to date" in done.stderr
    names = re.findall(r"^(.*): made by \S+:\d+, and pushed$", done.stderr, re.M)
    assert sorted(names) == [f"{arm} of {name}" for arm in sorted(ARMS) for name in ("fast", "sampled")]
    trained = re.findall(r"^(.*) \| \S+:\d+ \| Running stage 'train@", done.stderr, re.M)
    assert sorted(name for name in trained if "broken" not in name) == [f"{arm} of fast" for arm in sorted(ARMS)]
    assert not [stage for stage in running(done.stdout) if stage.startswith(("train", "evaluate", "probe"))]
    assert queue_of(project) == {"fast": "Success", "sampled": "Success", "broken": "Queued", "wrong": "Queued"}
    assert project.must("git", "status", "--porcelain") == before
    alone = copied(fresh, tmp_path / "alone")
    alone.edit(clipping=CLIPPED, arch__rnn__learning_rate=3.0)
    alone.must("scripts/repro.sh", "2", PYTHONPATH=str(alone.place / "src"))
    (revision,) = project.must("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/fast").split()
    lock = YAML(typ="safe", pure=True).load(project.must("git", "show", f"{revision}:dvc.lock"))["stages"]
    assert {stage: lock[stage] for stage in lock if "@" in stage} == {
        stage: made for stage, made in whole_lock(alone)["stages"].items() if "@" in stage
    }
    client = MlflowClient(f"sqlite:///{project.place / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len({run.data.tags["unrolled.key"] for run in runs}) == 4
