"""What a worker does: it keeps a clone of its own, makes the stages of an arm in it and pushes them to the remote.

This module goes to the workers by value, so that theirs is never an older one: it imports nothing of ours.

    <the worker's local directory>/unrolled/
      clone/    the code, at the commit that was asked for last; its DVC cache; its checkpoints, where none are shared
      lock      held by the arm that is at work in it
"""

import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import distributed
from filelock import FileLock

ATTEMPTS, PAUSE = 3, 3.0  # at the remote, which may not answer for a while; seconds, doubled after each
# A stage in a group of processes that ends with the worker: a dead worker closes the pipe that `cat` waits at.
TIED = """exec 3<&0 </dev/null
"$@" & stage=$!
{ trap '' TERM; cat <&3; kill -TERM -$$; sleep 10; kill -KILL -$$; } >/dev/null 2>&1 &
exec 3<&-
wait $stage"""
# What DVC tells a person at a keyboard.
ASIDE = ("To track the changes", "To enable auto staging", "Use `dvc push`", "\tgit add", "Updating lock file", "> ")
# What Python prints of an exception: what begins it, what stands between two of a chain, and what it ends with.
IGNORED, TRACEBACK = "Exception ignored ", "Traceback (most recent call last)"
CHAINED = "During handling of the above", "The above exception was"
EXCEPTION = re.compile(r"(?!(?i:error|warning): )[^\W\d][\w.]*(: |:?$)")
ERROR = re.compile(r"(?i:error): |[\w.]*(Error|Exception): ")
# What of a caller's shell must not reach a pipeline in another repository; and what makes bash read ~/.bashrc, in which
# another Python may be put first.
FOREIGN = {"DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
FOREIGN |= {"SSH_CLIENT", "SSH2_CLIENT", "SSH_CONNECTION"}


def _place(worker: Any) -> Path:
    return Path(worker.local_directory).absolute() / "unrolled"


async def receive(commits: Sequence[str], bundle: bytes, remote: Mapping[str, Any], dask_worker: Any = None) -> str:
    """Take the code in, once a commit, and DVC's remote; returns what stands in the way, or an empty text."""
    place = _place(dask_worker)
    try:
        _unpack(place, commits, bundle)
        lines = ["[core]", f"    remote = {remote['name']}", f"['remote \"{remote['name']}\"']"]
        lines += [f"    {key} = {value}" for key, value in {"url": remote["url"], **remote["options"]}.items()]
        (place / "clone" / ".dvc" / "config.local").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except subprocess.CalledProcessError as error:
        return f"git {error.cmd[1]}: {error.stderr.strip().splitlines()[-1:] or error.returncode}"
    except OSError as error:  # no room, no git, no right to write
        return str(error)
    if "://" not in remote["url"] and not Path(remote["url"]).is_dir():
        return f"the remote {remote['url']} is no folder there"
    return ""


def _unpack(place: Path, commits: Sequence[str], bundle: bytes) -> None:
    clone = place / "clone"
    if not (clone / ".git").is_dir():
        clone.mkdir(parents=True, exist_ok=True)
        _git(clone, "init", "-q")
    if any(_git(clone, "cat-file", "-t", commit, check=False).returncode for commit in commits):
        file = place / f"{commits[0]}.bundle"
        file.write_bytes(bundle)
        _git(clone, "fetch", "-q", str(file), "refs/heads/*:refs/unrolled/*")
        file.unlink()
    if not (clone / ".dvc").is_dir():  # the first one; another commit waits for the arm that may be at work
        _git(clone, "checkout", "-q", "-f", "--detach", commits[0])


def _git(clone: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=clone, check=check, capture_output=True, text=True)


async def admit(resource: str, dask_worker: Any = None) -> None:
    """Offer ``resource``, which arms ask for: one of them at a time."""
    if resource not in dask_worker.state.total_resources:
        await dask_worker.set_resources(**{resource: 1})


def reconsider(address: str, dask_scheduler: Any = None) -> None:
    """Let tasks that found no worker have this one, whose resources have just changed; Dask looks at new ones only."""
    moved = dask_scheduler.bulk_schedule_unrunnable_after_adding_worker(dask_scheduler.workers[address])
    dask_scheduler.transitions(moved, f"resources-{time.time()}")


def make(job: Mapping[str, Any]) -> dict[str, str]:
    """Make the arm of ``job``, push it, and return where that was and how long training took.

    RuntimeError, with the line that says why, and a note of whose worker, where a stage or the remote fails.
    """
    worker = distributed.get_worker()
    host = f"{socket.gethostname()}:{worker.port}"
    try:
        return _made(job, worker, host)
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or [f"status {error.returncode}"])[-1]
        failure = RuntimeError(f"{job['name']}: git {error.cmd[1]} failed on {host}: {why}")
    except (OSError, RuntimeError) as error:  # no room, say; a stage that fails
        failure = RuntimeError(str(error) if isinstance(error, RuntimeError) else f"{job['name']}: {error} on {host}")
    failure.add_note(worker.address)
    raise failure


def _made(job: Mapping[str, Any], worker: Any, host: str) -> dict[str, str]:
    place = _place(worker)
    clone = place / "clone"
    with FileLock(place / "lock"):
        _git(clone, "checkout", "-q", "-f", "--detach", job["commit"])
        shutil.rmtree(clone / ".dvc" / "cache" / "runs", ignore_errors=True)  # or each push would repeat what it holds
        if job["checkpoints"]:
            _link(clone / "checkpoints", Path(job["checkpoints"]))
        arm = Arm(worker, clone / job["pipeline"], job, host)
        arm.dvc("pull", "-q", "-f", *job["before"], attempts=ATTEMPTS)
        # By a worker that died or failed, and may have pushed some of it; or an arm of the same training.
        if arm.begun_before() or job["trained"]:
            arm.dvc("fetch", "-q", "--run-cache", *job["before"], attempts=ATTEMPTS)
            for partial in (clone / ".dvc" / "cache" / "runs").glob("*/*/.*"):
                partial.unlink()
        train, *others = job["stages"]
        for stages in ([train], others):  # what took longest is safe first
            arm.dvc("repro", "--pull", "-s", *stages)
            arm.dvc("push", "-q", "--run-cache", *stages, attempts=ATTEMPTS)
        timings = clone / job["pipeline"] / "timings" / f"{job['arm']}.json"
        return {"worker": worker.address, "host": host, "timings": timings.read_text() if timings.is_file() else ""}


def without_tracebacks(lines: Iterable[str]) -> Iterator[str]:
    """The lines, of a traceback only the one that says what went wrong, and none where the exception was ignored.

    What another process says meanwhile stays, unless it is indented.
    """
    within = ignored = False
    for line in lines:
        if line.startswith((IGNORED, TRACEBACK, *CHAINED)):
            within, ignored = True, (within and ignored) or line.startswith(IGNORED)
        elif not within:
            yield line
        elif EXCEPTION.match(line):
            if not ignored:
                yield line
            within = ignored = False
        elif line.strip() and not line[0].isspace():
            yield line


def _link(link: Path, folder: Path) -> None:
    """Let checkpoints stand in a folder that others reach too."""
    if not folder.is_dir():
        raise RuntimeError(f"UNROLLED_CHECKPOINTS={folder} is no folder there")
    if link.is_symlink():
        link.unlink()
    elif link.is_dir():
        shutil.rmtree(link)
    link.symlink_to(folder)


class Arm:
    """An arm under way in a clone."""

    def __init__(self, worker: Any, folder: Path, job: Mapping[str, Any], host: str) -> None:
        self._worker, self._folder, self._name, self._host = worker, folder, job["name"], host
        self.key = worker.get_current_task()
        own = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        threads = {"OMP_NUM_THREADS": str(worker.state.nthreads), "OMP_WAIT_POLICY": "PASSIVE"}
        self._environ = own | threads | dict(job["environ"]) | {"PATH": path}

    def begun_before(self) -> bool:
        """Whether another worker had this arm already; from now on, one had."""
        # A client in a worker would print what all the workers say.
        scheduler, loop, keys = self._worker.scheduler, self._worker.loop, ["unrolled", self.key]
        before = distributed.utils.sync(loop, scheduler.get_metadata, keys=keys, default=False)
        distributed.utils.sync(loop, scheduler.set_metadata, keys=keys, value=True)
        return bool(before)

    def dvc(self, *words: str, attempts: int = 1) -> None:
        """Run DVC, forwarding what it says; RuntimeError with its last line of error where all ``attempts`` fail."""
        for attempt in range(attempts):
            if attempt:
                self._say(f"the remote fails, tried again in {PAUSE * 2 ** (attempt - 1):.0f} s")
                time.sleep(PAUSE * 2 ** (attempt - 1))
            status, errors = self._run(sys.executable, "-m", "dvc", "--wait-for-lock", *words)
            if status == 0:
                return
        why = errors[0] if errors else f"status {status}"
        raise RuntimeError(f"{self._name}: dvc {words[0]} failed on {self._host}: {why}")

    def _run(self, *words: str) -> tuple[int, list[str]]:
        """The status that it ended with, and what it said that was an error."""
        errors = []
        with subprocess.Popen(
            ["bash", "-c", TIED, "stage", *words],
            cwd=self._folder, env=self._environ, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            for line in without_tracebacks(self._lines(process)):
                if ERROR.match(line):
                    errors.append(line)
                if line.strip() and not line.startswith(ASIDE):
                    self._say(line)
        return process.returncode, errors

    def _lines(self, process: "subprocess.Popen[bytes]") -> Iterator[str]:
        """Each as it comes; RuntimeError where nobody waits for this arm any more."""
        assert process.stdout is not None and process.stdin is not None
        rest, said = b"", process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(said, selectors.EVENT_READ)
            while True:
                if not self._wanted():
                    process.stdin.close()
                    raise RuntimeError(f"{self._name}: stopped on {self._host}: nobody waits for it any more")
                if not selector.select(timeout=1.0):
                    continue
                if not (came := os.read(said, 65536)):
                    break
                *lines, rest = (rest + came).replace(b"\r", b"\n").split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def _wanted(self) -> bool:
        """Whether the scheduler still counts on this arm; a client that ends takes its tasks back."""
        task = self._worker.state.tasks.get(self.key)
        return task is not None and task.state == "executing"

    def _say(self, line: str) -> None:
        distributed.print(f"{self._name} | {self._host} | {line.rstrip()}", file=sys.stderr, flush=True)
