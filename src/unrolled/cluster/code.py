"""The code that a cluster runs: the files of the working tree as they are now, committed or not, as one git bundle."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from unrolled.shell.errors import UserError

# The same files are the same commit, whoever bundles them and whenever.
NOBODY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "unrolled"), ("EMAIL", "unrolled@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


class Code(NamedTuple):
    """A commit without parents, and the git bundle that holds it."""

    commit: str
    bundle: bytes


def bundled(root: Path) -> Code:
    """Bundle what `git add -A` would add in ``root``: tracked files as they are now, and new ones that are not ignored.

    All of it is done in a repository of its own that borrows the objects of the user's: neither branch, index nor
    objects of theirs are touched. Raises UserError with git's reason where that fails.
    """
    with tempfile.TemporaryDirectory(prefix="unrolled-code-") as place:
        objects = _git(root, os.environ, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        excluded = Path(_git(root, os.environ, "rev-parse", "--path-format=absolute", "--git-path", "info/exclude"))
        apart = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | NOBODY
        _git(root, apart, "init", "-q", "--bare", f"{place}/git")
        apart |= {"GIT_DIR": f"{place}/git", "GIT_WORK_TREE": str(root), "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}
        if excluded.is_file():
            (Path(place) / "git" / "info").mkdir(exist_ok=True)
            shutil.copy(excluded, Path(place) / "git" / "info" / "exclude")
        _git(root, apart, "read-tree", _git(root, os.environ, "rev-parse", "HEAD"))  # what is tracked though ignored
        _git(root, apart, "add", "-A")
        commit = _git(root, apart, "commit-tree", _git(root, apart, "write-tree"), "-m", "the working tree")
        _git(root, apart, "update-ref", "refs/heads/code", commit)
        _git(root, apart, "bundle", "create", "-q", f"{place}/bundle", "refs/heads/code")
        return Code(commit, (Path(place) / "bundle").read_bytes())


def _git(root: Path, environ: "os._Environ[str] | dict[str, str]", *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        reason = next((line for line in said if line.startswith("fatal: ")), said[-1])  # it may explain itself below
        raise UserError(f"git {words[0]} in {root}: {reason}")
    return done.stdout.strip()
