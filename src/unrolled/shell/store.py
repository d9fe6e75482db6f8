"""Where the MLflow store is, and whether it answers, found out without mlflow: that would try for minutes."""

import http.client
import os
import re
import sqlite3
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from unrolled.shell.errors import UserError
from unrolled.shell.redaction import redact
from unrolled.shell.workspace import repository

HEALTH_SECONDS = 3.0
ARTIFACTS = "mlartifacts"  # the folder's name


def later() -> str:
    """How to publish what could not be published now.

    The copy of the repository in which DVC runs an experiment of `--temp` or of its queue is deleted where a stage
    fails; what the other stages made is in DVC's cache, and the same experiment takes it from there.
    """
    if any(folder.name == ".dvc" for folder in Path.cwd().parents):
        return "results are safe in DVC's cache; the same experiment again publishes them, and trains nothing"
    here = Path.cwd()
    of_task = f" PIPELINE={here.name}" if here.parent == repository(here) / "pipelines" else ""
    return f"results are safe on disk; publish them later with `make record{of_task}`"


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store: a database with a folder of artifacts, or the address of an MLflow server.

    ``database``: where it is a SQLite file. ``artifacts``: what MLflow itself would lay for ever into the working
    directory of whoever comes first, which may be a temporary one; None where that is the server's business.
    """

    uri: str
    lock: Path
    database: Path | None = None
    artifacts: Path | None = None

    @classmethod
    def locate(cls, workspace: Path, environ: Mapping[str, str] = os.environ) -> "Store":
        """The store of `MLFLOW_TRACKING_URI`, else `mlflow.db` in the repository that `workspace` belongs to.

        A temporary workspace of `dvc exp run` lies inside the repository and is deleted afterwards, so a relative
        SQLite path counts from the repository's root.
        """
        root = repository(workspace, environ)
        uri = environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
        match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^?]+)(\?.*)?", uri)
        if not match:
            server = re.match(r"(postgresql|mysql|mssql)\b", uri)
            return cls(uri, root / ".dvc" / "tmp" / "record.lock", artifacts=root / ARTIFACTS if server else None)
        database = (root / unquote(match[2])).resolve()
        quoted = str(database).replace("%", "%25").replace("?", "%3F")  # SQLAlchemy reads these two as more than a path
        return cls(
            uri=f"{match[1]}{quoted}{match[3] or ''}",
            lock=database.with_name(f"{database.name}.lock"),
            database=database,
            artifacts=database.with_name(ARTIFACTS),
        )

    @property
    def remote(self) -> bool:
        return urlsplit(self.uri).scheme in ("http", "https")

    def check(self) -> None:
        """Raise UserError within seconds if the store cannot be used; MLflow itself would try for minutes."""
        if self.remote:
            _check_server(self.uri)
        elif self.database is not None:
            _check_database(self.database)


def _check_server(uri: str) -> None:
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/health", "", ""))
    try:
        urllib.request.urlopen(address, timeout=HEALTH_SECONDS).close()
    except urllib.error.HTTPError as error:
        # A door that asks for a password, or a proxy that hides /health, has somebody behind it.
        error.close()
        if error.code >= 500:
            raise UserError(f"the MLflow server {redact(uri)} answers with error {error.code}; {later()}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLError):
            return  # MLflow has its own settings for certificates
        why = "took too long" if isinstance(reason, TimeoutError) else reason
        raise UserError(f"the MLflow server {redact(uri)} does not answer ({redact(str(why))}); {later()}") from None


def _check_database(database: Path) -> None:
    if not database.parent.is_dir():
        raise UserError(f"no folder {database.parent} for the MLflow database; {later()}")
    for path in (database.parent, database):
        if path.exists() and not os.access(path, os.W_OK):
            raise UserError(f"{path} cannot be written to; {later()}")
    if not database.exists():
        return
    try:
        connection = sqlite3.connect(database, timeout=HEALTH_SECONDS)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UserError(f"{database} is no usable MLflow database ({error}); move it aside; {later()}") from None
