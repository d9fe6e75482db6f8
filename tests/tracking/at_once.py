"""stages/record.py in several processes at once, forked from one that has imported all they need: it takes seconds.

Called as a script, with the folder that takes their outputs and the working directory of each.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


def record_at_once(workspaces: Sequence[Path], outputs: Path, environ: Mapping[str, str]) -> list[Outcome]:
    """Publish from every workspace in a process of its own; ``outputs``: a folder that is not there yet."""
    outputs.mkdir()
    path = os.pathsep.join(map(str, (PROJECT / "src", PROJECT / "stages")))
    command = [sys.executable, __file__, str(outputs), *map(str, workspaces)]
    subprocess.run(command, env={**environ, "PYTHONPATH": path}, timeout=300, check=True)
    files = [[outputs / f"{index}.{kind}" for kind in ("status", "out", "err")] for index in range(len(workspaces))]
    return [Outcome(int(status.read_text()), out.read_text(), err.read_text()) for status, out, err in files]


def record_in_child(workspace: str, output: Path) -> None:
    from record import main

    for descriptor, kind in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(output.with_suffix(kind), os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(workspace)
    main([])


if __name__ == "__main__":
    from unrolled.tracking.environment import set_mlflow_defaults

    set_mlflow_defaults()
    import unrolled.tracking.publish  # noqa: F401

    outputs = Path(sys.argv[1])
    fork = multiprocessing.get_context("fork")
    children = [
        fork.Process(target=record_in_child, args=(workspace, outputs / str(index)))
        for index, workspace in enumerate(sys.argv[2:])
    ]
    for child in children:
        child.start()
    for index, child in enumerate(children):
        child.join()
        (outputs / f"{index}.status").write_text(str(child.exitcode))
