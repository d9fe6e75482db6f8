"""The model of a published run: logged, found complete, and the best one named champion."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema

import unrolled
from unrolled.ground.registry import task_part
from unrolled.tracking.connection import another_was_first
from unrolled.tracking.projection import WARNINGS, Projection, Served

CHAMPION = "champion"  # models:/<name>@champion


def registered_name(task: str) -> str:
    """Of the registered model that a task's arms are versions of: that of its experiment."""
    return str(task_part(task, "publishing").EXPERIMENT)


def ready_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """The complete models of a run, oldest first; MLflow names a model in the run before its files are there."""
    return [model for model in _models(client, run) if model.status == LoggedModelStatus.READY]


def log_model(client: MlflowClient, run: Run, projection: Projection, served: Served) -> None:
    """A pyfunc model of safetensors, JSON and this package's code, with the run's final values: nothing is pickled."""
    # Not pyfunc.log_model: that needs start_run, which calls the run finished or failed before it is, and it asks for
    # the history of every metric, half of all the requests of a publish.
    run_id, start = run.info.run_id, run.info.start_time
    model = client.create_logged_model(
        run.info.experiment_id, projection.arm, source_run_id=run_id, params=projection.params
    )
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        finals = projection.finals.items()
        client.log_batch(run_id, [Metric(*each, start, 0, model_id=model.model_id) for each in finals])
        with TemporaryDirectory() as temporary:
            description = Model(model.artifact_location, run_id, model_uuid=model.model_id, model_id=model.model_id)
            _save(Path(temporary, "model"), served, description)
            client.log_model_artifacts(model.model_id, str(Path(temporary, "model")))
    except Exception:
        client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _save(folder: Path, served: Served, description: Model) -> None:
    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example")  # the signature is given, and would be its use
        data = Path(temporary, "arm")
        data.mkdir()
        for file in served.files:
            shutil.copyfile(file, data / file.name)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=served.loader,  # by name: the model brings its code along, and record does not run it
            data_path=str(data),
            code_paths=[str(Path(unrolled.__file__).parent)],
            # Named, so that MLflow does not run the model to find them out: 6 s.
            pip_requirements=[f"{package}=={_released(package)}" for package in ("mlflow", *served.packages)],
            signature=ModelSignature(_schema(served.inputs), _schema(served.outputs)),
            mlflow_model=description,
        )


def _released(package: str) -> str:
    """The installed version without the mark of a build, as of 2.13.0+cpu: the package index knows no such."""
    return version(package).partition("+")[0]


def _schema(columns: Sequence[dict[str, Any]]) -> Schema:
    return Schema.from_json(json.dumps([{"required": True, **column} for column in columns]))


def delete_leftovers(client: MlflowClient, run: Run) -> None:
    """Delete what a publish that failed, or another at the same time, left beside the model of a finished run."""
    models = _models(client, run)
    kept = next((model for model in models if model.status == LoggedModelStatus.READY), None)
    for model in models:
        # One that is pending may be another machine's, which is at it.
        if model != kept and model.status != LoggedModelStatus.PENDING:
            with another_was_first():
                client.delete_logged_model(model.model_id)


def delete_published(client: MlflowClient, run: Run, task: str) -> None:
    """Delete a run that another one stands for, with its models and what is registered of them."""
    name = registered_name(task)
    for each in _versions(client, run, name):
        with another_was_first():
            client.delete_model_version(name, each.version)
    for model in _models(client, run):
        with another_was_first():
            client.delete_logged_model(model.model_id)
    client.delete_run(run.info.run_id)


def name_champion(client: MlflowClient, find: Callable[[str], Run | None], projections: Sequence[Projection]) -> None:
    """Give the alias `champion` of the registered model to the best of the arms that may have it, if one is complete.

    Best by the validation split, of the arms as they stand now: a named DVC experiment is tried, and names nobody.
    """
    best = _best(projections)
    run = None if best is None else find(best.key)
    if best is None or run is None or run.data.tags.get("dvc.exp"):
        return
    name, score = registered_name(best.task), task_part(best.task, "scores").SCORES[0]
    _register(client, name, score.label)
    with another_was_first():  # its run stands for this one now, and it names the champion
        registered = _version(client, run, name)
        if registered is not None and CHAMPION not in registered.aliases:
            client.set_registered_model_alias(name, CHAMPION, registered.version)
            if said := best.tags.get(WARNINGS):
                print(f"{best.name} is {CHAMPION} of {name}, but beware: {said}", file=sys.stderr)


def _register(client: MlflowClient, name: str, score: str) -> None:
    """Make the registered model where there is none."""
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        note = f"The best arms by validation {score}; `champion` is the best of those that stand now."
        with another_was_first():
            client.create_registered_model(name, description=note)


def _best(projections: Sequence[Projection]) -> Projection | None:
    """The best of those that may be champion and have a score; of equals the first."""
    found: dict[float, Projection] = {}
    for each in projections:
        score = task_part(each.task, "scores").SCORES[0]
        valid = each.finals.get(f"{score.name}/best_valid")
        if valid is not None and each.served is not None and each.served.may_be_champion:
            found.setdefault(valid if score.lower_is_better else -valid, each)
    return found[min(found)] if found else None


def _version(client: MlflowClient, run: Run, name: str) -> ModelVersion | None:
    """The registered version of a run's model, made where there is none; None where the run has no complete model."""
    versions, models = _versions(client, run, name), ready_models(client, run)
    if versions or not models:
        return next(iter(versions), None)
    model, arm = models[0].model_id, run.info.run_name
    return client.create_model_version(
        name, f"models:/{model}", run_id=run.info.run_id, model_id=model, description=arm
    )


def _versions(client: MlflowClient, run: Run, name: str) -> list[ModelVersion]:
    """What of a run is registered by that name, which a filter could not quote whatever it is."""
    return [each for each in client.search_model_versions(f"run_id = '{run.info.run_id}'") if each.name == name]


def _models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))
