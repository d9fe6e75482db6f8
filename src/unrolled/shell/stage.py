"""What every stage does before its work: errors in one line, and settings that are those of today's params.yaml."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from unrolled.ground.resolved import check_together, digest_of_params, read_resolved
from unrolled.shell.endings import ending
from unrolled.shell.errors import UserError

P = ParamSpec("P")
PARAMS = Path("params.yaml")
# What is true of a stage that was stopped, by the name of its script; and of all others.
STOPPED = {
    "train": "the same command goes on from the last checkpoint of this training, or begins anew where there is none",
    "record": "the same command publishes what is missing",
}
IN_SEVERAL = {"train"}  # stages that several processes, as of torchrun, do together
REPEATED = "the same command begins this stage anew; those before it stand"


def stage(command: Callable[P, None]) -> Callable[P, None]:
    """Refuse to work with settings that were resolved from another params.yaml, and end errors with one line."""

    @wraps(command)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        check_alone()
        check_resolved()
        command(*args, **kwargs)

    return ending(STOPPED.get(Path(sys.argv[0]).stem, REPEATED))(checked)


def check_alone(environ: Mapping[str, str] = os.environ) -> None:
    """UserError where torchrun has started several processes of a stage that one is to do."""
    name = Path(sys.argv[0]).stem
    if environ.get("WORLD_SIZE", "1") != "1" and name not in IN_SEVERAL:
        raise UserError(
            f"{name} runs in one process, and WORLD_SIZE is {environ['WORLD_SIZE']}; start it without torchrun, or "
            "unset WORLD_SIZE"
        )


def check_resolved() -> None:
    """UserError where params.yaml has changed since resolved/ was made; DVC sees to that, a person may not."""
    made_from = read_resolved("params")["digest"]
    check_together()
    if PARAMS.is_file() and _digest() != made_from:
        raise UserError("resolved/ was made from another params.yaml; bring it up to date with: dvc repro resolve")


def _digest() -> str | None:
    try:
        return digest_of_params(PARAMS)
    except Exception:  # whatever a reader makes of a file that is no YAML
        return None
