"""Publishes finished runs to MLflow from their files, again and again without harm.

MLflow is a projection of the files. A run is found by the key of its content (`unrolled.key`), so a second publish
changes nothing, a run that was half-written is completed in place, and a deleted one is published anew.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.artifacts import list_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from unrolled.shell.store import Store
from unrolled.shell.workspace import repository
from unrolled.tracking import unfinished
from unrolled.tracking.connection import connected, log_metrics, open_experiment
from unrolled.tracking.environment import ignored
from unrolled.tracking.projection import Projection, project
from unrolled.tracking.published_model import (
    delete_leftovers,
    delete_published,
    log_model,
    name_champion,
    ready_models,
)
from unrolled.tracking.relocation import check_place
from unrolled.tracking.saved_view import CORPUS, OVER_SEEDS


class Published(NamedTuple):
    """What a publish did to an arm; `key` names the content that MLflow now has."""

    arm: str
    key: str
    change: str  # "published", "mended" or "unchanged"


def publish(grid: Mapping[str, Any], workspace: Path) -> Iterator[Published]:
    """Bring MLflow up to the files of every arm of ``grid``, as resolved/grid.json has it; yields each as it is done.

    Raises UserError, with the command to publish later, where a run is corrupt or the store does not answer.
    """
    store = Store.locate(workspace)
    store.check()
    check_place(store)
    if said := ignored():
        print(said, file=sys.stderr)
    projections = project(workspace, grid)
    with connected(store) as client:
        experiment = open_experiment(
            client, store, grid["task"], projections[0].tags[CORPUS],
            grouped=len({each["seed"] for each in grid["arms"]}) > 1,
        )  # fmt: skip
        started = int(time.time() * 1000)
        for index, projection in enumerate(projections):
            # A time of its own a run, for MLflow lists runs of the same instant in any order; the newest comes first.
            yield _publish(client, experiment, projection, started - index)
        unfinished.show(client, experiment, grid["task"], repository(workspace))
        name_champion(client, lambda key: next(iter(_found(client, experiment, key)), None), projections)


def _publish(client: MlflowClient, experiment: str, projection: Projection, started: int) -> Published:
    found = _found(client, experiment, projection.key)
    run = next(iter(found), None)
    if run is not None and _is_complete(client, run, projection):
        _delete_duplicates(client, found[1:], projection.task)
        if run.data.tags.get("dvc.exp") == projection.experiment and _refresh_report(client, run, projection):
            return Published(projection.arm, projection.key, "mended")
        return Published(projection.arm, projection.key, "unchanged")
    change = "published" if run is None else "mended"
    if run is None:
        tags = projection.tags | {"mlflow.user": ""}
        run = client.create_run(experiment, start_time=started, tags=tags, run_name=projection.name)
    # From here on everything may be written twice with the same outcome.
    _write(client, run, projection)
    _refresh_report(client, run, projection)
    if projection.served is not None and not ready_models(client, run):
        log_model(client, run, projection, projection.served)
    client.set_terminated(run.info.run_id, "FINISHED", run.info.start_time + round(1000 * projection.seconds))
    _delete_duplicates(client, _found(client, experiment, projection.key)[1:], projection.task)
    delete_leftovers(client, run)
    return Published(projection.arm, projection.key, change)


def _write(client: MlflowClient, run: Run, projection: Projection) -> None:
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
    log_metrics(client, run, metrics)
    dataset = DatasetInput(Dataset(**projection.dataset), [InputTag("mlflow.data.context", "Training")])
    client.log_inputs(run_id, [dataset])
    for file, folder in projection.artifacts:
        client.log_artifact(run_id, str(file), folder)


def _found(client: MlflowClient, experiment: str, key: str) -> list[Run]:
    """The runs of that content, deleted ones aside; the one that counts is first: a finished one, then the newest."""
    found = client.search_runs([experiment], f"tags.`unrolled.key` = '{key}'")
    return sorted(found, key=lambda run: (run.info.status != "FINISHED", -run.info.start_time, run.info.run_id))


def _delete_duplicates(client: MlflowClient, duplicates: Sequence[Run], task: str) -> None:
    """Delete the duplicates of a finished run: two machines published it at once, the answer to `create_run` was lost,
    or a restored experiment brought one back that had been deleted.

    One that holds something and is not finished is left to the machine that is at it.
    """
    for each in duplicates:
        if each.info.status == "FINISHED" or not each.data.params:
            delete_published(client, each, task)


def _is_complete(client: MlflowClient, run: Run, projection: Projection) -> bool:
    """Finished, and its artifacts are still there: a folder may have been deleted by hand."""
    if run.info.status != "FINISHED" or (projection.served is not None and not ready_models(client, run)):
        return False
    # By address: by the run's id, MLflow asks for the run and its models again for each folder.
    return all(
        {Path(each.path).name for each in list_artifacts(artifact_uri=f"{run.info.artifact_uri}/{folder}")}
        >= {file.name for file, to in projection.artifacts if to == folder}
        for folder in {folder for _, folder in projection.artifacts}
    )


def _refresh_report(client: MlflowClient, run: Run, projection: Projection) -> bool:
    """The comparison may change while an arm does not, for it is about all arms; True where it had to be replaced."""
    if not projection.report or run.data.tags.get("unrolled.report") == projection.report_digest:
        return False
    for file, folder in projection.report:
        client.log_artifact(run.info.run_id, str(file), folder)
    if projection.over_seeds or run.data.tags.get(OVER_SEEDS):
        client.set_tag(run.info.run_id, OVER_SEEDS, projection.over_seeds)
    client.set_tag(run.info.run_id, "unrolled.report", projection.report_digest)
    return True
