"""Small projects with a remote, for workers that are processes of their own: `make check-cluster`."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from project import ROOT, Project, copied, small


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project, committed and never reproduced; not to be written to."""
    place = tmp_path_factory.mktemp("fresh") / "project"
    place.mkdir()
    site = str(tmp_path_factory.mktemp("site"))
    project = small(place, {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_SITE_CACHE_DIR": site}).cold()
    shutil.copy(ROOT / "requirements.lock", place)
    project.must("git", "init", "-q")
    project.must("git", "config", "user.name", "test")
    project.must("git", "config", "user.email", "test@example.org")
    project.must("git", "add", "-A")
    project.must("git", "commit", "-qm", "first")
    return project


@pytest.fixture
def project(fresh: Project, tmp_path: Path) -> Project:
    """The same, with a remote."""
    project = copied(fresh, tmp_path / "project")
    (tmp_path / "remote").mkdir()
    project.must("dvc", "remote", "add", "--local", "-d", "ours", tmp_path / "remote")
    return replace(project, environment=project.environment | {"PYTHONPATH": str(project.place / "src")})
