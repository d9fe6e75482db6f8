"""The part `size`: from one large file to ids on disk, beside a plain loop; megabytes a CPU second, and peak memory."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tokenizers

from benchmarks.long_tail import EXPONENT, SHIFT, write_long_tail
from benchmarks.page import columns, paragraph, row
from benchmarks.preparing import CUTS, MIN_COUNT, UNITS
from benchmarks.timing import Conditions, machine

MEGABYTES = {10: list(UNITS), 100: list(CUTS), 1000: list(UNITS)[:1]}
LARGE = 1000  # megabytes that are raced once


def size_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        f"{machine()}; CPU time of one process, medians of {conditions.few} alternating rounds, of {LARGE:,} MB one.",
        f"tokenizers {tokenizers.__version__}. Made-up text of `benchmarks/long_tail.py`, words by Zipf-Mandelbrot's",
        f"law (exponent {EXPONENT}, shift {SHIFT}): three quarters of its types occur once. Ours: what the stages",
        "`preprocess` and `vocabulary` call, with UNROLLED_PROCESSES=1, start-up not counted. Plain: a loop over lines",
        f"that counts with a Counter, cuts at {MIN_COUNT}, maps to ids and saves them; of subwords the library's own",
        "training and encode_batch, on one thread. Memory: the most that was resident, libraries included.",
    )
    yield from columns(
        "unit", "MB", "ours MB/s", "plain MB/s", "ours / plain", "ours MB of memory", "plain MB of memory"
    )
    with tempfile.TemporaryDirectory() as temporary:
        for megabytes, units in MEGABYTES.items():
            file = Path(temporary, "text.txt")
            size = write_long_tail(file, megabytes * 10**6) / 1e6
            for unit in units:
                yield _row(unit, file, size, conditions.few)


def _row(unit: str, file: Path, size: float, rounds: int) -> str:
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
    for turn in range(1 if size >= LARGE else rounds):
        for who in ("ours", "plain") if turn % 2 else ("plain", "ours"):
            found[who].append(_alone(who, unit, file))
    (ours, memory), (plain, more) = (np.median(each, axis=0) for each in found.values())
    speeds = f"{size / ours:.1f}", f"{size / plain:.1f}", f"**{plain / ours:.2f}**"
    return row(unit, f"{size:,.0f}", *speeds, f"{memory:.0f}", f"{more:.0f}")


def _alone(who: str, unit: str, file: Path) -> tuple[float, float]:
    """CPU seconds and the peak of memory in MB of a process that does nothing else."""
    quiet = os.environ | {"UNROLLED_PROCESSES": "1", "RAYON_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = [sys.executable, "-m", "benchmarks.preparing", who, unit, str(file), folder]
        answer = subprocess.run(command, env=quiet, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds, memory = json.loads(answer.stdout)
    return seconds, memory
