"""Kills a training, again and again: at each operation on a file, or at random moments; says as JSON what came of it.

    crashes.py WORKSPACE ARM operations STRIDE    dies at every STRIDE-th operation on a file, then goes on undisturbed
    crashes.py WORKSPACE ARM moments KILLS        dies at a random moment, goes on, dies again, until it is done
    crashes.py WORKSPACE ARM room STEP            has STEP bytes more on its disk each time, until it can finish; needs
                                                  the right to mounts of its own, as `unshare --user --mount` does

The training is stages/train.py in a fork of this process, which has all it needs in memory: a start takes no second.
"""

import ctypes
import hashlib
import json
import math
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
import traceback
from functools import cache
from pathlib import Path

import unrolled.shell.progress  # noqa: F401  (before the fork: it is what takes seconds)
from unrolled.training import checkpoint

ROOT = Path(__file__).parents[1]
NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # CLONE_NEWNS and CLONE_NEWUSER of unshare(2)
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def started(arm: str, at: int | None = None) -> int:
    """The process id of a training that kills itself at its ``at``-th operation on a file."""
    if process := os.fork():
        return process
    os.setpgrp()
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if at is not None:
        _die_at(at)
    os._exit(train(arm))


def train(arm: str) -> int:
    """The exit status of the stage."""
    sys.argv = ["train.py", arm]
    try:
        runpy.run_path(str(ROOT / "stages" / "train.py"), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    return 1


def _die_at(at: int) -> None:
    seen, written = 0, tuple(os.path.abspath(folder) for folder in ("runs", "checkpoints", "timings"))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in EVENTS and os.path.abspath(str(arguments[0])).startswith(written):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def ended(process: int) -> str:
    _, status = os.waitpid(process, 0)
    return "killed" if os.WIFSIGNALED(status) else "done" if os.waitstatus_to_exitcode(status) == 0 else "failed"


def digests() -> dict[str, str]:
    """Of every file that a finished training leaves, but for its timings."""
    files = [path for folder in ("runs", "checkpoints") for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def clean() -> None:
    for folder in ("runs", "checkpoints", "timings"):
        shutil.rmtree(folder, ignore_errors=True)


def by_operation(arm: str, stride: int, whole: dict[str, str]) -> dict[str, int]:
    """As many kills as there are operations, each followed by a training that goes on."""
    counts = {"kills": 0, "survived": 0}
    for at in range(1, sys.maxsize, stride):
        clean()
        if ended(started(arm, at)) == "done":
            return counts
        counts["kills"] += 1
        counts["survived"] += ended(started(arm)) == "done" and digests() == whole
    raise AssertionError


def by_moment(arm: str, kills: int, whole: dict[str, str], seconds: float, seed: int = 1) -> dict[str, int]:
    """Kills in a row, at random moments, until the training is done; then another training."""
    random.seed(seed)
    counts = {"kills": 0, "survived": 0, "trainings": 0}
    while counts["kills"] < kills:
        clean()
        in_a_row = 0
        while True:
            process = started(arm)
            time.sleep(random.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            if (how := ended(process)) != "killed":
                break
            in_a_row += 1
        counts["trainings"] += 1
        counts["kills"] += in_a_row
        counts["survived"] += in_a_row * (how == "done" and digests() == whole)
    return counts


def by_room(arm: str, step: int, whole: dict[str, str]) -> dict[str, int]:
    """As many full disks as there are steps to the room that a training needs, each followed by one with room."""
    counts = {"full": 0, "told": 0, "survived": 0}
    log, place = Path("log").absolute(), Path("small").absolute()
    place.mkdir(exist_ok=True)
    read = [Path("params.yaml"), *(path for folder in ("data", "resolved") for path in Path(folder).rglob("*"))]
    needed = sum(math.ceil(path.stat().st_size / 4096) * 4096 for path in read if path.is_file())
    for size in range(needed, sys.maxsize, step):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
        shutil.copytree("data", place / "data")
        shutil.copytree("resolved", place / "resolved")
        shutil.copy("params.yaml", place)
        os.chdir(place)
        os.symlink(log, "log")
        log.write_text("")
        how, said = ended(started(arm)), log.read_text().splitlines()
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        if how != "done":
            counts["full"] += 1
            counts["told"] += (
                "No space left" in said[-1] and "make room" in said[-1] and "Traceback" not in "".join(said)
            )
            counts["survived"] += ended(started(arm)) == "done" and digests() == whole
        os.chdir(place.parent)
        subprocess.run(["umount", place], check=True)
        if how == "done":
            return counts
    raise AssertionError


def see_own_mounts() -> None:
    """What is mounted from here on is there for this process and its children alone, in which it is root."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS | NEW_USER):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(content)


def main(workspace: str, arm: str, how: str, number: str) -> None:
    os.chdir(workspace)
    if how == "room":
        see_own_mounts()  # which a process that has threads already may not, as one has that has trained
    checkpoint._said_in = cache(checkpoint._said_in)
    train(arm)  # in this process, so that its forks find the kernels loaded and the sources read
    clean()
    begun = time.monotonic()
    assert ended(started(arm)) == "done"
    seconds, whole = time.monotonic() - begun, digests()
    if how == "operations":
        found = by_operation(arm, int(number), whole)
    elif how == "room":
        found = by_room(arm, int(number), whole)
    else:
        checkpoint.EVERY, checkpoint.SHARE = 0.0, 1e9  # after each step
        found = by_moment(arm, int(number), whole, seconds)
    print(json.dumps(found | {"seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
