"""A training that dies, of whatever, at whatever moment, ends in the same bytes once it is started again."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from miniature import environment, lay_out

ROOT = Path(__file__).parents[1]
SMALL: dict[str, Any] = {"embedding": 8, "hidden": 8, "dropout": 0.2, "columns": 4, "window": 8, "learning_rate": 2.0}
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A corpus of some forty types, and networks that it takes a sixth of a second to train on it."""
    lay_out(tmp_path, **SMALL, epochs=2)
    return tmp_path


def crashes(workspace: Path, warm: str, arm: str, how: str, number: int) -> dict[str, float]:
    words = ["python", str(ROOT / "tests" / "crashes.py"), str(workspace), arm, how, str(number)]
    done = subprocess.run(words, env=environment(PATH=warm), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("how", "number"), [("operations", 3), ("moments", 15)])
def test_a_kill_at_any_moment_costs_nothing(workspace: Path, warm: str, how: str, number: int) -> None:
    found = crashes(workspace, warm, "bilstm-clipped-1", how, number)
    assert found["kills"] >= 12
    assert found["survived"] == found["kills"]


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode != 0,
    reason="a small disk needs the right to mount one",
)
def test_a_full_disk_costs_nothing_and_is_told_in_one_line(workspace: Path, warm: str) -> None:
    found = crashes(workspace, warm, "lstm-clipped-1", "room", 8192)
    assert found["full"] >= 5
    assert found["told"] == found["survived"] == found["full"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_request_to_stop_is_met_at_once_with_one_line(
    workspace: Path, warm: str, number: signal.Signals, status: int
) -> None:
    lay_out(workspace, **SMALL, epochs=100_000)
    words = ["python", str(ROOT / "stages" / "train.py"), "rnn-clipped-1"]
    with subprocess.Popen(
        words, cwd=workspace, env=environment(PATH=warm), stderr=subprocess.PIPE, text=True
    ) as training:
        assert training.stderr is not None
        while "epoch 2" not in training.stderr.readline():
            assert training.poll() is None
        training.send_signal(number)
        *_, line = training.stderr.read().splitlines()
    assert training.returncode == status
    assert line.startswith("stopped: the same command goes on from the last checkpoint of this training")
    (kept,) = (workspace / "checkpoints").iterdir()
    assert kept.match("rnn-clipped-1-*.safetensors")
    assert not (workspace / "runs").exists() or not list((workspace / "runs").iterdir())
