"""What breaks beside the arms: the scheduler, the remote, a worker's disk."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import distributed
import pytest

from over_workers import ARMS, CLIPPED, made, workers
from project import Project
from unrolled.cluster.start import WORKER

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Dask's processes end when they will


@contextmanager
def started(*words: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A module of Python as a process of its own."""
    environ = os.environ | environment
    with subprocess.Popen([sys.executable, "-m", *words], env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def scheduler(port: int) -> Iterator["subprocess.Popen[str]"]:
    words = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    with started(*words) as process:
        assert process.stderr is not None
        assert any("Scheduler at:" in line for line in process.stderr)
        yield process


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def worker(address: str, place: Path) -> Iterator[None]:
    """One that joins the scheduler, its clone in ``place``."""
    place.mkdir(exist_ok=True)
    words = WORKER.removeprefix("-m ").format(address=address, threads=1).split()
    with started(*words, "--local-directory", str(place), TMPDIR=str(place)):
        yield


@contextmanager
def head(project: Project, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """`make repro` under way, and all that it says on one stream."""
    environ, out = project.environ(**environment), subprocess.PIPE
    words = ["scripts/repro.sh", "2"]
    with distributed.Client(environment["CLUSTER"], set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
    with subprocess.Popen(words, cwd=project.place, env=environ, stdout=out, stderr=subprocess.STDOUT, text=True) as it:
        yield it


def until(process: "subprocess.Popen[str]", pattern: str) -> str:
    """What it says up to a line that begins with ``pattern``."""
    said = ""
    for line in process.stdout or ():
        said += line
        if re.match(pattern, line):
            return said
    raise AssertionError(said)


def test_a_scheduler_that_is_killed_and_started_again(project: Project, tmp_path: Path) -> None:
    project.edit(train__epochs=40, arch={"lstm": {"cell": "lstm"}}, clipping=CLIPPED)
    (tmp_path / "checkpoints").mkdir()
    port = free_port()
    address, shared = f"tcp://127.0.0.1:{port}", {"UNROLLED_CHECKPOINTS": str(tmp_path / "checkpoints")}
    first = worker(address, tmp_path / "first")
    with scheduler(port) as process, first, head(project, CLUSTER=address, **shared) as running_head:
        until(running_head, r"\S+ \| \S+ \| \S+: epoch 3:")
        process.send_signal(signal.SIGKILL)
        rest, _ = running_head.communicate(timeout=120)
    assert running_head.returncode == 1 and "Traceback" not in rest
    assert rest.splitlines()[-1] == (
        "error: 1 of 1 arms failed, the others are fetched: lstm-clipped-1: the scheduler has gone, and its workers "
        "with it; start both again; the same command sends these again"
    )
    with scheduler(port), worker(address, tmp_path / "second"):
        said = project.must("scripts/repro.sh", "2", CLUSTER=address, **shared)
    assert re.search(r"training goes on after step [\d,]+, from .*/checkpoints/lstm-clipped-1-", said), said
    assert made(said) == {"lstm-clipped-1"}


def test_a_remote_that_fails_for_a_while(project: Project, tmp_path: Path) -> None:
    project.edit(clipping=CLIPPED, arch={"rnn": {"cell": "rnn"}})
    remote, away = tmp_path / "remote", tmp_path / "away"
    with workers(1, tmp_path / "workers") as address, head(project, CLUSTER=address) as running_head:
        until(running_head, r"\S+ \| \S+ \| Running stage 'train@")
        remote.rename(away)
        remote.touch()  # nothing can be written below a file
        until(running_head, r"\S+ \| \S+ \| the remote fails, tried again in 3 s")
        remote.unlink()
        away.rename(remote)
        rest, _ = running_head.communicate(timeout=300)
    assert running_head.returncode == 0 and "Traceback" not in rest, rest
    assert made(rest) == {"rnn-clipped-1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk takes root to mount")
def test_a_worker_whose_disk_is_full(project: Project, tmp_path: Path) -> None:
    project.edit(clipping=CLIPPED)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", small], check=True)
    try:
        with workers(1, tmp_path / "workers") as address, worker(address, small):
            with distributed.Client(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            done = project.run("scripts/repro.sh", "2", CLUSTER=address)
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert made(done.stderr) == set(ARMS)
    assert re.search(r"^\S+: .* failed on \S+: .*No space left on device.*; sent again$", done.stderr, re.M), (
        done.stderr
    )
