"""One project that is built once in a run of the tests, and a copy of it for each test."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from project import Project, copied, small


@pytest.fixture(scope="session")
def environment(shared: Path, warm: str) -> dict[str, str]:
    """Of a project's programs, which start warm; DVC keeps what it knows of every repository in a folder of its own."""
    return {"PATH": warm, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_SITE_CACHE_DIR": str(shared / "site")}


@pytest.fixture(scope="session")
def built(shared: Path, environment: dict[str, str]) -> Project:
    """A small project, reproduced and committed; not to be written to."""
    if shutil.which("git") is None:
        pytest.skip("DVC needs git")
    place, finished = shared / "built", shared / "built.finished"
    with FileLock(shared / "built.lock"):
        if finished.exists():
            return Project(place, environment)
        shutil.rmtree(place, ignore_errors=True)
        project = small(place, environment)
        project.must("git", "init", "-q")
        project.must("git", "config", "user.name", "test")
        project.must("git", "config", "user.email", "test@example.org")
        project.must("scripts/repro.sh", "2", PYTHONPATH=str(place / "src"))
        project.must("git", "add", "-A")
        project.must("git", "commit", "-qm", "first")
        finished.touch()
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """The built project, once more."""
    return copied(built, tmp_path / "project")
