"""Starting and ending the processes that train one arm together.

    UNROLLED_TRAIN_PROCESSES=2 dvc repro                         the stage starts the others itself, on this machine
    torchrun --nproc-per-node 2 stages/train.py lstm-clipped     torchrun starts all of them, on any number of machines

The first of them is the training as ever: it reads the checkpoint, tells its progress and writes. The others follow it:
they get its state, take every step with it, and write nothing and say nothing.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import (  # type: ignore[attr-defined]
    PrefixStore,
    Store,
    TCPStore,
    destroy_process_group,
    init_process_group,
    is_initialized,
)
from torch.distributed.rendezvous import rendezvous

from unrolled.ground.corpus import Corpus
from unrolled.shell.errors import UserError
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.processes import Lost, Processes
from unrolled.training.state import set_state, state_of
from unrolled.training.training import Training

WANTED = "UNROLLED_TRAIN_PROCESSES"
OF_TORCHRUN = "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
HOST = "127.0.0.1"
JOINING = timedelta(minutes=5)  # for the others to start
WAITING = timedelta(days=7)  # for the first to score and to write; who has ended is noticed at once


def follow(training: Training, history: History, arm: Mapping[str, Any], corpus: Corpus) -> None:
    """In a process other than the first, which torchrun or `shared_out` started: train with it and end the program.

    In any other, nothing. ``arm``: its resolved settings.
    """
    if (rank := _number("RANK")) == 0 or (size := _number("WORLD_SIZE")) == 1:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first says what becomes of a Ctrl-C, and then there is
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing to clean up here
    _check(training, size, arm, corpus)
    try:
        _join(training, history, Processes(rank, size), next(rendezvous("env://", timeout=JOINING))[0], corpus)
        for _ in fit(training, corpus.train, corpus.valid):
            pass
    except Lost:
        raise SystemExit(1) from None
    finally:
        _leave([])
    raise SystemExit(0)


@contextmanager
def shared_out(training: Training, history: History, arm: Mapping[str, Any], corpus: Corpus) -> Iterator[None]:
    """While the block lasts, the columns of ``training`` are shared out as the environment says; often not at all.

    UserError where it cannot be so; Lost where another process ends before this one.
    """
    by_torchrun, wanted = _number("WORLD_SIZE"), _number(WANTED)
    size = by_torchrun if by_torchrun > 1 else wanted
    if size == 1:
        yield
        return
    _check(training, size, arm, corpus)
    others: list[subprocess.Popen[bytes]] = []
    try:
        if by_torchrun > 1:
            store = next(rendezvous("env://", timeout=JOINING))[0]
        else:
            store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False, timeout=JOINING)
            others += _started(size, store.port)
        _await(others, store)
        _join(training, history, Processes(0, size), store, corpus)
        yield
    finally:
        _leave(others)


def _number(name: str) -> int:
    """What the environment says; of the rank 0, else 1, where it says nothing."""
    said = os.environ.get(name) or ("0" if name == "RANK" else "1")
    if not said.isdecimal() or (int(said) == 0 and name != "RANK"):
        raise UserError(f"{name} must be a number of processes, 1 or more, not {said!r}")
    return int(said)


def _check(training: Training, size: int, arm: Mapping[str, Any], corpus: Corpus) -> None:
    """UserError where the arm cannot be trained in so many processes."""
    key = getattr(training.task, "side_by_side", None)
    if key is None:
        raise UserError(f"the task {arm['task']} trains in one process, not in {size}")
    if (columns := arm["train"][key]) < size:
        raise UserError(f"train.{key}: {columns} cannot be shared out among {size} processes; start {columns} at most")
    missing = [name for name in OF_TORCHRUN if not os.environ.get(name)]
    if missing and "WORLD_SIZE" not in missing:
        raise UserError(f"WORLD_SIZE is set without {', '.join(missing)}; start with torchrun, or set {WANTED} instead")
    if training.device.type == "cuda" and "LOCAL_RANK" not in os.environ and size > torch.cuda.device_count():
        raise UserError(f"{WANTED}: {size} processes want a GPU each, and there are {torch.cuda.device_count()}")
    training.task.share(next(training.task.batches(corpus.train)), 0, size)  # type: ignore[attr-defined]


def _started(size: int, port: int) -> list[subprocess.Popen[bytes]]:
    """The others, as this one was started; each with its part of the cores, unless OMP_NUM_THREADS says otherwise."""
    threads = torch.get_num_threads()
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(threads := max(1, threads // size))
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": HOST, "MASTER_PORT": str(port), "OMP_NUM_THREADS": str(threads)}
    return [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the first alone
        )
        for rank in range(1, size)
    ]


def _await(others: list[subprocess.Popen[bytes]], store: Store) -> None:
    """Until those that were started here are there, or Lost as soon as one has ended."""
    while others and not store.check([f"there/{rank}" for rank in range(1, len(others) + 1)]):
        if any(each.poll() is not None for each in others):
            raise Lost("a process that was to train this arm too has ended before it began")
        time.sleep(0.02)


def _join(training: Training, history: History, processes: Processes, store: Store, corpus: Corpus) -> None:
    """Meet the others and take over the state of the first; UserError where its corpus is another."""
    store.set(f"there/{processes.rank}", "")
    on_gpu = training.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(training.device)
    init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", store=PrefixStore("training", store),
        rank=processes.rank, world_size=processes.size, timeout=WAITING,
    )  # fmt: skip
    digest, state = processes.told(lambda: (corpus.digest, state_of(training, history)))
    if digest != corpus.digest:
        raise UserError(
            f"data/encoded of process {processes.rank} is not that of the first; make it from the same text"
        )
    if processes.rank:
        set_state(training, history, *state)
    training.processes = processes


def _leave(others: list[subprocess.Popen[bytes]]) -> None:
    """End the connection, and those that were started here: they have nothing to finish."""
    for each in others:
        each.kill()
        each.wait()
    if is_initialized():
        destroy_process_group()
