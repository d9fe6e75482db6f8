"""A text file in blocks that are cut at line ends, and work that is done on many blocks at once.

What is made of a block hangs on nothing but the block, and comes back in the file's order: so results are the same for
any number of processes, which UNROLLED_PROCESSES sets (all cores where it does not).
"""

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeVar

from unrolled.shell.errors import UserError
from unrolled.shell.malloc import keep_freed_memory

T = TypeVar("T")
R = TypeVar("R")

SIZE = 1 << 22  # bytes of a block: work on it takes some 50 MB
WORTH_IT = 1 << 25  # bytes of text from which on processes gain more time than it takes to start them
PROCESSES = "UNROLLED_PROCESSES"

_work: ContextVar[tuple[int, Any]] = ContextVar("work")  # of a process of a pool, and its number there


class Block(NamedTuple):
    """Whole lines of a file, which take ``size`` bytes from ``start`` on."""

    path: Path
    start: int
    size: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


def blocks_of(path: Path) -> Iterator[Block]:
    """Of a file in which each line has its end; none is cut, however long it is."""
    start, whole = 0, path.stat().st_size
    with path.open("rb") as file:
        while start < whole:
            file.seek(start + SIZE - 1)
            file.readline()
            end = min(file.tell(), whole)
            yield Block(path, start, end - start)
            start = end


class Pool:
    """Processes beside this one for work on a large text, all of it: each start costs a third of a second."""

    def __init__(self, executor: Executor | None = None, count: int = 1) -> None:
        self._executor, self._count, self._works = executor, count, 0

    def in_order(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """What ``work`` makes of each task, in their order, a few of them ahead; where there is no process, here.

        Each process has a copy of ``work``. UserError where one is killed.
        """
        if self._executor is None:
            yield from map(work, tasks)
            return
        self._works += 1
        with NamedTemporaryFile(prefix="work-") as file:  # a task that carried it along would be of many megabytes
            pickle.dump(work, file)
            file.flush()
            yield from self._started(self._executor, partial(_do, self._works, file.name), tasks)

    def _started(self, executor: Executor, do: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        waiting = deque[Future[R]]()
        try:
            for task in tasks:
                waiting.append(executor.submit(do, task))
                if len(waiting) > 2 * self._count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                "a process that read the text beside this one was killed, most likely for lack of memory (or a script "
                f"starts this outside of `if __name__ == '__main__'`); {PROCESSES}=1 in the environment does without"
            ) from None


@contextmanager
def pool_for(size: int) -> Iterator[Pool]:
    """``size``: bytes of text in all; for few of them no process is worth its start."""
    count = processes() if size >= WORTH_IT else 1
    if count == 1:
        yield ALONE
        return
    # spawn: a fork would copy locks that threads of this process may hold
    with ProcessPoolExecutor(count, get_context("spawn"), _begin) as executor:
        try:
            yield Pool(executor, count)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


ALONE = Pool()


def processes() -> int:
    """How many work on a large text; UserError where the environment says something that is no number."""
    stated = os.environ.get(PROCESSES, "")
    if not stated:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not stated.isdecimal() or not 1 <= int(stated) <= 1024:
        raise UserError(f"{PROCESSES} must be a number from 1 on, not {stated!r}")
    return int(stated)


def _begin() -> None:
    """In a process: leave Ctrl-C to the one that started it, and end with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()  # a block's is as large as the next one's: a tenth of the time
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process is one of as many as there are cores
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _do(number: int, pickled: str, task: Any) -> Any:
    """The work that has this number is taken up from its file with the first of its tasks."""
    taken_up, work = _work.get((0, None))
    if taken_up != number:
        _work.set((number, work := pickle.loads(Path(pickled).read_bytes())))
    return work(task)
