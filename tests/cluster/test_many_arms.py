"""Many small arms over four workers: no lock is refused, and MLflow has one run an arm."""

import re
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from over_workers import CLIPPED, made, workers
from project import Project

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Dask's processes end when they will
SEEDS = list(range(1, 61))


def test_sixty_arms_over_four_workers(project: Project, tmp_path: Path) -> None:
    project.edit(arch={"rnn": {"cell": "rnn"}}, clipping=CLIPPED, seeds=SEEDS)
    with workers(4, tmp_path / "workers") as address:
        said = project.must("scripts/repro.sh", "2", CLUSTER=address)
    arms = {f"rnn-clipped-{seed}" for seed in SEEDS}
    assert made(said) == arms
    assert not re.search(r"acquire lock|is locked|sent again|Traceback", said)
    client = MlflowClient(f"sqlite:///{project.place / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(arms)
    assert {run.info.status for run in runs} == {"FINISHED"}
