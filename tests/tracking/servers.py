"""What a team runs: PostgreSQL on loopback, and an MLflow server before it; and what a user does: `unrolled ui`."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    """The folder of `initdb` and `postgres`; Debian keeps them off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "postgres").exists()), None)


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """The address of an empty database in a data directory of its own."""
    # PostgreSQL refuses root, and root's temporary folders are closed to whom it runs as instead.
    other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    try:
        if other:
            shutil.chown(folder, "nobody", "nogroup")
        make = [programs / "initdb", "--pgdata", folder / "data", "--username=mlflow", "--auth=trust", "--no-sync"]
        subprocess.run([*other, *make], cwd="/", check=True, capture_output=True)
        run = [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", "", "-h", "127.0.0.1", "-F"]
        log = subprocess.DEVNULL
        with subprocess.Popen([*other, *run], cwd="/", stdout=log, stderr=log) as server:
            try:
                wait_for_port(port)
                yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # SIGTERM would wait for its clients
    finally:
        shutil.rmtree(folder)


@contextmanager
def mlflow_server(
    store: str, folder: Path, warm: str, options: tuple[str, ...] = (), environ: Mapping[str, str] | None = None,
    port: int = 0,
) -> Iterator[str]:  # fmt: skip
    """The address of an MLflow server; its artifacts are in `folder`/artifacts, what it says in `folder`/server.log."""
    port = port or free_port()
    command = ["python", str(Path(__file__).with_name("warm_server.py")), "--backend-store-uri", store]
    command += ["--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": warm, **(environ or {})}
    with (
        open(folder / "server.log", "a", encoding="utf-8") as log,
        subprocess.Popen([*command, *options], cwd=folder, env=os.environ | settings, stdout=log, stderr=log) as server,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()  # SIGTERM would wait for its clients
            wait_for_port(port, listened=False)


@contextmanager
def user_interface(root: Path, warm: str, **environment: str) -> Iterator[str]:
    """The link that `unrolled ui` prints in a workspace, once its server answers."""
    settings = {"PATH": warm, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with subprocess.Popen(
        ["unrolled", "ui", "--port", str(free_port())],
        cwd=root,
        env=os.environ | settings | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as ui:
        try:
            assert ui.stdout is not None
            link = "http://" + ui.stdout.readline().strip().partition("http://")[2]
            wait_for(link.partition("/#")[0] + "/health", ui)
            yield link
        finally:
            ui.terminate()  # which takes its server along
            ui.communicate(timeout=60)


def wait_for_port(port: int, *, listened: bool = True) -> None:
    """Until somebody listens on it, or nobody does any more."""
    for _ in range(2400):
        with socket.socket() as probe:
            if (probe.connect_ex(("127.0.0.1", port)) == 0) == listened:
                return
        time.sleep(0.025)
    raise TimeoutError(f"port {port} is not as expected")


def wait_for(address: str, server: "subprocess.Popen[Any]") -> None:
    for _ in range(2400):
        if server.poll() is not None:
            raise ChildProcessError(f"the MLflow server ended with {server.returncode}")
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(address)


class Restartable:
    """An MLflow server on a SQLite file that can be stopped, and started again at its address."""

    def __init__(self, folder: Path, warm: str) -> None:
        self.warm = warm
        self.folder, self.store, self.port = folder, f"sqlite:///{folder}/mlflow.db", free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self._running.enter_context(mlflow_server(self.store, self.folder, self.warm, port=self.port))

    def stop(self) -> None:
        self._running.close()
