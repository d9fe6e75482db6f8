"""Publishes finished runs to MLflow from their files, again and again without harm.

MLflow is a projection of the files. A run is found by the key of its content (`unrolled.key`), so a second publish
changes nothing, a run that was half-written is completed in place, and a deleted one is published anew.
"""

# ruff: noqa: E402 (mlflow reads its environment while it is imported)

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# MLflow's own defaults let a dead server hang for four minutes, and a repeated request makes a second run where only
# the answer to the first was lost.
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(_name, _value)

import mlflow
from filelock import FileLock, Timeout
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from unrolled.errors import UserError
from unrolled.settings import Settings
from unrolled.tracking import saved_view, under_way
from unrolled.tracking.projection import Projection, project
from unrolled.tracking.published_model import another_was_first, crown, discard, log_model, ready_models, sweep
from unrolled.tracking.store import LATER, Store, redact, repository

EXPERIMENT = "unrolled"
BATCH = 1000  # metrics a request: MLflow's limit
LOCK_SECONDS = 600.0
LOOK_SECONDS = 20.0  # between two looks at trainings under way
EXPERIMENT_TAGS = {
    "mlflow.note.content": (
        "Recurrent language models with and without gradient clipping, one run an arm. Twins share a hue: the "
        "first row of `clipping` is dark, the next one light."
    ),
    "mlflow.experimentKind": "custom_model_development",  # else the UI asks what kind of experiment this is
}

for _logger in ("mlflow", "alembic"):
    logging.getLogger(_logger).setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it shows as an error, it raises as well


class Published(NamedTuple):
    arm: str
    key: str
    change: str  # "published", "mended" or "unchanged"


def publish(settings: Sequence[Settings], workspace: Path) -> Iterator[Published]:
    """Bring MLflow up to the files of every arm of `settings`; yields each arm as it is done.

    Raises UserError, with the command to publish later, where a run is corrupt or the store does not answer.
    """
    store = Store.locate(workspace)
    store.check()
    projections = project(workspace, settings)
    with _open(store) as client:
        experiment = _experiment(client, store)
        started = int(time.time() * 1000)
        for index, projection in enumerate(projections):
            # A time of its own a run, for MLflow lists runs of the same instant in any order; the newest comes first.
            yield _publish(client, experiment, projection, started - index)
        under_way.show(client, experiment, repository(workspace))
        crown(client, lambda key: next(iter(_found(client, experiment, key)), None), projections)


def ui_link(store: Store, server: str) -> str:
    """The saved view's address on `server`; raises UserError where nothing was published yet."""
    store.check()
    if store.database is not None and not store.database.exists():
        raise UserError("nothing is published yet; `make repro` trains and publishes")
    with _open(store) as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        raise UserError("nothing is published yet; `make record` publishes what `make repro` left")
    return saved_view.link(server, experiment.experiment_id)


def serve_ui(workspace: Path, port: int = 5000) -> None:
    """Print the saved view's link and serve the MLflow UI on 127.0.0.1 until Ctrl-C; trainings under way are shown.

    With a tracking server in MLFLOW_TRACKING_URI there is nothing to start: it ends where no training is under way.
    """
    store = Store.locate(workspace)
    if under_way.checkpoints(workspace):
        show_under_way(store, workspace)
    if store.remote:
        print(f"The results: {ui_link(store, redact(store.uri).replace('***@', ''))}", flush=True)
        while under_way.checkpoints(workspace):
            time.sleep(LOOK_SECONDS)
            show_under_way(store, workspace)
        return
    port = _free_port(port)
    print(f"The results, in about ten seconds (Ctrl-C ends): {ui_link(store, f'http://127.0.0.1:{port}')}", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri, "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if store.artifacts is not None:
        command += ["--artifacts-destination", str(store.artifacts)]
    with subprocess.Popen(command, env={**os.environ, "MLFLOW_TRACKING_URI": store.uri}) as server:
        try:
            while server.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    server.wait(LOOK_SECONDS)
                show_under_way(store, workspace)
        except KeyboardInterrupt:
            pass  # the server, in the foreground as well, has had it too
        finally:
            server.terminate()


def show_under_way(store: Store, workspace: Path) -> None:
    """Show in MLflow how far the trainings under way have come; a store that does not answer is told, and no harm."""
    try:
        store.check()
        with _open(store) as client:
            under_way.show(client, _experiment(client, store), repository(workspace))
    except UserError as error:
        print(f"trainings under way are not shown now: {error}", file=sys.stderr)


# ---- one run ----------------------------------------------------------------------------------------------------


def _publish(client: MlflowClient, experiment: str, projection: Projection, started: int) -> Published:
    found = _found(client, experiment, projection.key)
    run = next(iter(found), None)
    if run is not None and _whole(client, run, projection):
        _discard(client, found[1:])
        if run.data.tags.get("dvc.exp") == projection.experiment and _refresh_report(client, run, projection):
            return Published(projection.arm, projection.key, "mended")
        return Published(projection.arm, projection.key, "unchanged")
    change = "published" if run is None else "mended"
    if run is None:
        tags = projection.tags | {"mlflow.user": ""}
        run = client.create_run(experiment, start_time=started, tags=tags, run_name=projection.name)
    # From here on everything may be written twice with the same outcome.
    run_id, start = run.info.run_id, run.info.start_time
    client.log_batch(
        run_id,
        params=[Param(*each) for each in projection.params.items()],
        tags=[RunTag(*each) for each in projection.tags.items()],
    )
    # Times that follow from the step: the same point logged again is the same row, not another.
    metrics = [Metric(name, value, start, 0) for name, value in projection.finals.items()]
    for name, points in projection.curves.items():
        metrics += [Metric(name, value, start + 1000 * step, step) for step, value in points]
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + BATCH])
    dataset = DatasetInput(Dataset(**projection.dataset), [InputTag("mlflow.data.context", "Training")])
    client.log_inputs(run_id, [dataset])
    for file, folder in projection.artifacts:
        client.log_artifact(run_id, str(file), folder)
    _refresh_report(client, run, projection)
    if not ready_models(client, run):
        log_model(client, run, projection)
    client.set_terminated(run_id, "FINISHED", start + round(1000 * projection.seconds))
    _discard(client, _found(client, experiment, projection.key)[1:])
    sweep(client, run)
    return Published(projection.arm, projection.key, change)


def _found(client: MlflowClient, experiment: str, key: str) -> list[Run]:
    """The runs of that content, deleted ones aside; the one that counts is first: a finished one, then the newest."""
    found = client.search_runs([experiment], f"tags.`unrolled.key` = '{key}'")
    return sorted(found, key=lambda run: (run.info.status != "FINISHED", -run.info.start_time, run.info.run_id))


def _discard(client: MlflowClient, twins: Sequence[Run]) -> None:
    """Delete the twins of a finished run: two machines published it at once, or the answer to `create_run` was lost,
    or a restored experiment brought one back that had been deleted.

    One that holds something and is not finished is left to the machine that is at it.
    """
    for twin in twins:
        if twin.info.status == "FINISHED" or not twin.data.params:
            discard(client, twin)


def _whole(client: MlflowClient, run: Run, projection: Projection) -> bool:
    """Finished, and its artifacts are still there: a folder may have been deleted by hand."""
    if run.info.status != "FINISHED" or not ready_models(client, run):
        return False
    folders = {folder for _, folder in projection.artifacts}
    return all(
        {Path(each.path).name for each in client.list_artifacts(run.info.run_id, folder)}
        >= {file.name for file, to in projection.artifacts if to == folder}
        for folder in folders
    )


def _refresh_report(client: MlflowClient, run: Run, projection: Projection) -> bool:
    """The comparison may change while an arm does not, for it is about all arms; True where it had to be replaced."""
    if not projection.report or run.data.tags.get("unrolled.report") == projection.report_digest:
        return False
    for file, folder in projection.report:
        client.log_artifact(run.info.run_id, str(file), folder)
    client.set_tag(run.info.run_id, "unrolled.report", projection.report_digest)
    return True


# ---- the store --------------------------------------------------------------------------------------------------


@contextmanager
def _open(store: Store) -> Iterator[MlflowClient]:
    """A client, alone on this machine: MLflow creates a SQLite database in several at once by halves.

    What goes wrong inside becomes one line without credentials.
    """
    store.lock.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        with FileLock(store.lock, timeout=LOCK_SECONDS):
            mlflow.set_tracking_uri(store.uri)
            yield MlflowClient(store.uri)
    except Timeout:
        raise UserError(
            f"another process has been publishing for {LOCK_SECONDS:.0f} s ({store.lock}); {LATER}"
        ) from None
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:  # SQLAlchemy's where a disk is full
        reason = redact(str(error).splitlines()[0] if str(error) else type(error).__name__)
        if "disk is full" in str(error):  # in the midst of what the transaction was
            reason = "the database or its disk is full; make room"
        if "error code 401" in reason:
            reason = "user or password is wrong; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise UserError(f"MLflow at {redact(store.uri)}: {reason[:300]}; {LATER}") from None
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _experiment(client: MlflowClient, store: Store) -> str:
    """The id of the one experiment, made, restored or found, with its first sight."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        where = None if store.artifacts is None else store.artifacts.as_uri()
        with another_was_first():
            client.create_experiment(EXPERIMENT, artifact_location=where)
        return _experiment(client, store)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if store.artifacts is not None and experiment.artifact_location != store.artifacts.as_uri():
        raise UserError(
            f"{store.database} keeps its artifacts in {experiment.artifact_location}: it was moved or made elsewhere; "
            f"move it aside; {LATER}"
        )
    _first_sight(client, experiment.experiment_id, experiment.tags)
    return str(experiment.experiment_id)


def _first_sight(client: MlflowClient, experiment: str, tags: dict[str, str]) -> None:
    """Note and saved view. A nicety in a format of MLflow's own: a refusal is told and does no harm."""
    try:
        for name, value in (EXPERIMENT_TAGS | {saved_view.TAG: saved_view.tag_value()}).items():
            if tags.get(name) != value:
                client.set_experiment_tag(experiment, name, value)
    except Exception as error:
        if getattr(error, "error_code", "") == "INTERNAL_ERROR":
            raise  # no refusal: the server is ill or away, and what follows would say so once more
        reason = redact(str(error).partition("\n")[0])
        logging.getLogger(__name__).warning("the saved view of charts was not written: %s", reason)


def _free_port(port: int) -> int:
    """`port`, or the next one that nobody listens on."""
    for candidate in range(port, port + 20):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", candidate)):
                return candidate
    raise UserError(f"the ports {port} to {port + 19} are taken; name a free one with --port")
