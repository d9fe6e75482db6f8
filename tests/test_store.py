"""Where the store is, and one line within seconds where it is not."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy

from unrolled.shell.errors import UserError
from unrolled.shell.redaction import redact
from unrolled.shell.store import Store, later
from unrolled.shell.workspace import repository


@contextmanager
def server(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@contextmanager
def listener() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def failure(uri: str, root: Path) -> tuple[str, float]:
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        Store.locate(root, {"MLFLOW_TRACKING_URI": uri}).check()
    return str(caught.value), time.monotonic() - started


def test_the_default_lies_in_the_repository(tmp_path: Path) -> None:
    store = Store.locate(tmp_path, {})
    assert store.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert store.artifacts == tmp_path / "mlartifacts"
    store.check()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["p%20q", "100%", "what?", "a#b", "o'clock", "x y"])
def test_the_database_lies_where_the_repository_does_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    """SQLAlchemy decodes %20 in an address, and ends a path at a question mark."""
    root = tmp_path / name
    root.mkdir()
    store = Store.locate(root, {})
    engine = sqlalchemy.create_engine(store.uri)
    with engine.connect() as connection:
        connection.exec_driver_sql("create table t (x)")
    engine.dispose()
    assert store.database == root / "mlflow.db" and store.database.is_file()
    assert Store.locate(root, {"MLFLOW_TRACKING_URI": "sqlite:///a%20b.db"}).database == root / "a b.db"


@pytest.mark.parametrize("folder", [".", "docs", "pipelines/tagging", "pipelines/tagging/runs"])
def test_every_folder_of_the_repository_has_its_one_store(tmp_path: Path, folder: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    assert Store.locate(tmp_path / folder, {}) == Store.locate(tmp_path, {})
    assert Store.locate(tmp_path, {}).uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_database_server_that_a_temporary_workspace_meets_first_keeps_nothing_in_it(tmp_path: Path) -> None:
    workspace = tmp_path / ".dvc/tmp/exps/standalone/tmpabcd"
    workspace.mkdir(parents=True)
    environ = {"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": "postgresql+psycopg2://mlflow@localhost/mlflow"}
    assert Store.locate(workspace, environ).artifacts == tmp_path / "mlartifacts"
    assert Store.locate(workspace, environ | {"MLFLOW_TRACKING_URI": "https://localhost"}).artifacts is None


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "sqlite:///./mlflow.db"])
def test_a_temporary_workspace_shares_the_store_of_its_repository(tmp_path: Path, uri: str) -> None:
    workspace = tmp_path / ".dvc/tmp/exps/standalone/tmpabcd"
    workspace.mkdir(parents=True)
    environ = {"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": uri}
    assert Store.locate(workspace, environ) == Store.locate(tmp_path, {})


def test_a_driver_may_be_named(tmp_path: Path) -> None:
    store = Store.locate(tmp_path, {"MLFLOW_TRACKING_URI": "sqlite+pysqlite:///mlflow.db"})
    assert (store.uri, store.database) == (f"sqlite+pysqlite:///{tmp_path}/mlflow.db", tmp_path / "mlflow.db")


def test_an_inherited_dvc_root_of_another_repository_counts_for_nothing(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "here-and-elsewhere"
    here.mkdir()
    assert repository(here, {"DVC_ROOT": str(other)}) == here
    assert repository(here, {"DVC_ROOT": str(tmp_path)}) == tmp_path


def test_an_absolute_database_keeps_its_place_and_options(tmp_path: Path) -> None:
    store = Store.locate(tmp_path / "a", {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/b/runs.db?timeout=5"})
    assert store.uri == f"sqlite:///{tmp_path}/b/runs.db?timeout=5"
    assert store.artifacts == tmp_path / "b/mlartifacts"
    with pytest.raises(UserError, match="no folder"):
        store.check()


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, but long enough to be read as one" * 20)
    message, _ = failure("", tmp_path)
    assert "mlflow.db" in message and "make record" in message and "\n" not in message


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with listener() as address:
        pass
    message, seconds = failure(f"http://{address}", tmp_path)
    assert address in message and "make record" in message and "\n" not in message
    assert seconds < 5


@pytest.mark.parametrize(("below", "named"), [(".", "`make record`"), ("pipelines/x", "`make record PIPELINE=x`")])
def test_the_pipeline_is_named_whose_results_are_to_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, named: str
) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / below)
    assert later().endswith(f"publish them later with {named}")


def test_a_copy_that_dvc_deletes_is_told_what_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    (tmp_path / "mlflow.db").write_bytes(b"not a database, but long enough to be read as one" * 20)
    message, _ = failure("", tmp_path)
    assert "the same experiment again" in message and "make record" not in message and "\n" not in message


def test_a_server_that_hangs(tmp_path: Path) -> None:
    with listener() as address:
        message, seconds = failure(f"http://{address}", tmp_path)
    assert "took too long" in message and "make record" in message
    assert seconds < 10


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_is_ill(tmp_path: Path, status: int) -> None:
    with server(status) as address:
        message, _ = failure(f"http://{address}", tmp_path)
    assert str(status) in message and "make record" in message


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_server_that_answers_at_all_is_left_to_mlflow(tmp_path: Path, status: int) -> None:
    with server(status) as address:
        Store.locate(tmp_path, {"MLFLOW_TRACKING_URI": f"http://user:secret@{address}"}).check()


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    message, _ = failure("http://user:secret@127.0.0.1:1/path", tmp_path)
    assert "secret" not in message and "user" not in message
    assert redact("token abc123", {"MLFLOW_TRACKING_TOKEN": "abc123"}) == "token ***"
    assert redact("postgresql://me:pw@host/db") == "postgresql://***@host/db"
    assert redact("postgresql://host/db?user=me&password=pw&sslmode=on") == (
        "postgresql://host/db?user=me&password=***&sslmode=on"
    )
    assert redact("at me:p/w", {"MLFLOW_REGISTRY_URI": "postgresql://me:p/w@host/db"}) == "at ***"
