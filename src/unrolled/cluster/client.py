"""What the head of a cluster does: it sends the arms that are out of date, says how far they are, and fetches them.

Dask says who makes what, and sends an arm again whose worker died. Results travel by DVC alone: a worker pushes to the
run cache of the remote, and in the end `dvc repro` finds each stage cached here.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import distributed

from unrolled.cluster import worker
from unrolled.cluster.arms import Remote, Stale, Workspace, bring_run_cache, chain, locked_repo, made_before, missing
from unrolled.cluster.code import bundled
from unrolled.cluster.workers import Workers, handed_on, say
from unrolled.ground.atomic import whole_folder, whole_text
from unrolled.ground.resolved import RESOLVED, read_arm
from unrolled.ground.start import Start
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

CONNECT, LOOK, ALONE = 10.0, 5.0, 60.0  # seconds: to connect; between two looks at the workers; that arms wait for one
RETRIES = 2  # of an arm that failed; beside those that Dask allows for workers that died
ADDRESS = re.compile(r"(tcp|tls|wss?)://[^\s/:]+:\d+|(tcp|tls|wss?)://\[[\da-fA-F:]+\]:\d+")
CHECKPOINTS = "UNROLLED_CHECKPOINTS"


def distribute(address: str, arms: Sequence[str], any_worker: bool) -> None:
    """Have those of ``arms`` made that are out of date by the workers of the scheduler at ``address``.

    In the folder of a pipeline, what comes before the arms being made. ``any_worker``: whatever its versions and
    processor. UserError, in one line, where there is no remote, scheduler or worker, and naming the arms that failed.
    """
    failed = [why for _, why in made(address, [Workspace(Path(), tuple(arms))], any_worker)]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(arms)} arms failed, the others are fetched: {'; '.join(failed)}; "
            "the same command sends these again"
        )


def made(address: str, workspaces: Sequence[Workspace], any_worker: bool) -> list[tuple[Workspace, str]]:
    """Have the arms of all ``workspaces`` made that are out of date, equal ones once; those that failed, and why."""
    with locked_repo(Path()) as repo:
        remote = Remote.default(repo)
        bring_run_cache(repo)
    stale = [each for workspace in workspaces for each in missing(workspace, workspace.arms)]
    number = sum(len(workspace.arms) for workspace in workspaces)
    say(f"{number - len(stale)} of {number} arms are up to date or in the run cache")
    if not stale:
        return []
    shared = _shared_checkpoints(stale)
    concerned = list(dict.fromkeys(each.workspace for each in stale))
    before = {workspace: _pushed_before(workspace) for workspace in concerned}
    with connected(address) as client:
        code = bundled(*(workspace.root for workspace in concerned))
        workers = Workers(client, concerned[0].root, code, remote, any_worker)
        commits = dict(zip(concerned, code.commits, strict=True))
        once = {each.whole: each for each in reversed(stale)}  # the first of each
        environ = handed_on()
        jobs = [_job(each, commits[each.workspace], before[each.workspace], shared, environ) for each in once.values()]
        failed = _follow(workers, jobs[::-1])
    with locked_repo(Path()) as repo:
        bring_run_cache(repo)
    return [*_lost(stale, failed, remote)]


def _lost(stale: Iterable[Stale], failed: Mapping[str, str], remote: Remote) -> Iterator[tuple[Workspace, str]]:
    """Of the arms that were sent those that are not here now, and why."""
    by_workspace: dict[Workspace, list[Stale]] = {}
    for each in stale:
        by_workspace.setdefault(each.workspace, []).append(each)
    for workspace, sent in by_workspace.items():
        lacking = {each.arm for each in missing(workspace, [each.arm for each in sent])}
        for each in sent:
            if each.arm in lacking:
                unknown = (
                    f"{each.name}: made, but not found in the remote {remote.url}: somebody edited what it depends on "
                    "meanwhile, or git ignores a part of it"
                )
                yield workspace, failed.get(each.whole, unknown)


def _job(
    stale: Stale, commit: str, before: Sequence[str], checkpoints: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    """What a worker is told of an arm."""
    return {
        "name": stale.name,
        "arm": stale.arm,
        "experiment": stale.workspace.experiment,
        "training": stale.training,
        "whole": stale.whole,
        "commit": commit,
        "pipeline": os.path.relpath(stale.workspace.folder.resolve(), stale.workspace.root),
        "before": before,
        "stages": chain(stale.arm),
        "checkpoints": checkpoints,
        "environ": environ,
    }


def _pushed_before(workspace: Workspace) -> list[str]:
    """The stages that its arms stand on, once they are in the remote."""
    with locked_repo(workspace.folder) as repo:
        before = made_before(repo, workspace.arms)
    dvc("push", "-q", *before, folder=workspace.folder)
    return before


def check(address: str, any_worker: bool) -> None:
    """UserError where nothing could be sent: for before the stages that all arms stand on, which may take long."""
    with locked_repo(Path()) as repo:
        remote = Remote.default(repo)
        bring_run_cache(repo)
    with connected(address) as client:
        Workers(client, repository(Path()), None, remote, any_worker).admit()


@contextmanager
def connected(address: str) -> Iterator[distributed.Client]:
    """A client of the scheduler at ``address``; UserError where there is none."""
    if not ADDRESS.fullmatch(address):
        raise UserError(f"CLUSTER={address} is no address of a Dask scheduler; it looks like tcp://host:8786")
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # or a lost scheduler is a traceback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions; they are compared by ourselves
        try:
            client = distributed.Client(address, timeout=CONNECT, set_as_default=False)
        except OSError as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"CLUSTER={address}: no Dask scheduler answers there ({why}); "
                "start one with: unrolled cluster --local 2, which prints its address"
            ) from error
    with client:
        yield client


def _follow(workers: Workers, jobs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Send the jobs and wait for all of them; those that failed, by what they are made of, and why."""
    workers.admit()
    client = workers.client
    say(f"{len(jobs)} arms go to {len(workers.differences)} workers; Dask's dashboard: {client.dashboard_link}")
    failed: dict[str, str] = {}
    for job, future in _ended(workers, Tasks(workers, jobs)):
        if future.status == "finished":
            _take_timings(job, future.result(), workers.differences)
            say(f"{job['name']}: made by {future.result()['host']}, and pushed")
        else:
            failed[job["whole"]] = _why(job["name"], future)
            say(failed[job["whole"]])
    return failed


class Tasks:
    """Jobs as tasks of Dask, of those that share a training one after the other: the later find it in the remote."""

    def __init__(self, workers: Workers, jobs: Sequence[Mapping[str, Any]]) -> None:
        self._client, self._run = workers.client, f"{os.getpid()}-{time.time_ns():x}"
        on_gpu = os.environ.get("UNROLLED_DEVICE", "cpu") != "cpu"
        self._needs = {workers.resource: 1} | ({"GPU": 1} if on_gpu else {})
        # Dask sends by name what it finds in a module; a copy goes by value, as a worker's module may be an older one.
        self._make = cloudpickle.loads(cloudpickle.dumps(worker.make))
        self._workers, self._failed, self._only = workers, dict[str, list[str]](), dict[str, list[str]]()
        self._waiting, self._sent, self._trained = list(jobs), dict[str, tuple[Any, Any]](), set[str]()
        self._send()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def ended(self) -> list[tuple[Mapping[str, Any], Any]]:
        """The jobs that have ended since, and their futures."""
        for whole, only in list(self._only.items()):
            if only and whole in self._sent and not set(only) & self._workers.differences.keys():
                job, future = self._sent.pop(whole)  # waits for workers that have gone
                future.cancel()
                self._waiting.insert(0, job)
                self._send()
        done = [self._sent.pop(whole) for whole, (_, future) in list(self._sent.items()) if future.done()]
        found = [(job, future) for job, future in done if not self._to_be_sent_again(job, future)]
        if done:
            self._send()
        return found

    def _to_be_sent_again(self, job: Mapping[str, Any], future: Any) -> bool:
        """Whether it failed, and not often yet: Dask's own retries would stay with a worker whose disk is full."""
        failed = self._failed.setdefault(job["whole"], [])
        if future.status != "error" or len(failed) == RETRIES:
            return False
        if isinstance(error := future.exception(), distributed.KilledWorker):
            return False
        failed += getattr(error, "__notes__", [""])[:1]
        self._waiting.insert(0, job)
        say(f"{_why(job['name'], future)}; sent again")
        return True

    def _send(self) -> None:
        for job in list(self._waiting):
            if job["training"] not in {other["training"] for other, _ in self._sent.values()}:
                self._waiting.remove(job)
                trained = job["training"] in self._trained
                self._trained.add(job["training"])
                failed = self._failed.get(job["whole"], [])
                self._only[job["whole"]] = others = [
                    each for each in self._workers.differences if failed and each not in failed
                ]
                future = self._client.submit(
                    self._make, {**job, "trained": trained}, pure=False, resources=self._needs,
                    key=f"{job['name'].replace(' ', '-')}-{self._run}-{time.monotonic_ns():x}",
                    workers=others or None,
                )  # fmt: skip
                self._sent[job["whole"]] = job, future


def _ended(workers: Workers, tasks: Tasks) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Each job as it ends, while new workers are given the code; UserError where there is no worker for a minute."""
    looked = alone_since = time.monotonic()
    while tasks:
        yield from tasks.ended()
        now = time.monotonic()
        if tasks and now - looked > LOOK:
            looked = now
            try:
                workers.admit()
                alone_since = now
            except UserError as error:
                if now - alone_since > ALONE:
                    raise UserError(f"{len(tasks)} arms wait, and {error}; what was pushed stands") from error
            except OSError:  # the scheduler does not answer; the futures will know if it is gone
                pass
        time.sleep(0.2)


def _why(arm: str, future: Any) -> str:
    error = future.exception() if future.status == "error" else None
    if error is None:
        return f"{arm}: the scheduler has gone, and its workers with it; start both again"
    if isinstance(error, distributed.KilledWorker):
        return f"{arm}: every worker that had it died, the last {error.last_worker.address}: is there enough memory?"
    return str(error) if str(error).startswith(f"{arm}: ") else f"{arm}: {type(error).__name__}: {error}"


def _take_timings(job: Mapping[str, Any], made: Mapping[str, str], differences: Mapping[str, str]) -> None:
    """What a worker measured, beside the timings of this machine; what it differs in goes into the tag `device`.

    Not of an experiment, which DVC runs in a folder of its own.
    """
    if not made["timings"] or job["experiment"]:
        return
    timings = json.loads(made["timings"])
    if differs := differences.get(made["worker"]):
        timings["device"] += f" of {made['host']}, another machine: {differs}"
    whole_text(Path("timings", f"{job['arm']}.json"), json.dumps(timings, indent=2) + "\n")


def _shared_checkpoints(stale: Iterable[Stale]) -> str:
    """The folder of UNROLLED_CHECKPOINTS, given the runs that arms start from; empty where none is named."""
    folder = os.environ.get(CHECKPOINTS, "")
    if folder and not (Path(folder).is_absolute() and Path(folder).is_dir()):
        raise UserError(f"{CHECKPOINTS}={folder} is no folder; name one by its whole path that all workers reach")
    for each in stale:
        stated = read_arm(each.arm, each.workspace.folder / RESOLVED)["train"].get("start_from")
        if stated and not folder:
            raise UserError(f"{each.name} starts from a run: set {CHECKPOINTS} to a folder that all workers reach")
        if stated and not (to := Path(folder, Start.of(stated).folder.name)).exists():
            with whole_folder(to) as made:
                shutil.copytree(Start.of(stated).folder, made, dirs_exist_ok=True)
    return folder


def dvc(*words: str, folder: Path = Path()) -> None:
    """Run DVC here, three times at most, as a remote may not answer for a while."""
    for pause in (3.0, 6.0, None):
        done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            return
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        why = errors[-1].removeprefix("ERROR: ") if errors else f"status {done.returncode}"
        if pause is not None:
            say(f"dvc {words[0]} failed ({why}); tried again in {pause:.0f} s")
            time.sleep(pause)
    raise UserError(f"dvc {words[0]} failed three times: {why}; the same command tries again")
