"""The tasks there are, found by their folders: no room names one."""

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import unrolled.tasks

# What a folder of its own holds, so that an edit re-runs as little as can be; the others are single files.
PLACES = {
    "corpus": "corpus.corpus",
    "model": "model.task",
    "scores": "evaluation.scores",
    "evaluation": "evaluation.evaluate",
    "probes": "probes.probes",
}


def task_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(unrolled.tasks.__path__) if module.ispkg)


def has_part(task: str, part: str) -> bool:
    try:
        return find_spec(f"unrolled.tasks.{task}.{PLACES.get(part, part)}") is not None
    except ModuleNotFoundError:  # not even the folder that it would be in
        return False


def task_part(task: str, part: str) -> Any:
    """The module of a task that holds a part of the contract: settings, model, scores, evaluation, probes, ..."""
    return import_module(f"unrolled.tasks.{task}.{PLACES.get(part, part)}")
