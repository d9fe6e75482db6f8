"""What DVC's experiments were run with and what came out, for commands that gather one figure from many of them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

PARAMS, METRICS = "params.yaml", "metrics.json"

Settings = dict[str, str]  # flat, each value as JSON
Metrics = dict[str, dict[str, float]]  # by arm or baseline


def shown_by_dvc(workspace: Path = Path()) -> list[Any]:
    """What ``dvc exp show`` knows of this commit, its experiments and the workspace; UserError where it fails."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().rpartition("ERROR: ")[2]
        raise UserError(f"dvc exp show failed: {' '.join(said.split())}")
    shown: list[Any] = json.loads(done.stdout)
    return shown


def finished(shown: Sequence[Mapping[str, Any]], folder: str) -> Iterator[tuple[Settings, Metrics]]:
    """The settings and metrics of the commit and of each experiment that ended, from the oldest to the newest.

    Not of the workspace, whose params.yaml may say what nobody has run yet. ``folder``: `folder_in_repository`.
    """
    for each in reversed(shown[1:]):
        # DVC shows the newest first.
        experiments = (state for one in reversed(each.get("experiments") or ()) for state in one.get("revs") or ())
        for state in filter(None, (one.get("data") for one in (each, *experiments))):
            if metrics := _content(state, "metrics", f"{folder}{METRICS}"):
                yield settings_of(state, folder), metrics


def settings_of(state: Mapping[str, Any], folder: str) -> Settings:
    """Those of params.yaml in a state that DVC shows; ``folder``: the pipeline's, as ``folder_in_repository``."""
    return {name: json.dumps(value) for name, value in _flat(_content(state, "params", f"{folder}{PARAMS}"))}


def unlike(settings: Settings, beside: Settings) -> str:
    """Settings that are not as those ``beside``, in a line; the name of the file where all are."""
    other = [f"{name}={value}" for name, value in settings.items() if beside.get(name) != value]
    return ", ".join(other) or PARAMS


def folder_in_repository(workspace: Path = Path()) -> str:
    """As DVC spells paths: "pipelines/classification/"; empty in the root."""
    inside = workspace.resolve().relative_to(repository(workspace)).as_posix()
    return "" if inside == "." else f"{inside}/"


def _content(data: Mapping[str, Any], kind: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = ((data.get(kind) or {}).get(path) or {}).get("data") or {}
    return found


def _flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
