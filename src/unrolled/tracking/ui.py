"""MLflow's user interface, opened at the saved views, with the trainings that are not finished yet."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from unrolled.ground.registry import task_names
from unrolled.shell.errors import UserError
from unrolled.shell.redaction import redact
from unrolled.shell.store import Store
from unrolled.shell.workspace import repository
from unrolled.tracking import saved_view, unfinished
from unrolled.tracking.connection import connected, find_experiment, open_experiment
from unrolled.tracking.relocation import check_place

LOOK_SECONDS = 20.0  # between two looks at the checkpoints


def serve(workspace: Path, port: int = 5000) -> None:
    """Print the links of the saved views and serve the MLflow UI on 127.0.0.1 until Ctrl-C.

    Unfinished trainings are shown as far as their checkpoints go. With a tracking server in MLFLOW_TRACKING_URI there
    is nothing to start: this ends when no training is unfinished.
    """
    store, root = Store.locate(workspace), repository(workspace)
    if unfinished.checkpoints(root):
        show_unfinished(store, root)
    if store.remote:
        _print_links(store, redact(store.uri).replace("***@", ""))
        while unfinished.checkpoints(root):
            time.sleep(LOOK_SECONDS)
            show_unfinished(store, root)
        return
    port = _free_port(port)
    _print_links(store, f"http://127.0.0.1:{port}", ", in about ten seconds (Ctrl-C ends)")
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    if store.artifacts is not None:
        command += ["--artifacts-destination", str(store.artifacts)]
    # Not on the command line, which every user of the machine can read: the address may hold a password.
    addresses = dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"), store.uri)
    with subprocess.Popen(command, env=os.environ | addresses) as server:
        try:
            while server.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    server.wait(LOOK_SECONDS)
                show_unfinished(store, root)
        except KeyboardInterrupt:
            pass  # the server, in the foreground as well, has had it too
        finally:
            server.terminate()


def links(store: Store, server: str) -> dict[str, str]:
    """The address of each task's saved view on ``server``; raises UserError where nothing was published yet."""
    store.check()
    check_place(store)
    if store.database is not None and not store.database.exists():
        raise UserError("nothing is published yet; `make repro` trains and publishes")
    with connected(store) as client:
        found = {task: find_experiment(client, task) for task in task_names()}
    experiments = {task: each.experiment_id for task, each in found.items() if each is not None}
    if not experiments:
        raise UserError("nothing is published yet; `make record` publishes what `make repro` left")
    return {task: saved_view.link(server, experiment) for task, experiment in experiments.items()}


def show_unfinished(store: Store, root: Path) -> None:
    """Show in MLflow how far the unfinished trainings have come; a store that does not answer is told, and no harm."""
    try:
        store.check()
        begun = unfinished.begun(root)
        with connected(store) as client:
            for task in task_names():
                if task in begun:
                    unfinished.show(client, open_experiment(client, store, task, begun[task]), task, root)
                elif (found := find_experiment(client, task)) is not None:  # its view is that of the latest publish
                    unfinished.show(client, found.experiment_id, task, root)
    except UserError as error:
        print(f"unfinished trainings are not shown now: {error}", file=sys.stderr)


def _print_links(store: Store, server: str, when: str = "") -> None:
    for task, link in links(store, server).items():
        print(f"The results of {task}{when}: {link}", flush=True)


def _free_port(port: int) -> int:
    """``port``, or the next one that nobody listens on."""
    for candidate in range(port, port + 20):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", candidate)):
                return candidate
    raise UserError(f"the ports {port} to {port + 19} are taken; name a free one with --port")
