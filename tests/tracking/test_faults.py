"""A server that fails in the middle of a publish: one line, and the next publish leaves one whole run an arm."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import FAULTS, FaultyProxy, faulty_proxy
from finished import TASK, grid
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from servers import Restartable

from unrolled.ground.registry import task_part
from unrolled.shell.errors import UserError
from unrolled.tracking import connection
from unrolled.tracking.publish import publish as publish_all

ARMS = ("lstm-clipped-1", "lstm-unclipped-1")
SHORT, LONG = "1", "60"  # seconds that a request may take: while the server fails, and when it is well again
Publish = Callable[[], list[str]]

pytestmark = pytest.mark.usefixtures("one_file_of_code")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, warm: str) -> Iterator[Restartable]:
    server = Restartable(tmp_path_factory.mktemp("server"), warm)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxied(server: Restartable) -> Iterator[tuple[str, FaultyProxy]]:
    with faulty_proxy(server.address) as pair:
        yield pair


@pytest.fixture
def proxy(proxied: tuple[str, FaultyProxy], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """The switch of the proxy that is MLFLOW_TRACKING_URI now."""
    address, switch = proxied
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    yield switch
    switch.mend()


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many requests of few points, as of a long run; and a busy machine's server is not taken for a failing one."""
    monkeypatch.setattr(connection, "BATCH", 100)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", LONG)


def name_experiment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published from here on is an experiment of the test's own."""
    monkeypatch.setattr(task_part(TASK, "publishing"), "EXPERIMENT", name)


@pytest.fixture
def publish(two_arms: Path) -> Publish:
    return lambda: [each.change for each in publish_all(grid(two_arms), two_arms)]


def published(server: Restartable, experiment: str) -> dict[str, Any]:
    """All that is there of an experiment, by arm, without ids and times of day. Asserts one finished run an arm."""
    client = MlflowClient(server.store)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    assert sorted((str(run.info.run_name), run.info.status) for run in runs) == [(arm, "FINISHED") for arm in ARMS]
    models = client.search_logged_models([found.experiment_id])
    contents = {}
    for run in runs:
        run_id = run.info.run_id
        [model] = [each for each in models if each.source_run_id == run_id and each.status == "READY"]
        contents[run.info.run_name] = {
            "seconds": run.info.end_time - run.info.start_time,
            "params": run.data.params,
            "tags": {name: value for name, value in run.data.tags.items() if name != "mlflow.log-model.history"},
            "curves": curves(server, run_id),
            "datasets": [each.dataset.digest for each in run.inputs.dataset_inputs],
            "artifacts": below(server, run.info.artifact_uri),
            "model": below(server, model.artifact_location),
        }
    [version] = client.search_model_versions(f"name = '{experiment}'")
    champion = client.get_model_version_by_alias(experiment, "champion")
    assert champion.version == version.version and champion.run_id in {run.info.run_id for run in runs}
    return contents


def curves(server: Restartable, run_id: str) -> list[tuple[str, int, float]]:
    """Every point of every metric."""
    connection = sqlite3.connect(server.folder / "mlflow.db")
    rows = connection.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY 1, 2, 3", [run_id])
    points = rows.fetchall()
    connection.close()
    return points


def below(server: Restartable, address: str) -> dict[str, int]:
    """Path -> bytes of every file that the server keeps at an address."""
    folder = server.folder / "artifacts" / address.removeprefix("mlflow-artifacts:/")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "MLmodel"]
    assert files
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


@pytest.fixture(scope="module")
def undisturbed(
    two_arms: Path, server: Restartable, one_file_of_code: None, proxied: tuple[str, FaultyProxy]
) -> tuple[dict[str, Any], int]:
    """What an undisturbed publish leaves, and how many requests it takes."""
    address, switch = proxied
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", LONG)
        patch.setattr(connection, "BATCH", 100)
        name_experiment("undisturbed", patch)
        switch.mend()
        assert [each.change for each in publish_all(grid(two_arms), two_arms)] == ["published"] * 2
        return published(server, "undisturbed"), switch.seen


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_the_next_publish_completes(
    fault: str, server: Restartable, proxy: FaultyProxy, publish: Publish, monkeypatch: pytest.MonkeyPatch,
    undisturbed: Any,
) -> None:  # fmt: skip
    contents, requests = undisturbed
    after = random.Random(fault).randrange(requests)
    name = f"{fault} after {after}"
    name_experiment(name, monkeypatch)
    proxy.fail(fault, after)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", SHORT)
    with pytest.raises(UserError, match="make record") as caught:
        publish()
    assert "\n" not in str(caught.value)
    proxy.mend()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", LONG)
    publish()
    assert published(server, name) == contents
    assert publish() == ["unchanged"] * 2


def test_a_run_whose_answer_was_lost_is_not_doubled_by_a_repeated_request(
    server: Restartable, proxy: FaultyProxy, publish: Publish, monkeypatch: pytest.MonkeyPatch, undisturbed: Any
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    name_experiment("repeated", monkeypatch)
    proxy.fail("drop answer", 0, once=True, path="/runs/create")
    assert publish() == ["published"] * 2
    assert published(server, "repeated") == undisturbed[0]


def test_a_server_that_dies_between_two_runs_and_returns(
    two_arms: Path, server: Restartable, publish: Publish, monkeypatch: pytest.MonkeyPatch, undisturbed: Any
) -> None:
    name_experiment("returned", monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    (first,) = publish_all({**grid(two_arms), "arms": grid(two_arms)["arms"][:1]}, two_arms)
    server.stop()
    with pytest.raises(UserError, match="make record") as caught:
        publish()
    assert "\n" not in str(caught.value) and server.address in str(caught.value)
    server.start()
    assert [first.change, *publish()] == ["published", "unchanged", "published"]
    assert published(server, "returned") == undisturbed[0]
