"""Fair timing: contestants run in alternation, so that a slow minute of the machine hits all alike."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Timing(NamedTuple):
    """Seconds of one call: the median and the fastest of all rounds."""

    median: float
    fastest: float


@dataclass(frozen=True)
class Conditions:
    """How everything is measured: what the command line chose."""

    rounds: int
    threads: int
    clock: str
    cells: tuple[str, ...]
    folder: Path  # of results.md and its figure

    @property
    def few(self) -> int:
        """Rounds of what takes long."""
        return min(self.rounds, max(self.rounds // 4, 3))

    def sentence(self, rounds: int) -> str:
        """Under which conditions a section was measured."""
        return f"{machine()}; {self.threads} thread(s), {self.clock} time, medians of {rounds} alternating rounds."


def race(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, clock: str = "wall", warm_up: int = 3
) -> dict[str, Timing]:
    """Time each contestant once a round, in an order that turns over every round; warm-up rounds are not counted."""
    now = CLOCKS[clock]
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants.items())
    for turn in range(warm_up + rounds):
        for name, call in order if turn % 2 else reversed(order):
            start = now()
            call()
            if turn >= warm_up:
                seconds[name].append(now() - start)
    return {name: Timing(statistics.median(taken), min(taken)) for name, taken in seconds.items()}


def product_rate(clock: str, size: int = 2048) -> float:
    """FLOP/s of a large float32 product, the best of many: what this machine can do at most."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    best = race({"product": lambda: torch.mm(left, right, out=out)}, rounds=8, clock=clock)["product"].fastest
    return 2 * size**3 / best


def machine() -> str:
    """Processor and the versions that matter: one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu}, {capability}, torch {torch.__version__}, Python {platform.python_version()}"
