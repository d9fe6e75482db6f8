"""The way into MLflow: a client that is alone on this machine, and the experiment of a task."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext

import mlflow
from filelock import FileLock, Timeout
from mlflow.entities import Experiment, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from unrolled.ground.registry import task_part
from unrolled.shell.errors import UserError
from unrolled.shell.redaction import redact
from unrolled.shell.store import Store, later
from unrolled.tracking import saved_view
from unrolled.tracking.relocation import elsewhere

LOCK_SECONDS = 600.0
BATCH = 1000  # metrics a request: MLflow's limit
GROUPED = "unrolled.grouped"  # the tag of an experiment whose view shows configurations of several seeds as one
COLOURS = "Twins share a hue: the first row of `clipping` is dark, the next one light."


@contextmanager
def connected(store: Store) -> Iterator[MlflowClient]:
    """A client, alone on this machine: MLflow creates a SQLite database in several at once by halves.

    What goes wrong inside becomes one line without credentials.
    """
    store.lock.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        with FileLock(store.lock, timeout=LOCK_SECONDS):
            mlflow.set_tracking_uri(store.uri)
            # In a new database, MLflow makes an experiment "Default" that keeps its artifacts where this is.
            with nullcontext() if store.artifacts is None else chdir(store.artifacts.parent):
                client = MlflowClient(store.uri)
            yield client
    except Timeout:
        raise UserError(
            f"another process has been publishing for {LOCK_SECONDS:.0f} s ({store.lock}); {later()}"
        ) from None
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:  # SQLAlchemy's where a disk is full
        reason = redact(str(error).splitlines()[0] if str(error) else type(error).__name__)
        if "disk is full" in str(error):  # in the midst of what the transaction was
            reason = "the database or its disk is full; make room"
        if "error code 401" in reason:
            reason = "user or password is wrong; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise UserError(f"MLflow at {redact(store.uri)}: {reason[:300]}; {later()}") from None
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def another_was_first() -> Iterator[None]:
    """What is made or deleted inside may be there or gone since it was looked for: two machines publish at once."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise


def log_metrics(client: MlflowClient, run: Run, metrics: Sequence[Metric]) -> None:
    """In as few requests as may be."""
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[first : first + BATCH])


def find_experiment(client: MlflowClient, task: str) -> Experiment | None:
    """The one experiment of a task, deleted or not."""
    return client.get_experiment_by_name(task_part(task, "publishing").EXPERIMENT)


def open_experiment(client: MlflowClient, store: Store, task: str, corpus: str, *, grouped: bool | None = None) -> str:
    """The id of the task's experiment, made, restored or found, with its description and its saved view.

    ``corpus``: the digest of the one whose runs the view is to show; ``grouped``: by configuration, as there are
    several seeds, or as it was where that is not said.
    """
    experiment = find_experiment(client, task)
    if experiment is None:
        where = None if store.artifacts is None else store.artifacts.as_uri()
        with another_was_first():
            client.create_experiment(task_part(task, "publishing").EXPERIMENT, artifact_location=where)
        return open_experiment(client, store, task, corpus, grouped=grouped)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if store.database and store.artifacts and experiment.artifact_location != store.artifacts.as_uri():
        raise UserError(elsewhere(store, experiment.artifact_location))
    was = experiment.tags.get(GROUPED) == "yes"
    _describe(client, experiment, task, corpus, was if grouped is None else grouped)
    return str(experiment.experiment_id)


def _describe(client: MlflowClient, experiment: Experiment, task: str, corpus: str, grouped: bool) -> None:
    """Description and saved view. A nicety in a format of MLflow's own: a refusal is told and does no harm."""
    tags = {
        "mlflow.note.content": f"{task_part(task, 'publishing').DESCRIPTION} {COLOURS}",
        "mlflow.experimentKind": "custom_model_development",  # else the UI asks what kind of experiment this is
        GROUPED: "yes" if grouped else "no",
        saved_view.TAG: saved_view.tag_value(task, corpus, grouped=grouped),
    }
    try:
        for name, value in tags.items():
            if experiment.tags.get(name) != value:
                client.set_experiment_tag(experiment.experiment_id, name, value)
    except Exception as error:
        if getattr(error, "error_code", "") == "INTERNAL_ERROR":
            raise  # no refusal: the server is ill or away, and what follows would say so once more
        reason = redact(str(error).partition("\n")[0])
        logging.getLogger(__name__).warning("the saved view of charts was not written: %s", reason)
