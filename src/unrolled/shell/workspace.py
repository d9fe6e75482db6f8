"""Where things are that belong to the repository, not to one run of a pipeline in it."""

import os
from collections.abc import Mapping
from pathlib import Path


def repository(workspace: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The repository's root: `DVC_ROOT` where ``workspace`` lies under it, else the nearest folder with a .dvc above.

    DVC hands an inherited DVC_ROOT on as it is, so one that has nothing to do with ``workspace`` is not heeded.
    """
    here = workspace.resolve()
    root = environ.get("DVC_ROOT")
    if root and here.is_relative_to(Path(root).resolve()):
        return Path(root).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)
