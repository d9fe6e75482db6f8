"""A text file in blocks that are cut at line ends, and work that is done on many blocks at once.

What is made of a block hangs on nothing but the block, and comes back in the file's order: so results are the same for
any number of processes, which UNROLLED_PROCESSES sets (all cores where it does not).
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from unrolled.shell.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

SIZE = 1 << 23  # bytes of a block: work on it takes some 100 MB
WORTH_IT = 1 << 25  # bytes of text from which on processes gain more time than it takes to start them
PROCESSES = "UNROLLED_PROCESSES"

_work: ContextVar[Callable[[Any], Any]] = ContextVar("work")  # of a process that `in_order` started


class Block(NamedTuple):
    """``lines`` whole lines of a file, which take ``size`` bytes from ``start`` on."""

    path: Path
    start: int
    size: int
    lines: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


def blocks_of(path: Path) -> Iterator[Block]:
    """Of a file in which each line has its end; none is cut, however long it is."""
    start = 0
    with path.open("rb") as file:
        while text := file.read(SIZE):
            text += file.readline() if not text.endswith(b"\n") else b""
            yield Block(path, start, len(text), text.count(b"\n"))
            start += len(text)


def in_order(work: Callable[[T], R], tasks: Iterable[T], size: int) -> Iterator[R]:
    """What ``work`` makes of each task, in their order, a few of them ahead; ``size``: bytes of text in all.

    Of a large text processes beside this one do it, each with a copy of ``work``. UserError where one is killed.
    """
    count = processes() if size >= WORTH_IT else 1
    if count == 1:
        yield from map(work, tasks)
        return
    # spawn: a fork would copy locks that threads of this process may hold
    with ProcessPoolExecutor(count, get_context("spawn"), _begin, (work,)) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(_do, task))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                "a process that read the text beside this one was killed, most likely for lack of memory (or a script "
                f"starts this outside of `if __name__ == '__main__'`); {PROCESSES}=1 in the environment does without"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def processes() -> int:
    """How many work on a large text; UserError where the environment says something that is no number."""
    stated = os.environ.get(PROCESSES, "")
    if not stated:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not stated.isdecimal() or not 1 <= int(stated) <= 1024:
        raise UserError(f"{PROCESSES} must be a number from 1 on, not {stated!r}")
    return int(stated)


def _begin(work: Callable[[Any], Any]) -> None:
    """In a process: take up its work, leave Ctrl-C to the one that started it, and end with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process is one of as many as there are cores
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work.set(work)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _do(task: Any) -> Any:
    return _work.get()(task)
