"""Where things are that belong to the repository, not to one run of a pipeline in it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from unrolled.shell.errors import UserError

PARAMS = "params.yaml"


def repository(workspace: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The repository's root: `DVC_ROOT` where ``workspace`` lies under it, else the nearest folder with a .dvc above.

    DVC hands an inherited DVC_ROOT on as it is, so one that has nothing to do with ``workspace`` is not heeded.
    """
    here = workspace.resolve()
    root = environ.get("DVC_ROOT")
    if root and here.is_relative_to(Path(root).resolve()):
        return Path(root).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def pipeline(workspace: Path = Path(), task: str | None = None) -> Path:
    """The folder of the pipeline that ``workspace`` lies in: itself, or the nearest above it with a params.yaml.

    Itself where there is none in this repository; as a path that messages can show, "." or "../..". UserError where
    that pipeline is of another ``task``, naming those of this one.
    """
    here, root = workspace.resolve(), repository(workspace)
    above = [folder for folder in (here, *here.parents) if folder.is_relative_to(root)]
    found = next((folder for folder in above if (folder / PARAMS).is_file()), here)
    of = _task(found)
    if task and of and of != task:
        fitting = [each for each in (root, *sorted(root.glob("pipelines/*"))) if _task(each) == task]
        ways = " or ".join(os.path.relpath(each, here) for each in fitting) or "its pipeline"
        raise UserError(f"{_shown(found, here) / PARAMS} is of the task {of}, and this is for {task}: go to {ways}")
    return workspace / _shown(found, here)


def _shown(folder: Path, here: Path) -> Path:
    return Path(os.path.relpath(folder, here))


def _task(folder: Path) -> str | None:
    """What its params.yaml states, which others validate."""
    try:
        stated = re.search(r"^task:[ \t]*(\w+)", (folder / PARAMS).read_text(encoding="utf-8"), re.M)
    except (OSError, UnicodeDecodeError):
        return None
    return stated[1] if stated else None
