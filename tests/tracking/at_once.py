"""stages/record.py in several processes at once."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


def record_at_once(workspaces: Sequence[Path], environ: Mapping[str, str]) -> list[Outcome]:
    """Publish from every workspace in a process of its own, each as soon as ``environ``'s PATH lets it start."""
    command = ["python", PROJECT / "stages" / "record.py"]
    pipe, variables = subprocess.PIPE, {**environ, "PYTHONPATH": str(PROJECT / "src")}
    processes = [
        subprocess.Popen(command, cwd=workspace, env=variables, stdout=pipe, stderr=pipe, text=True)
        for workspace in workspaces
    ]
    said = [process.communicate(timeout=300) for process in processes]
    return [Outcome(process.returncode, *each) for process, each in zip(processes, said, strict=True)]
