"""The experiments of DVC's queue over a cluster: it makes their arms, then DVC runs its queue and finds them cached.

Each is unpacked into a clone of its own, as DVC does when it runs one, that shares the cache of the repository:

    .dvc/tmp/exps/cluster-XXXX/<number>/      gone when the arms are made
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.queue.tasks import run_exp

from unrolled.cluster.arms import CHAIN, Remote, Workspace, locked_repo, made_before
from unrolled.cluster.client import check, made
from unrolled.cluster.workers import say
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

PATIENCE = 60.0  # seconds that DVC's workers have to end, once there is nothing to do
ARGUMENTS = Path(".dvc", "tmp", "repro.dat")  # those of `dvc exp run`, which DVC stores with an experiment


def distribute_queue(address: str) -> None:
    """Run what `dvc exp run --queue` has queued, in the folder of a pipeline, its arms made by workers at ``address``.

    UserError, in one line, where there is no remote, scheduler or worker; and naming the experiments that failed, once
    the others are done. Those stay in the queue.
    """
    with locked_repo(Path()) as repo:
        entries = list(repo.experiments.celery_queue.iter_queued())
    if not entries:
        raise UserError("no experiment is queued; queue some with: dvc exp run --queue -S train.learning_rate=5.0,10.0")
    check(address, any_worker=False)
    place = repository(Path()) / ".dvc" / "tmp" / "exps"
    place.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=place, prefix="cluster-") as folder:
        workspaces = []
        for number, entry in enumerate(entries):
            try:
                workspaces.append(_unpacked(entry, Path(folder, str(number))))
            except UserError as error:
                failed[_name(entry)] = str(error)
                say(f"error: {error}")
        for workspace, why in made(address, workspaces, any_worker=False):
            failed.setdefault(workspace.experiment, why)
    with _set_aside([entry for entry in entries if _name(entry) in failed]):
        if len(failed) < len(entries):
            _run(len(entries) - len(failed))
    if failed:
        raise UserError(
            f"{len(failed)} of {len(entries)} experiments failed and are still queued, the others are done: "
            f"{'; '.join(failed.values())}; the same command sends these again"
        )


def _name(entry: QueueEntry) -> str:
    return entry.name or entry.stash_rev[:7]


def _unpacked(entry: QueueEntry, place: Path) -> Workspace:
    """The experiment in a clone at ``place``, with all made that its arms stand on; UserError with its name."""
    name, root = _name(entry), repository(Path())
    here = os.path.relpath(Path.cwd(), root)
    _must(name, root, "git", "clone", "-q", "--shared", "--no-checkout", str(root), str(place))
    _must(name, place, "git", "checkout", "-q", "--detach", entry.stash_rev)
    (place / ARGUMENTS).unlink(missing_ok=True)
    with Repo(str(root)) as repo, Repo(str(place)) as copy, copy.config.edit("local") as settings:
        remote = Remote.default(repo).name
        settings["core"] = {"remote": remote}
        settings["remote"] = {remote: dict(repo.config["remote"][remote])}
        settings["cache"] = {"dir": repo.cache.local_cache_dir}
    folder = place / here
    try:
        with locked_repo(folder) as repo:
            arms = tuple(stage.name.partition("@")[2] for stage in repo.stage.collect(CHAIN[0]))
            before = made_before(repo, arms)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    _must(name, folder, sys.executable, "-m", "dvc", "repro", "--pull", *before)
    return Workspace(folder, arms, name)


def _must(name: str, folder: Path, *words: str) -> None:
    """Run it, its lines under the experiment's name; UserError with what it said that was an error."""
    environ = os.environ | {"DVC_ROOT": str(repository(Path())), "DVC_EXP_NAME": name}
    errors = []
    with subprocess.Popen(
        words, cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in map(str.rstrip, process.stdout):
            say(f"{name} | {line}")
            if line.lower().startswith(("error: ", "fatal: ")):
                errors.append(line)
    if process.returncode:
        raise UserError(f"{name}: {errors[0][7:] if errors else f'{words[0]} ended with status {process.returncode}'}")


def _run(number: int) -> None:
    """Have DVC run its queue to the end; UserError where one fails, as DVC then has the reason."""
    say(f"{number} experiments have their arms; dvc exp run --run-all compares and records them")
    jobs = min(number, os.cpu_count() or 1)
    environ = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run([sys.executable, "-m", "dvc", "exp", "run", "--run-all", "--jobs", str(jobs)], env=environ)
    if done.returncode:
        raise UserError("dvc exp run --run-all failed; dvc queue status tells which, and dvc queue logs NAME why")


@contextmanager
def _set_aside(entries: Sequence[QueueEntry]) -> Iterator[None]:
    """Without ``entries`` in DVC's queue, which runs all that is in it; they are put back afterwards.

    DVC's stash of failed experiments keeps them meanwhile.
    """
    revisions = {entry.stash_rev for entry in entries}
    with locked_repo(Path()) as repo:
        queue = repo.experiments.celery_queue
        tasks = [each.msg.decode() for each in queue._iter_queued() if each.entry.stash_rev in revisions]
        for entry in entries:
            queue.stash_failed(entry)
        if entries:
            queue.remove(revisions)
    try:
        yield
    finally:
        _put_back(entries, tasks)


def _put_back(entries: Sequence[QueueEntry], tasks: Sequence[Any]) -> None:
    if not entries:
        return
    try:
        with locked_repo(Path()) as repo:
            queue = repo.experiments.celery_queue
            _wait_for_end(queue)
            for entry in entries:
                told = queue.stash.format_message(entry.head_rev, entry.baseline_rev, entry.name, entry.branch)
                repo.scm.set_ref(queue.ref, entry.stash_rev, message=f"commit: {told}")
            for words, options, _ in tasks:
                queue.celery.signature(run_exp.s(*words, **options)).delay()
            failed = queue.failed_stash.stash_revs
            queue.failed_stash.remove_revs([failed[entry.stash_rev] for entry in entries if entry.stash_rev in failed])
    except DvcException as error:
        raise UserError(f"DVC: {error}") from error


def _wait_for_end(queue: Any) -> None:
    """Of DVC's own workers, which look for more in the queue for a while, and would run what is put back."""
    queue.shutdown()
    end = time.monotonic() + PATIENCE
    while _at_work(Path(queue.wdir)) and time.monotonic() < end:
        time.sleep(0.2)


def _at_work(folder: Path) -> bool:
    return any(json.loads(path.read_text())["returncode"] is None for path in folder.glob("dvc-exp-worker-*.json"))
