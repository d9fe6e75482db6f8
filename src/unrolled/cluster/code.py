"""The code that a cluster runs: the files of the working tree as they are now, committed or not, as one git bundle."""

import os
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
WHOLE = ("--path-format=absolute", "--git-path")


class Code(NamedTuple):
    """Commits without parents, one a tree, and the git bundle that holds them all."""

    commits: tuple[str, ...]
    bundle: bytes


def bundled(*roots: Path) -> Code:
    """Bundle what `git add -A` would add in each of ``roots``: tracked files as they are now, and new ones not ignored.

    All of it is done in a repository of its own that borrows the objects of the user's: neither branch, index nor
    objects of theirs are touched. Raises UserError with git's reason where that fails.
    """
    with tempfile.TemporaryDirectory(prefix="unrolled-code-") as place:
        borrowed = [_git(root, os.environ, "rev-parse", *WHOLE, "objects") for root in roots]
        apart = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | NOBODY
        _git(roots[0], apart, "init", "-q", "--bare", f"{place}/git")
        apart |= {"GIT_DIR": f"{place}/git", "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(borrowed)}
        commits = tuple(_committed(root, Path(place, "git"), apart) for root in roots)
        _git(roots[0], apart, "bundle", "create", "-q", f"{place}/bundle", "--branches")
        return Code(commits, Path(place, "bundle").read_bytes())


def _committed(root: Path, repository: Path, apart: dict[str, str]) -> str:
    """What `git add -A` would add in ``root``, as a branch of ``repository`` that is named as its commit."""
    excluded = Path(_git(root, os.environ, "rev-parse", *WHOLE, "info/exclude"))
    apart = apart | {"GIT_WORK_TREE": str(root)}
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "exclude").write_bytes(excluded.read_bytes() if excluded.is_file() else b"")
    _git(root, apart, "read-tree", _git(root, os.environ, "rev-parse", "HEAD"))  # what is tracked though ignored
    _git(root, apart, "add", "-A")
    commit = _git(root, apart, "commit-tree", "-m", "code", _git(root, apart, "write-tree"))
    _git(root, apart, "update-ref", f"refs/heads/{commit}", commit)
    return commit


def _git(root: Path, environ: "os._Environ[str] | dict[str, str]", *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        reason = next((line for line in said if line.startswith("fatal: ")), said[-1])  # it may explain itself below
        raise UserError(f"git {words[0]} in {root}: {reason}")
    return done.stdout.strip()
