"""Again and again without harm: what a publish does to a store in which something has happened."""

import json
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from at_once import record_at_once
from finished import TASK, digest_of, grid, reseal
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import OperationalError

from unrolled.ground.registry import task_part
from unrolled.probing.probe import Probes
from unrolled.shell.errors import UserError
from unrolled.shell.store import Store
from unrolled.tracking import saved_view
from unrolled.tracking.connection import open_experiment
from unrolled.tracking.projection import group_of, project
from unrolled.tracking.publish import publish as publish_all
from unrolled.tracking.published_model import CHAMPION

NAME = "unrolled"  # of MLflow's experiment and its registered model
ARMS = ["lstm-clipped-1", "lstm-unclipped-1", "bilstm-clipped-1", "bilstm-unclipped-1"]
Publish = Callable[[], dict[str, str]]
RunOf = Callable[[str], Run]
Everything = Callable[[], Any]


def test_a_second_publish_changes_nothing(publish: Publish, everything: Everything) -> None:
    before = everything()
    assert publish() == dict.fromkeys(ARMS, "unchanged")
    assert everything() == before


def test_a_database_without_room_is_one_line(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OperationalError("CREATE TABLE", {}, OSError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_experiment_by_name", full)
        with pytest.raises(UserError, match="disk is full; make room; results are safe") as caught:
            publish()
    assert "\n" not in str(caught.value)
    assert set(publish()) == set(ARMS)


def test_a_half_written_run_is_completed_in_place(
    root: Path, client: MlflowClient, publish: Publish, run_of: RunOf, everything: Everything
) -> None:
    run = run_of("lstm-clipped-1")
    rows = len(everything()[0])
    client.update_run(run.info.run_id, status="RUNNING")
    assert publish() == {arm: "mended" if arm == "lstm-clipped-1" else "unchanged" for arm in ARMS}
    again = run_of("lstm-clipped-1")
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert again.data.metrics == run.data.metrics
    assert len(everything()[0]) == rows


def test_artifacts_that_were_deleted_come_back(root: Path, publish: Publish, run_of: RunOf) -> None:
    folder = Path(run_of("lstm-clipped-1").info.artifact_uri.removeprefix("file://"))
    shutil.rmtree(folder)
    assert publish()["lstm-clipped-1"] == "mended"
    assert (folder / "run/steps.parquet").read_bytes() == (root / "runs/lstm-clipped-1/steps.parquet").read_bytes()


def test_a_deleted_run_is_published_anew(client: MlflowClient, publish: Publish, run_of: RunOf) -> None:
    deleted = run_of("lstm-clipped-1")
    client.delete_run(deleted.info.run_id)
    assert publish()["lstm-clipped-1"] == "published"
    assert run_of("lstm-clipped-1").info.run_id != deleted.info.run_id


def test_of_two_runs_of_the_same_content_one_goes_with_its_model_and_its_version(
    client: MlflowClient, publish: Publish, run_of: RunOf
) -> None:
    first = run_of("lstm-clipped-1")
    client.delete_run(first.info.run_id)
    publish()
    second = run_of("lstm-clipped-1")
    client.restore_run(first.info.run_id)
    assert publish() == dict.fromkeys(ARMS, "unchanged")
    assert run_of("lstm-clipped-1").info.run_id == second.info.run_id
    models = client.search_logged_models([first.info.experiment_id])
    assert first.info.run_id not in {model.source_run_id for model in models}
    versions = client.search_model_versions(f"name = '{NAME}'")
    assert first.info.run_id not in {version.run_id for version in versions}
    assert client.get_model_version_by_alias(NAME, CHAMPION).run_id == second.info.run_id


def test_a_deleted_experiment_comes_back_with_its_runs(
    client: MlflowClient, publish: Publish, runs: Callable[[], list[Run]]
) -> None:
    before = {run.info.run_id for run in runs()}
    client.delete_experiment(runs()[0].info.experiment_id)
    assert publish() == dict.fromkeys(ARMS, "unchanged")
    assert {run.info.run_id for run in runs()} == before  # MLflow restores those as well that were deleted one by one


def test_a_new_report_replaces_the_old_one_in_place(root: Path, publish: Publish, run_of: RunOf) -> None:
    (root / "report/comparison.md").write_text(f"| {time.monotonic_ns()} |\n", encoding="utf-8")
    assert set(publish().values()) == {"mended"}
    folder = Path(run_of("lstm-clipped-1").info.artifact_uri.removeprefix("file://"))
    assert (folder / "report/comparison.md").read_bytes() == (root / "report/comparison.md").read_bytes()
    assert set(publish().values()) == {"unchanged"}


def test_a_named_experiment_publishes_what_is_new_and_leaves_the_rest(
    root: Path, client: MlflowClient, publish: Publish, runs: Callable[[], list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `dvc exp run -S clipping.clipped.clip_norm=...`: here one run's evaluation differs."""
    files = [root / "evaluation/lstm-clipped-1/scores.json", root / "probes/lstm-clipped-1/probe.json"]
    kept = [file.read_text(encoding="utf-8") for file in files]
    reseal(root, "lstm-clipped-1", lambda content: content["measures"].update(top1_accuracy=0.5))
    monkeypatch.setenv("DVC_EXP_NAME", "sharp-pike")
    try:
        assert publish() == {arm: "published" if arm == "lstm-clipped-1" else "unchanged" for arm in ARMS}
    finally:
        for file, text in zip(files, kept, strict=True):
            file.write_text(text, encoding="utf-8")
    [new] = [run for run in runs() if run.info.run_name == "lstm-clipped-1 sharp-pike"]
    [old] = [run for run in runs() if run.info.run_name == "lstm-clipped-1"]
    assert (new.data.tags["dvc.exp"], new.data.metrics["top1_accuracy/test"]) == ("sharp-pike", 0.5)
    assert new.data.tags["mlflow.runColor"] != old.data.tags["mlflow.runColor"]
    client.delete_run(new.info.run_id)


def test_a_refused_saved_view_does_no_harm(
    root: Path, client: MlflowClient, publish: Publish, run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = run_of("lstm-clipped-1").info.experiment_id
    client.set_experiment_tag(experiment, saved_view.TAG, "another")
    with monkeypatch.context() as patch:
        patch.setattr(saved_view, "TAG", "x" * 1000)
        assert set(publish().values()) == {"unchanged"}
    publish()
    assert client.get_experiment(experiment).tags[saved_view.TAG] == saved_view.tag_value(TASK, digest_of(root))


def test_what_the_seeds_of_a_configuration_reached_together_is_a_tag_of_each_run(
    root: Path, client: MlflowClient, publish: Publish, run_of: RunOf
) -> None:
    """It may change while the run does not, as another seed comes; and the view groups runs once there are several."""
    comparison = root / "report/comparison.json"
    row = {"forward_perplexity": 90.71, "forward_perplexity_seeds": 0.6, "forward_perplexity_low": 78.9,
           "forward_perplexity_high": 102.0, "seeds": 3, "survived": 3}  # fmt: skip
    lost = row | {"survived": 0, "forward_perplexity": math.inf}
    probes = {each.name: Probes.read(each).digest for each in (root / "probes").iterdir()}
    found = {"configurations": {"lstm-clipped": row, "lstm-unclipped": lost}, "made_of": {"probes": probes}}
    comparison.write_text(json.dumps(found))
    assert publish()["lstm-clipped-1"] == "mended"
    tags = run_of("lstm-clipped-1").data.tags
    assert tags[saved_view.OVER_SEEDS] == "90.71 ± 0.6 [78.9, 102], 3 of 3 seeds survived"
    assert run_of("lstm-unclipped-1").data.tags[saved_view.OVER_SEEDS] == "0 of 3 seeds survived"
    assert saved_view.OVER_SEEDS not in run_of("bilstm-clipped-1").data.tags
    experiment = run_of("lstm-clipped-1").info.experiment_id
    for grouped, expected in ((True, True), (None, True), (False, False), (None, False)):
        open_experiment(client, Store.locate(root), TASK, digest_of(root), grouped=grouped)
        view = client.get_experiment(experiment).tags[saved_view.TAG]
        assert view == saved_view.tag_value(TASK, digest_of(root), grouped=expected)
    comparison.unlink()
    publish()
    assert run_of("lstm-clipped-1").data.tags[saved_view.OVER_SEEDS] == ""


def test_runs_of_several_seeds_are_grouped_where_all_else_is_alike(root: Path) -> None:
    """Else MLflow would show the mean over trainings of different settings."""
    arm = next(each for each in project(root, grid(root), {}) if each.arm == "lstm-clipped-1")
    group = arm.tags[saved_view.CONFIGURATION]
    assert re.fullmatch("lstm-clipped [0-9a-f]{6}", group)
    assert {group_of(arm.params | {"train.seed": str(seed)}, "lstm-clipped") for seed in (1, 2)} == {group}
    for key in ("train.learning_rate", "network.hidden", "vocabulary.min_count", "evaluate.seed"):
        assert group_of(arm.params | {key: "7"}, "lstm-clipped") != group


def test_the_saved_view_is_of_the_corpus_that_was_published_last(
    root: Path, client: MlflowClient, publish: Publish, runs: Callable[[], list[Run]], viewed: Callable[[], list[str]]
) -> None:
    experiment, all_runs = runs()[0].info.experiment_id, {run.info.run_id for run in runs()}
    other = client.create_run(experiment, tags={saved_view.CORPUS: "ef56" * 16}).info.run_id
    assert set(viewed()) == all_runs
    open_experiment(client, Store.locate(root), TASK, "ef56" * 16)
    assert viewed() == [other]
    publish()
    assert set(viewed()) == all_runs
    client.delete_run(other)


def test_names_that_no_filter_can_quote(two_arms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = shutil.copytree(two_arms, tmp_path / "Ada's 100% of exp_1")
    monkeypatch.setattr(task_part(TASK, "publishing"), "EXPERIMENT", "Ada's 100%_")
    assert [each.change for each in publish_all(grid(workspace), workspace)] == ["published"] * 2
    client = MlflowClient(Store.locate(workspace).uri)
    first = client.get_model_version_by_alias("Ada's 100%_", CHAMPION)
    client.delete_run(first.run_id)
    assert [each.change for each in publish_all(grid(workspace), workspace)] == ["published", "unchanged"]
    client.restore_run(first.run_id)
    assert [each.change for each in publish_all(grid(workspace), workspace)] == ["unchanged"] * 2
    champion = client.get_model_version_by_alias("Ada's 100%_", CHAMPION)
    assert [each.run_id for each in client.search_model_versions()] == [champion.run_id] != [first.run_id]


def test_a_first_publish_from_a_temporary_workspace_leaves_nothing_there(
    two_arms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from `dvc exp run --temp`: DVC deletes the workspace afterwards."""
    workspace = shutil.copytree(two_arms, tmp_path / ".dvc/tmp/exps/standalone/tmpabcd")
    before = sorted(workspace.rglob("*"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(workspace)
    assert [each.change for each in publish_all(grid(Path()), Path())] == ["published"] * 2
    assert sorted(workspace.rglob("*")) == before
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = client.search_experiments(view_type=ViewType.ALL)
    ids = [each.experiment_id for each in experiments]
    places = [each.artifact_location for each in experiments]
    places += [run.info.artifact_uri for run in client.search_runs(ids)]
    places += [model.artifact_location for model in client.search_logged_models(ids)]
    assert len(places) >= 2 + 2 + 2
    assert [place for place in places if "/.dvc/" in place or str(tmp_path) not in place] == []


def test_a_corrupt_run_is_one_line_before_anything_is_published(
    root: Path, everything: Everything, publish: Publish
) -> None:
    steps = root / "runs/lstm-clipped-1/steps.parquet"
    kept, before = steps.read_bytes(), everything()
    steps.write_bytes(kept[:1000])
    try:
        with pytest.raises(UserError, match=r"steps\.parquet.*dvc repro -f -s train@lstm-clipped-1"):
            publish()
    finally:
        steps.write_bytes(kept)
    assert everything() == before


def test_a_store_that_was_moved_is_one_line(root: Path, two_arms: Path, tmp_path: Path) -> None:
    shutil.copytree(two_arms, tmp_path, dirs_exist_ok=True)
    shutil.copy(root / "mlflow.db", tmp_path / "mlflow.db")
    with pytest.raises(UserError, match="was moved or copied; `unrolled relocate` points the store here"):
        list(publish_all(grid(two_arms), tmp_path))


def test_a_server_that_stops_answering_is_one_line_in_time(two_arms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health is fine, its interface hangs."""
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/health":
                release.wait(60)
                return
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{server.server_port}")
        with pytest.raises(UserError, match="make record") as caught:
            list(publish_all(grid(two_arms), two_arms))
        release.set()
        server.shutdown()
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_three_processes_at_once_on_an_absent_database(two_arms: Path, warm: str, tmp_path: Path) -> None:
    workspace = shutil.copytree(two_arms, tmp_path / "workspace")
    outcomes = record_at_once([workspace] * 3, os.environ | {"PATH": warm})
    assert [(outcome.status, outcome.err) for outcome in outcomes] == [(0, "")] * 3
    assert sorted(line for outcome in outcomes for line in outcome.out.splitlines()) == sorted(
        [f"{arm}: published" for arm in ARMS[:2]] + [f"{arm}: unchanged" for arm in ARMS[:2]] * 2
    )
    receipt = json.loads((workspace / "recorded.json").read_text(encoding="utf-8"))
    assert list(receipt) == ARMS[:2] and all(len(key) == 64 for key in receipt.values())
