"""What the head of a cluster does: it sends the arms that are out of date, says how far they are, and fetches them.

Dask says who makes what, and sends an arm again whose worker died. Results travel by DVC alone: a worker pushes to the
run cache of the remote, and in the end `dvc repro` finds each stage cached here.
"""

import json
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

import distributed

from unrolled.cluster import worker
from unrolled.cluster.arms import Remote, chain, locked_repo, made_before, missing
from unrolled.cluster.code import bundled
from unrolled.cluster.workers import Workers, say
from unrolled.ground.atomic import whole_folder, whole_text
from unrolled.ground.resolved import read_arm
from unrolled.ground.start import Start
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

CONNECT, LOOK, ALONE = 10.0, 5.0, 60.0  # seconds: to connect; between two looks at the workers; that arms wait for one
RETRIES = 2  # of an arm that failed; beside those that Dask allows for workers that died
HANDED_ON = ("UNROLLED_DEVICE", "UNROLLED_COMPILED", "UNROLLED_DEBUG", "NO_COLOR")  # of the environment, to the stages
ADDRESS = re.compile(r"(tcp|tls|wss?)://[^\s/:]+:\d+|(tcp|tls|wss?)://\[[\da-fA-F:]+\]:\d+")
CHECKPOINTS = "UNROLLED_CHECKPOINTS"


def distribute(address: str, arms: Sequence[str], any_worker: bool) -> None:
    """Have those of ``arms`` made that are out of date by the workers of the scheduler at ``address``.

    In the folder of a pipeline, what comes before the arms being made. ``any_worker``: whatever its versions and
    processor. UserError, in one line, where there is no remote, scheduler or worker, and naming the arms that failed.
    """
    root = repository(Path())
    with locked_repo(Path()) as repo:
        remote, before = Remote.default(repo), made_before(repo, arms)
    stale = missing(arms, Path())
    say(f"{len(arms) - len(stale)} of {len(arms)} arms are up to date or in the run cache")
    if not stale:
        return
    shared = _shared_checkpoints(stale)
    _dvc("push", "-q", *before)
    with connected(address) as client:
        workers = Workers(client, root, bundled(root), remote, any_worker)
        job = {
            "commit": workers.code.commit,
            "pipeline": os.path.relpath(Path.cwd(), root),
            "before": before,
            "checkpoints": shared,
            "environ": {name: os.environ[name] for name in HANDED_ON if name in os.environ},
        }
        failed = _follow(workers, [job | {"arm": arm, "stages": chain(arm)} for arm in stale])
    lost = [arm for arm in missing(arms, Path()) if arm not in failed]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(stale)} arms failed, the others are fetched: {'; '.join(failed.values())}; "
            "the same command sends these again"
        )
    if lost:
        raise UserError(
            f"{', '.join(lost)}: made, but not found in the remote {remote.url}: somebody edited what they depend on "
            "meanwhile, or git ignores a part of it; the same command sends what is out of date now"
        )


def check(address: str, any_worker: bool) -> None:
    """UserError where nothing could be sent: for before the stages that all arms stand on, which may take long."""
    with locked_repo(Path()) as repo:
        remote = Remote.default(repo)
    with connected(address) as client:
        Workers(client, repository(Path()), None, remote, any_worker).admit()


@contextmanager
def connected(address: str) -> Iterator[distributed.Client]:
    """A client of the scheduler at ``address``; UserError where there is none."""
    if not ADDRESS.fullmatch(address):
        raise UserError(f"CLUSTER={address} is no address of a Dask scheduler; it looks like tcp://host:8786")
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
    """Send the jobs and wait for all of them; the arms that failed, and why."""
    workers.admit()
    client, run = workers.client, f"{os.getpid()}-{time.time_ns():x}"
    say(f"{len(jobs)} arms go to {len(workers.differences)} workers; Dask's dashboard: {client.dashboard_link}")
    needs = {workers.resource: 1} | ({"GPU": 1} if os.environ.get("UNROLLED_DEVICE", "cpu") != "cpu" else {})
    futures = {
        job["arm"]: client.submit(
            worker.make, job, key=f"{job['arm']}-{run}", resources=needs, retries=RETRIES, pure=False
        )
        for job in jobs
    }
    failed: dict[str, str] = {}
    for arm, future in _ended(workers, dict(futures)):
        if future.status == "finished":
            _take_timings(arm, future.result(), workers.differences)
            say(f"{arm}: made by {future.result()['host']}, and pushed")
        else:
            failed[arm] = _why(arm, future)
            say(failed[arm])
    return failed


def _ended(workers: Workers, futures: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each arm as it ends, while new workers are given the code; UserError where there is no worker for a minute."""
    looked = alone_since = time.monotonic()
    while futures:
        for arm in [arm for arm, future in futures.items() if future.done()]:
            yield arm, futures.pop(arm)
        now = time.monotonic()
        if futures and now - looked > LOOK:
            looked = now
            try:
                workers.admit()
                alone_since = now
            except UserError as error:
                if now - alone_since > ALONE:
                    raise UserError(f"{len(futures)} arms wait, and {error}; what was pushed stands") from error
            except OSError:  # the scheduler does not answer; the futures will know if it is gone
                pass
        time.sleep(0.2)


def _why(arm: str, future: Any) -> str:
    error = future.exception() if future.status == "error" else None
    if error is None:
        return f"{arm}: the scheduler has gone"
    if isinstance(error, distributed.KilledWorker):
        return f"{arm}: every worker that had it died, the last {error.last_worker.address}: is there enough memory?"
    return str(error) if str(error).startswith(f"{arm}: ") else f"{arm}: {type(error).__name__}: {error}"


def _take_timings(arm: str, made: Mapping[str, str], differences: Mapping[str, str]) -> None:
    """What a worker measured, beside the timings of this machine; what it differs in goes into the tag `device`."""
    if not made["timings"]:
        return
    timings = json.loads(made["timings"])
    if differs := differences.get(made["worker"]):
        timings["device"] += f" of {made['host']}, another machine: {differs}"
    whole_text(Path("timings", f"{arm}.json"), json.dumps(timings, indent=2) + "\n")


def _shared_checkpoints(arms: Iterable[str]) -> str:
    """The folder of UNROLLED_CHECKPOINTS, given the runs that ``arms`` start from; empty where none is named."""
    folder = os.environ.get(CHECKPOINTS, "")
    if folder and not (Path(folder).is_absolute() and Path(folder).is_dir()):
        raise UserError(f"{CHECKPOINTS}={folder} is no folder; name one by its whole path that all workers reach")
    for arm in arms:
        stated = read_arm(arm)["train"].get("start_from")
        if stated and not folder:
            raise UserError(f"{arm} starts from another run: set {CHECKPOINTS} to a folder that all workers reach")
        if stated and not (to := Path(folder, Start.of(stated).folder.name)).exists():
            with whole_folder(to) as made:
                shutil.copytree(Start.of(stated).folder, made, dirs_exist_ok=True)
    return folder


def _dvc(*words: str) -> None:
    """Run DVC here, three times at most, as a remote may not answer for a while."""
    for pause in (3.0, 6.0, None):
        done = subprocess.run([sys.executable, "-m", "dvc", *words], capture_output=True, text=True)
        if done.returncode == 0:
            return
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        why = errors[-1].removeprefix("ERROR: ") if errors else f"status {done.returncode}"
        if pause is not None:
            say(f"dvc {words[0]} failed ({why}); tried again in {pause:.0f} s")
            time.sleep(pause)
    raise UserError(f"dvc {words[0]} failed three times: {why}; the same command tries again")
