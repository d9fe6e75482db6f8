"""The part `processes`: one arm in two processes of one thread, beside one process of one thread and of two.

Each contestant is a process of its own, which starts its second itself; they take turns of a few steps.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch.distributed import all_reduce, init_process_group

from benchmarks.page import columns, paragraph, row
from benchmarks.stage import SHAPE, TURN, Case, answers_in_turn, environment, our_training, start_module
from benchmarks.timing import Conditions, machine
from unrolled.training.processes import Processes

CASE = Case(tied=True, dropout=0.2)


class Contestant(NamedTuple):
    processes: int
    threads: int  # of each


CONTESTANTS = Contestant(1, 1), Contestant(2, 1), Contestant(1, 2)


def processes_section(conditions: Conditions) -> Iterator[str]:
    load = os.getloadavg()[0]
    yield paragraph(
        f"{machine()}; {os.cpu_count()} cores, {load:.1f} processes at work on them before this began; wall time,",
        f"medians of {conditions.few} alternating turns of {TURN} steps. The last line of the part `stage`: an LSTM of",
        f"{SHAPE.layers} x {SHAPE.hidden} over {SHAPE.words:,} words, tied, with dropout, {SHAPE.columns} columns. CPU",
        "ms: of all processes and their threads, of those too that wait for a second one.",
    )
    yield from columns("processes", "threads of each", "tokens/s", "against one of one", "CPU ms a step", text=0)
    taken = turns(conditions)
    one = statistics.median(wall for wall, _ in taken[CONTESTANTS[0]])
    for who in CONTESTANTS:
        wall, cpu = (statistics.median(each) for each in zip(*taken[who], strict=True))
        rate = SHAPE.steps * SHAPE.columns / wall
        yield row(who.processes, who.threads, f"{rate:,.0f}", f"{one / wall:.2f}", f"{cpu * 1e3:.0f}")


def turns(conditions: Conditions) -> dict[Contestant, list[list[float]]]:
    """Wall and CPU seconds of a step in each turn; the first, a warm-up, is not among them."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as place:
        running = {who: stack.enter_context(start(who, Path(place), 0)) for who in CONTESTANTS}
        others = [stack.enter_context(start(who, Path(place), 1)) for who in CONTESTANTS if who.processes > 1]
        answers = answers_in_turn(running, conditions.few)
        for each in others:
            each.kill()
    return answers


def start(who: Contestant, place: Path, rank: int) -> subprocess.Popen[str]:
    return start_module("benchmarks.processes", *who, rank, place, environ=environment())


def answer_turns(processes: int, rank: int, place: Path) -> None:
    """For each line that comes in, make a turn and print what a step takes; the second makes as many as the first."""
    shared = None
    if processes > 1:
        init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=processes)
        shared = Processes(rank, processes)
    with tempfile.TemporaryDirectory() as own:
        training = our_training(CASE, Path(own), shared)
        for _ in sys.stdin if rank == 0 else iter(int, 1):
            begun, before = time.perf_counter(), time.process_time()
            for _ in islice(training, TURN):
                pass
            cpu = torch.tensor(time.process_time() - before, dtype=torch.float64)
            if shared:
                all_reduce(cpu)
            if rank == 0:
                print((time.perf_counter() - begun) / TURN, float(cpu) / TURN, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    answer_turns(int(sys.argv[1]), int(sys.argv[3]), Path(sys.argv[4]))
