"""A repository that was moved: its store says so, and is pointed at the new place."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from finished import grid
from mlflow.artifacts import list_artifacts
from mlflow.tracking import MlflowClient

from unrolled.shell.errors import UserError
from unrolled.shell.store import Store
from unrolled.tracking.environment import ignored
from unrolled.tracking.publish import publish
from unrolled.tracking.relocation import check_place, relocate


@pytest.fixture(scope="module")
def published(two_arms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = shutil.copytree(two_arms, tmp_path_factory.mktemp("old") / "a place 100%")
    list(publish(grid(place), place))
    return place


def rows(store: Store) -> list[str]:
    connection = sqlite3.connect(str(store.database))
    found = list(connection.iterdump())
    connection.close()
    return found


def test_a_moved_store_is_pointed_at_its_place_and_nothing_else_is_changed(published: Path, tmp_path: Path) -> None:
    here = shutil.copytree(published, tmp_path / "it's another")
    store, old = Store.locate(here), Store.locate(published)
    with pytest.raises(UserError, match="was moved or copied; `unrolled relocate` points the store here"):
        check_place(store)
    assert relocate(store) > 6
    check_place(store)
    assert old.artifacts and store.artifacts
    places = [(str(old.artifacts.parent), str(store.artifacts.parent).replace("'", "''"))]
    places += [(old.artifacts.parent.as_uri(), store.artifacts.parent.as_uri())]
    expected = rows(old)
    for before, after in places:
        expected = [row.replace(before, after) for row in expected]
    assert rows(store) == expected
    shutil.rmtree(store.artifacts / "models")
    client = MlflowClient(store.uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "unrolled")
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.artifact_uri and str(published) not in run.info.artifact_uri
        assert list_artifacts(artifact_uri=run.info.artifact_uri)
    assert relocate(store) == 0
    check_place(old)


def test_where_no_store_is_none_is_said_to_be_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*mlflow\.db: nothing was published here; go"):
        relocate(Store.locate(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_store_whose_artifacts_stayed_behind_is_left_alone(published: Path, tmp_path: Path) -> None:
    shutil.copy(published / "mlflow.db", tmp_path / "mlflow.db")
    store = Store.locate(tmp_path)
    before = rows(store)
    with pytest.raises(UserError, match=r"mlartifacts is not there: move .*/a place 100%/mlartifacts to beside mlflow"):
        relocate(store)
    assert rows(store) == before


def test_a_place_that_is_no_repositorys_is_not_touched(published: Path, tmp_path: Path) -> None:
    shutil.copy(published / "mlflow.db", tmp_path / "mlflow.db")
    store = Store.locate(tmp_path)
    connection = sqlite3.connect(str(store.database))
    with connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/a' WHERE name = 'unrolled'")
    connection.close()
    for look in (check_place, relocate):
        with pytest.raises(UserError, match="in s3://bucket/a: it was made elsewhere; move it aside"):
            look(store)


@pytest.mark.parametrize("uri", ["postgresql://me@host/db", "http://host"])
def test_a_server_is_not_ours_to_move(tmp_path: Path, uri: str) -> None:
    store = Store.locate(tmp_path, {"MLFLOW_TRACKING_URI": uri})
    check_place(store)
    with pytest.raises(UserError, match="is no SQLite database"):
        relocate(store)


def test_nothing_published_is_nothing_to_move(tmp_path: Path) -> None:
    check_place(Store.locate(tmp_path))
    sqlite3.connect(tmp_path / "mlflow.db").close()
    check_place(Store.locate(tmp_path))
    assert relocate(Store.locate(tmp_path)) == 0


def test_what_a_publish_does_not_heed_is_named() -> None:
    assert ignored({}) == ignored({"MLFLOW_EXPERIMENT_NAME": ""}) == ""
    assert ignored({"MLFLOW_EXPERIMENT_NAME": "mine"}).startswith("MLFLOW_EXPERIMENT_NAME is ignored: each task")
    both = ignored({"MLFLOW_EXPERIMENT_NAME": "mine", "MLFLOW_EXPERIMENT_ID": "3"})
    assert both.startswith("MLFLOW_EXPERIMENT_NAME and MLFLOW_EXPERIMENT_ID are ignored")
