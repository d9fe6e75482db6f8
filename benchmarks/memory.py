"""The part `memory`: what training holds at its peak, ours and the plain loop's, each in a process of its own."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.contestants import Shape, our_step, plain_step
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, machine

ROOT = Path(__file__).parents[1]
SHAPES = [Shape(35, 20, 200, 2, 10_000), Shape(35, 20, 200, 2, 33_000), Shape(35, 20, 650, 2, 10_000)]
TARGET = 1.0
STEPS = 10


def memory_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        f"{machine()}; {conditions.threads} thread(s). Peak resident memory of a process that makes {STEPS} training",
        "steps of an LSTM over 35 x 20 tokens; the interpreter and torch are in it on both sides.",
    )
    yield from columns("layers x H, words", "ours MB", "plain MB", "plain / ours", "target", "met")
    for shape in SHAPES:
        ours, plain = (_peak_of_another(who, shape, conditions.threads) for who in ("ours", "plain"))
        size = f"{shape.layers} x {shape.hidden}, {shape.words}"
        yield row(size, f"{ours / 1024:.0f}", f"{plain / 1024:.0f}", against(plain / ours, TARGET))


def _peak_of_another(who: str, shape: Shape, threads: int) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", who, str(threads), *map(str, shape)]
    return int(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def peak_after(step: Callable[[], object]) -> int:
    """Peak resident memory of this process in KB after so many steps."""
    for _ in range(STEPS):
        step()
    status = Path("/proc/self/status")  # where there is none, the peak of the process that started this one counts too
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    contestant = our_step if sys.argv[1] == "ours" else plain_step
    print(peak_after(contestant("lstm", Shape(*map(int, sys.argv[3:])))))
