"""What a team runs: an MLflow server on PostgreSQL, with basic auth and a folder of artifacts; publishing to it."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import click
import pytest
from at_once import Outcome, record_at_once
from click.testing import CliRunner
from mlflow.entities import LoggedModel, Run
from mlflow.tracking import MlflowClient
from servers import free_port, mlflow_server, postgres, postgres_programs

from unrolled.tracking.published_model import CHAMPION

ARMS = ["lstm-clipped-1", "lstm-unclipped-1"]
NAME = "unrolled"  # of MLflow's experiment and its registered model
USER, PASSWORD = "admin", "correct-horse-battery"
PROGRAMS = postgres_programs()
AUTH = """[mlflow]
default_permission = MANAGE
database_uri = {}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""

pytestmark = [
    pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed"),
    pytest.mark.usefixtures("one_file_of_code"),
]


class Team(NamedTuple):
    address: str
    folder: Path


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, warm: str) -> Iterator[Team]:
    """The server, and the folder of its artifacts."""
    assert PROGRAMS is not None
    folder = tmp_path_factory.mktemp("team")
    with postgres(PROGRAMS) as store:
        (folder / "auth.ini").write_text(AUTH.format(store), encoding="utf-8")
        environ = {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of no secret",
        }
        with mlflow_server(store, folder, warm, ("--app-name", "basic-auth"), environ) as address:
            yield Team(address, folder / "artifacts")


@pytest.fixture
def workspace(two_arms: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two_arms, tmp_path / "workspace")


@pytest.fixture
def client(team: Team, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy machine's server is not taken for a failing one
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    return MlflowClient(team.address)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[click.Command]:
    """stages/record.py, called in this process."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "stages")
    from record import main

    kept = signal.getsignal(signal.SIGTERM)
    yield main
    signal.signal(signal.SIGTERM, kept)


def environment(uri: str, user: str = "", password: str = "") -> dict[str, str | None]:
    return {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_TRACKING_USERNAME": user or None,
        "MLFLOW_TRACKING_PASSWORD": password or None,
    }


def record(command: click.Command, workspace: Path, uri: str, user: str = "", password: str = "") -> Outcome:
    with chdir(workspace):
        result = CliRunner().invoke(command, [], env=environment(uri, user, password))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def runs_of(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name(NAME)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def models_of(client: MlflowClient) -> list[LoggedModel]:
    """The oldest first."""
    experiment = client.get_experiment_by_name(NAME)
    found = [] if experiment is None else client.search_logged_models([experiment.experiment_id])
    return sorted(found, key=lambda model: model.creation_timestamp)


def contents(client: MlflowClient, folder: Path) -> tuple[list[dict[str, object]], list[tuple[str, int]]]:
    """Every run as it is, every artifact with the time it was written."""
    files = [(str(path), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
    return [run.to_dictionary() for run in runs_of(client)], files


def forget(client: MlflowClient) -> None:
    for run in runs_of(client):
        client.delete_run(run.info.run_id)


def test_a_team_publishes_with_user_and_password(
    team: Team, workspace: Path, client: MlflowClient, command: click.Command
) -> None:
    before = contents(client, team.folder)
    refused = record(command, workspace, team.address, USER, "wrong-" + PASSWORD)
    assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert refused.err.startswith("error: ") and "MLFLOW_TRACKING_PASSWORD" in refused.err
    assert PASSWORD not in refused.err
    assert not (workspace / "recorded.json").exists() and contents(client, team.folder) == before

    done = record(command, workspace, team.address, USER, PASSWORD)
    assert done == (0, "".join(f"{arm}: published\n" for arm in ARMS), "")
    assert sorted((str(run.info.run_name), run.info.status) for run in runs_of(client)) == [
        (arm, "FINISHED") for arm in sorted(ARMS)
    ]
    for run in runs_of(client):
        whole(client, run, team.folder, workspace)

    published = contents(client, team.folder)
    again = record(command, workspace, team.address, USER, PASSWORD)
    assert again == (0, "".join(f"{arm}: unchanged\n" for arm in ARMS), "")
    assert contents(client, team.folder) == published


def whole(client: MlflowClient, run: Run, folder: Path, workspace: Path) -> None:
    arm = str(run.info.run_name)
    assert run.data.metrics["grad_norm/max"] == 1000
    assert max(point.value for point in client.get_metric_history(run.info.run_id, "grad_norm/window_max")) == 1000
    assert run.inputs is not None and len(run.inputs.dataset_inputs) == 1
    artifacts = folder / run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    for source, artifact in ((f"runs/{arm}/steps.parquet", "run/steps.parquet"), ("report/comparison.md",) * 2):
        assert (artifacts / artifact).read_bytes() == (workspace / source).read_bytes()
    assert run.outputs is not None
    [model] = run.outputs.model_outputs
    place = client.get_logged_model(model.model_id).artifact_location.removeprefix("mlflow-artifacts:/")
    [weights] = (folder / place).rglob("weights.safetensors")
    assert weights.read_bytes() == (workspace / f"runs/{arm}/weights.safetensors").read_bytes()


def leaks(secret: str, outcome: Outcome, workspace: Path, team: Team, client: MlflowClient) -> list[str]:
    """Where `secret`, plain or as an address spells it, can be read."""
    runs = [str(run.to_dictionary()) for run in runs_of(client)]
    models = [vars(model) for model in models_of(client)]
    places = {"out": outcome.out, "err": outcome.err, "runs": str(runs), "models": str(models)}
    places |= {"versions": str([vars(each) for each in client.search_model_versions()])}
    found = [name for name, text in places.items() if any(form in text for form in (secret, quote(secret, safe="")))]
    for folder in (workspace, team.folder):
        for path in folder.rglob("*"):
            if path.is_file() and any(form.encode() in path.read_bytes() for form in (secret, quote(secret, safe=""))):
                found.append(str(path))
    return found


@pytest.mark.parametrize("place", ["environment", "address"])
def test_no_secret_is_written_or_said(
    place: str, team: Team, workspace: Path, client: MlflowClient, command: click.Command
) -> None:
    """Published, refused, and with nobody there."""
    forget(client)
    for secret, server, status in (
        (PASSWORD, team.address, 0),
        ("w/r@ng:" + PASSWORD, team.address, 1),
        (PASSWORD, f"http://127.0.0.1:{free_port()}", 1),
    ):
        if place == "environment":
            outcome = record(command, workspace, server, USER, secret)
        else:
            outcome = record(command, workspace, server.replace("://", f"://{USER}:{quote(secret, safe='')}@"))
        assert outcome.status == status and outcome.err.count("\n") == status
        assert leaks(secret, outcome, workspace, team, client) == []


@pytest.mark.parametrize("processes", [2])
def test_machines_that_publish_at_once_leave_one_run_an_arm(
    processes: int, team: Team, two_arms: Path, warm: str, tmp_path: Path, client: MlflowClient
) -> None:
    """Each in a workspace of its own, so that no lock of ours parts them."""
    forget(client)
    before = len(models_of(client))
    workspaces = [shutil.copytree(two_arms, tmp_path / str(index)) for index in range(processes)]
    environ = {**os.environ, "PATH": warm, "MLFLOW_TRACKING_URI": team.address}
    outcomes = record_at_once(workspaces, environ)
    assert [(outcome.err, outcome.status) for outcome in outcomes] == [("", 0)] * processes
    assert sorted((str(run.info.run_name), run.info.status) for run in runs_of(client)) == [
        (arm, "FINISHED") for arm in sorted(ARMS)
    ]
    run_ids = {run.info.run_id for run in runs_of(client)}
    assert {model.source_run_id for model in models_of(client)[before:]} == run_ids
    assert len(models_of(client)) == before + len(ARMS)
    champion = client.get_model_version_by_alias(NAME, CHAMPION)
    assert champion.run_id in run_ids
