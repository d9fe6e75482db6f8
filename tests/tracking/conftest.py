"""A finished pipeline, and the store that it is published to."""

import base64
import json
import logging
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from finished import ARCHS, SPIKE_AT, STEPS, grid, lay_out
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from unrolled.tracking import environment, published_model, saved_view
from unrolled.tracking.publish import publish as publish_all


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What MLflow does with SQLAlchemy and its own types is not ours to mend."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(
                pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
            )


@pytest.fixture(scope="session", autouse=True)
def mlflow_defaults() -> Iterator[None]:
    """As the commands set them, though mlflow is imported already."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.DEFAULTS.items():
            patch.setenv(name, value)
        environment.set_mlflow_defaults()
        logging.getLogger("mlflow").setLevel(environment.DEFAULTS["MLFLOW_LOGGING_LEVEL"])
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pipeline that is not published; to be copied, not written to."""
    root = tmp_path_factory.mktemp("template")
    lay_out(root, ARCHS, STEPS, SPIKE_AT)
    return root


@pytest.fixture(scope="session")
def two_arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LSTM and its twin alone, after a few steps: for what may fail on the way, whatever is published."""
    root = tmp_path_factory.mktemp("two-arms")
    lay_out(root, {"lstm": ARCHS["lstm"]}, 40, 26)
    return root


@pytest.fixture(scope="module")
def one_file_of_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Logged models bring one file of code along, not all: to a server, each is a request of its own."""
    module = tmp_path_factory.mktemp("package") / "unrolled" / "__init__.py"
    module.parent.mkdir()
    module.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published_model, "unrolled", SimpleNamespace(__file__=str(module)))
        yield


@pytest.fixture(scope="session")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests, for creating it takes seconds."""
    root = tmp_path_factory.mktemp("laboratory")
    shutil.copytree(template, root, dirs_exist_ok=True)
    return root


@pytest.fixture
def publish(shared: Path) -> Callable[[], dict[str, str]]:
    """Publishes once more; what that did to each arm."""
    return lambda: {each.arm: each.change for each in publish_all(grid(shared), shared)}


@pytest.fixture
def root(shared: Path, publish: Callable[[], dict[str, str]]) -> Path:
    """A pipeline of which everything is published, whatever the test before did."""
    publish()
    return shared


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root}/mlflow.db")


@pytest.fixture
def runs(client: MlflowClient) -> Callable[[], list[MlflowRun]]:
    """The runs that are not deleted, as the saved view lists them: the newest first."""

    def search() -> list[MlflowRun]:
        experiment = client.get_experiment_by_name("unrolled")
        assert experiment is not None
        return list(
            client.search_runs(
                [experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, order_by=["attributes.start_time DESC"]
            )
        )

    return search


@pytest.fixture
def viewed(client: MlflowClient, runs: Callable[[], list[MlflowRun]]) -> Callable[[], list[str]]:
    """The ids of the runs that the saved view shows."""

    def search() -> list[str]:
        experiment = client.get_experiment(runs()[0].info.experiment_id)
        state = json.loads(experiment.tags[saved_view.TAG])["state"].removeprefix("deflate;")
        shown = json.loads(zlib.decompress(base64.b64decode(state)))["searchFilter"]
        return [run.info.run_id for run in client.search_runs([experiment.experiment_id], shown)]

    return search


@pytest.fixture
def run_of(runs: Callable[[], list[MlflowRun]]) -> Callable[[str], MlflowRun]:
    def search(arm: str) -> MlflowRun:
        [run] = [run for run in runs() if run.info.run_name == arm]
        return run

    return search


@pytest.fixture
def everything(root: Path) -> Callable[[], tuple[list[str], list[tuple[str, int]]]]:
    """Every row of the database, every artifact with the time it was written."""

    def dump() -> tuple[list[str], list[tuple[str, int]]]:
        connection = sqlite3.connect(root / "mlflow.db")
        rows = list(connection.iterdump())
        connection.close()
        return rows, [(str(path), path.stat().st_mtime_ns) for path in sorted((root / "mlartifacts").rglob("*"))]

    return dump
