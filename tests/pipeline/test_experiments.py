"""DVC's experiments: each trains what its overrides change, and reaches the one store under its own name."""

import json
from pathlib import Path

from mlflow.tracking import MlflowClient

from project import GRID, Project, queue_of, running, start_queue

NEW = {f"{stage}@gru-{clipping}-1" for stage in ("train", "evaluate", "probe") for clipping in ("clipped", "unclipped")}


def test_a_row_in_an_override_is_two_arms_more(project: Project) -> None:
    wanted = ("probe@gru-clipped-1", "train@gru-unclipped-1")
    said = project.must("dvc", "exp", "run", "-S", "+arch.gru={cell: gru}", *wanted)
    assert running(said) == {"resolve", *NEW} - {"evaluate@gru-unclipped-1", "probe@gru-unclipped-1"}
    settings = json.loads((project.place / "runs" / "gru-clipped-1" / "settings.json").read_text())
    assert settings["network"]["cell"] == "gru"


def test_experiments_side_by_side_reach_one_store_each_under_its_own_name(project: Project, tmp_path: Path) -> None:
    project.edit(arch={"rnn": GRID["rnn"]})  # of which an experiment trains one arm
    assert running(project.must("dvc", "repro")) == {"resolve", "compare", "record"}
    project.must("git", "commit", "-qam", "one architecture")
    norms = {"gentle": 0.5, "soft": 0.1}
    before = project.must("git", "status", "--porcelain")
    for name, norm in norms.items():
        project.must("dvc", "exp", "run", "--queue", "-n", name, "-S", f"clipping.clipped.clip_norm={norm}")
    start_queue(project, set(norms))
    logs = {name: project.run("dvc", "queue", "logs", name).stdout for name in norms}
    project.must("dvc", "queue", "stop", "--kill")
    assert queue_of(project) == dict.fromkeys(norms, "Success"), logs
    for log in logs.values():
        trained = {stage for stage in running(log) if stage.startswith("train@")}
        assert trained == {"train@rnn-clipped-1"} and "locked" not in log
    assert project.must("git", "status", "--porcelain") == before
    differences = json.loads(project.run("dvc", "metrics", "diff", "--json", "HEAD", "gentle").stdout)
    of_arms = differences["metrics.json"]
    assert {name.partition(".")[0] for name in of_arms} == {"rnn-clipped"}
    project.must("dvc", "plots", "diff", "HEAD", "gentle", "-o", tmp_path / "plots")
    page = (tmp_path / "plots" / "index.html").read_text()
    assert '"rev": "HEAD"' in page and '"rev": "gentle"' in page and "<script src" not in page
    client = MlflowClient(f"sqlite:///{project.place / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    runs = client.search_runs([experiment.experiment_id])
    names = ["rnn-clipped-1", "rnn-unclipped-1", *(f"rnn-clipped-1 {name}" for name in norms)]
    assert sorted(run.info.run_name for run in runs) == sorted(names)
    for run in runs:
        artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
        assert artifacts.is_dir() and artifacts.is_relative_to(project.place / "mlartifacts")
