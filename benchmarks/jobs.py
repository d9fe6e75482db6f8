"""The part `jobs`: the whole pipeline in fresh clones, one arm at a time and two side by side."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, machine

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(".dvc/plots/offline.html")  # built at set-up, not committed
TARGET = 1.25  # two cores, two arms at a time
JOBS = 1, 2


def jobs_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        f"{machine()}; {os.cpu_count()} cores, wall time of one run each. `scripts/repro.sh` in a fresh clone of what",
        "is committed, without a cache, so that everything is trained, evaluated, compared and recorded; set-up not",
        "counted.",
    )
    yield from columns("JOBS", "seconds", "JOBS=1 / this", "target", "met")
    seconds = {jobs: run_of_a_clone(jobs) for jobs in JOBS}
    yield row(1, f"{seconds[1]:.0f}", "", "", "")
    yield row(2, f"{seconds[2]:.0f}", against(seconds[1] / seconds[2], TARGET))


def run_of_a_clone(jobs: int) -> float:
    """Seconds of scripts/repro.sh in a new clone, which is removed afterwards."""
    if not (ROOT / TEMPLATE).exists():
        raise click.ClickException(f"{TEMPLATE} does not exist; `make ready` builds it")
    with tempfile.TemporaryDirectory() as temporary:
        clone, log = Path(temporary) / "clone", Path(temporary) / "log"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        shutil.copy(ROOT / TEMPLATE, clone / TEMPLATE)
        start = time.perf_counter()
        with log.open("wb") as output:
            command = ["scripts/repro.sh", str(jobs)]
            done = subprocess.run(command, cwd=clone, env=environment(), stdout=output, stderr=output)
        taken = time.perf_counter() - start
        if done.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            reason = next((line for line in lines if "error: " in line.lower()), f"exit status {done.returncode}")
            raise click.ClickException(f"scripts/repro.sh {jobs} in a fresh clone failed: {reason}")
    return taken


def environment() -> dict[str, str]:
    """As `make repro` leaves it, with nothing of this checkout in it."""
    foreign = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DVC_ROOT", "MLFLOW_TRACKING_URI"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
