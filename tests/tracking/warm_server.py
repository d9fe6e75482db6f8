"""`mlflow server`, with its options, in this process from beginning to end, so that a warm start warms all of it.

MLflow's command starts the server proper in an interpreter of its own; here it becomes it.
"""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence

import mlflow.server
from mlflow.cli import cli


def become(command: Sequence[str], extra_env: Mapping[str, str], **_: object) -> None:
    """In place of MLflow's own way to run ``command``: an interpreter, -m, a module and what it is told."""
    os.environ.update(extra_env)
    sys.argv = list(command[2:])
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    mlflow.server._exec_cmd = become
    cli(["server", *sys.argv[1:]])
