"""The model of a published run: logged, found whole, and the best one crowned. Imported by publishing alone."""

import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import Array

import unrolled
from unrolled.tasks.language_model import SCORES
from unrolled.tracking.projection import Projection

REGISTERED, CHAMPION = "unrolled", "champion"  # models:/unrolled@champion
REGISTERED_NOTE = "The best arms by validation perplexity; `champion` is the best of those that stand now."
VALID = "forward_perplexity/best_valid"
SCORER = "unrolled.tracking.scorer"  # by name: the model brings its code along, and record does not run it
MODEL_NEEDS = ("mlflow", "numpy", "pandas", "safetensors", "tokenizers", "torch")


def ready_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """The models of a run that are whole, oldest first; MLflow names a model in the run before its files are there."""
    return [model for model in _models(client, run) if model.status == LoggedModelStatus.READY]


def log_model(client: MlflowClient, run: Run, projection: Projection) -> None:
    """A pyfunc model of safetensors, JSON and this package's code: nothing is pickled."""
    outputs: list[ColSpec | TensorSpec] = [ColSpec("long", "tokens")]
    outputs += [ColSpec("double", name) for name in ("nats", *(SCORES[head] for head in projection.heads))]
    outputs += [ColSpec(Array("string"), "next_words"), ColSpec(Array("double"), "next_probabilities")]
    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example")  # the signature is given, and would be its use
        folder = Path(temporary, "arm")
        folder.mkdir()
        for file in projection.model:
            shutil.copyfile(file, folder / file.name)
        # Not pyfunc.log_model: that needs start_run, which calls the run finished or failed before it is.
        model = client.create_logged_model(
            run.info.experiment_id, projection.arm, source_run_id=run.info.run_id, params=projection.params
        )
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run.info.run_id,
            model_id=model.model_id,
            loader_module=SCORER,
            data_path=str(folder),
            code_paths=[str(Path(unrolled.__file__).parent)],
            # Named, so that MLflow does not run the model to find them out: 6 s.
            pip_requirements=[f"{package}=={version(package)}" for package in MODEL_NEEDS],
            signature=ModelSignature(Schema([ColSpec("string", "text")]), Schema(outputs)),
        )


def sweep(client: MlflowClient, run: Run) -> None:
    """Delete what a publish that failed, or another at the same time, left beside the model of a finished run."""
    models = _models(client, run)
    kept = next((model for model in models if model.status == LoggedModelStatus.READY), None)
    for model in models:
        # One that is pending may be another machine's, which is at it.
        if model != kept and model.status != LoggedModelStatus.PENDING:
            with another_was_first():
                client.delete_logged_model(model.model_id)


def discard(client: MlflowClient, run: Run) -> None:
    """Delete a run that another one stands for, with its models and what is registered of them."""
    for each in client.search_model_versions(f"name = '{REGISTERED}' and run_id = '{run.info.run_id}'"):
        with another_was_first():
            client.delete_model_version(REGISTERED, each.version)
    for model in _models(client, run):
        with another_was_first():
            client.delete_logged_model(model.model_id)
    client.delete_run(run.info.run_id)


def crown(client: MlflowClient, find: Callable[[str], Run | None], projections: Sequence[Projection]) -> None:
    """Give the alias `champion` of the registered model to the best arm that reads from left to right, if one is whole.

    Best by validation perplexity, of the arms as they stand now: a named DVC experiment is tried, and crowns nobody.
    """
    finals = {each.key: each.finals.get(VALID, math.inf) for each in projections if each.heads == ("forward",)}
    best = min(finals, key=lambda key: finals[key], default=None)
    run = None if best is None or math.isinf(finals[best]) else find(best)
    if run is None or run.data.tags.get("dvc.exp"):
        return
    if not client.search_registered_models(f"name = '{REGISTERED}'"):
        with another_was_first():
            client.create_registered_model(REGISTERED, description=REGISTERED_NOTE)
    with another_was_first():  # its run stands for this one now, and it crowns
        best_version = _version(client, run)
        if best_version is not None and CHAMPION not in best_version.aliases:
            client.set_registered_model_alias(REGISTERED, CHAMPION, best_version.version)


@contextmanager
def another_was_first() -> Iterator[None]:
    """What is made or deleted inside may be there or gone since it was looked for: two machines publish at once."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise


def _version(client: MlflowClient, run: Run) -> ModelVersion | None:
    """The registered version of a run's model, made where there is none; None where the run has no whole model."""
    versions = client.search_model_versions(f"name = '{REGISTERED}' and run_id = '{run.info.run_id}'")
    models = ready_models(client, run)
    if versions or not models:
        return next(iter(versions), None)
    model, name = models[0].model_id, run.info.run_name
    return client.create_model_version(
        REGISTERED, f"models:/{model}", run_id=run.info.run_id, model_id=model, description=name
    )


def _models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))
