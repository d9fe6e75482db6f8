"""A server that fails in the middle of a publish: one line, and the next publish leaves one whole run an arm."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faulty_proxy import FAULTS, FaultyProxy, faulty_proxy
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from servers import free_port, mlflow_server

from unrolled.errors import UserError
from unrolled.settings import Settings
from unrolled.tracking import published_model, publishing

ARMS = ("lstm-clipped", "lstm-unclipped")
Publish = Callable[[], list[str]]


@pytest.fixture(scope="module", autouse=True)
def small_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The model brings one file of code along, not all: a publish of 200 requests, not of 400."""
    module = tmp_path_factory.mktemp("package") / "unrolled" / "__init__.py"
    module.parent.mkdir()
    module.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published_model, "unrolled", SimpleNamespace(__file__=str(module)))
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder) as address:
        yield address


@pytest.fixture(scope="module")
def proxied(server: str) -> Iterator[tuple[str, FaultyProxy]]:
    with faulty_proxy(server) as pair:
        yield pair


@pytest.fixture
def proxy(proxied: tuple[str, FaultyProxy], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """The switch of the proxy that is MLFLOW_TRACKING_URI now; what it hides is an experiment of the test's own."""
    address, switch = proxied
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    yield switch
    switch.mend()


def named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "EXPERIMENT", name)
    monkeypatch.setattr(published_model, "REGISTERED", name)


@pytest.fixture
def publish(template: Path) -> Publish:
    grid = [Settings.load(template / "params.yaml", arm) for arm in ARMS]
    return lambda: [each.change for each in publishing.publish(grid, template)]


def published(server: str, experiment: str) -> dict[str, Any]:
    """All that is there of an experiment, by arm, without ids and times of day. Asserts one finished run an arm."""
    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    assert sorted((str(run.info.run_name), run.info.status) for run in runs) == [(arm, "FINISHED") for arm in ARMS]
    models = client.search_logged_models([found.experiment_id])
    contents = {}
    for run in runs:
        run_id = run.info.run_id
        ready = [each for each in models if each.source_run_id == run_id and each.status == "READY"]
        assert len(ready) == 1
        contents[run.info.run_name] = {
            "seconds": run.info.end_time - run.info.start_time,
            "params": run.data.params,
            "tags": {name: value for name, value in run.data.tags.items() if name != "mlflow.log-model.history"},
            "curves": {
                name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
                for name in run.data.metrics
            },
            "datasets": [each.dataset.digest for each in run.inputs.dataset_inputs],
            "artifacts": below(lambda path, run_id=run_id: client.list_artifacts(run_id, path)),
            "model": below(lambda path, model=ready[0].model_id: client.list_logged_model_artifacts(model, path)),
        }
    [version] = client.search_model_versions(f"name = '{experiment}'")
    champion = client.get_model_version_by_alias(experiment, "champion")
    assert champion.version == version.version and champion.run_id in {run.info.run_id for run in runs}
    return contents


def below(entries: Callable[[str | None], list[Any]], path: str | None = None) -> dict[str, int]:
    """Path -> bytes of every file."""
    files: dict[str, int] = {}
    for entry in entries(path):
        files |= below(entries, entry.path) if entry.is_dir else {entry.path: entry.file_size}
    return {name: size for name, size in files.items() if not name.endswith("MLmodel")}


@pytest.fixture(scope="module")
def undisturbed(
    template: Path, small_package: None, proxied: tuple[str, FaultyProxy]
) -> Iterator[tuple[dict[str, Any], int]]:
    """What an undisturbed publish leaves, and how many requests it takes."""
    address, switch = proxied
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        named("undisturbed", patch)
        switch.mend()
        grid = [Settings.load(template / "params.yaml", arm) for arm in ARMS]
        assert [each.change for each in publishing.publish(grid, template)] == ["published"] * 2
        seen = switch.seen
        yield published(address, "undisturbed"), seen


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_the_next_publish_completes(
    fault: str, server: str, proxy: FaultyProxy, publish: Publish, monkeypatch: pytest.MonkeyPatch, undisturbed: Any,
) -> None:  # fmt: skip
    contents, requests = undisturbed
    after = random.Random(fault).randrange(requests)
    name = f"{fault} after {after}"
    named(name, monkeypatch)
    proxy.fail(fault, after)
    with pytest.raises(UserError, match="make record") as caught:
        publish()
    assert "\n" not in str(caught.value)
    proxy.mend()
    publish()
    assert published(server, name) == contents
    assert publish() == ["unchanged"] * 2


def test_a_run_whose_answer_was_lost_is_not_doubled_by_a_repeated_request(
    server: str, proxy: FaultyProxy, publish: Publish, monkeypatch: pytest.MonkeyPatch, undisturbed: Any
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    named("repeated", monkeypatch)
    proxy.fail("hang on answer", 0, once=True, path="/runs/create")
    assert publish() == ["published"] * 2
    assert published(server, "repeated") == undisturbed[0]


def test_a_server_that_dies_between_two_runs_and_returns(
    template: Path, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Any
) -> None:
    named("returned", monkeypatch)
    store, port = f"sqlite:///{tmp_path}/mlflow.db", free_port()
    with mlflow_server(store, tmp_path, port=port) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        (first,) = publishing.publish([Settings.load(template / "params.yaml", ARMS[0])], template)
    with pytest.raises(UserError, match="make record") as caught:
        publish()
    assert "\n" not in str(caught.value) and address in str(caught.value)
    with mlflow_server(store, tmp_path, port=port):
        assert [first.change, *publish()] == ["published", "unchanged", "published"]
        assert published(address, "returned") == undisturbed[0]
