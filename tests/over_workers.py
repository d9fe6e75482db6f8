"""Workers of a cluster that are processes of their own, and what is asked of a project whose arms they made."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from ruamel.yaml import YAML

from project import Project
from unrolled.cluster.start import scheduler

CLIPPED = {"clipped": {"clip_norm": 0.25}}
ARMS = ["rnn-clipped-1", "lstm-clipped-1"]


@contextmanager
def workers(number: int, place: Path) -> Iterator[str]:
    """A scheduler and its workers of one thread, whose clones lie in ``place``; yields its address."""
    with dask.config.set({"temporary-directory": str(place)}), scheduler(number, 1, None, 0) as address:
        yield address


def whole_lock(project: Project) -> Any:
    """Arms side by side stand in any order."""
    return YAML(typ="safe", pure=True).load(project.place / "dvc.lock")


def outputs(project: Project) -> dict[str, bytes]:
    folders = ("resolved", "data", "runs", "baselines", "evaluation", "probes", "report")
    files = [path for folder in folders for path in (project.place / folder).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(project.place)): path.read_bytes() for path in [*files, project.place / "metrics.json"]
    }


def made(said: str) -> set[str]:
    """The arms that workers made."""
    return set(re.findall(r"^(\S+): made by \S+:\d+, and pushed$", said, re.M))
