"""Throwaway copies of the repository over a small text, with small networks, for tests of the pipeline as a whole."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
FOLDERS = ("src/", "stages/", "scripts/", "recipes/", ".dvc/", "text/")
FILES = (".dvcignore", ".gitignore", "dvc.yaml", "params.yaml")
SMALL: dict[str, dict[str, Any]] = {
    "corpus": {"name": "text"},
    "vocabulary": {"min_count": 1},
    "network": {"embedding": 8, "hidden": 8},
    "train": {"epochs": 1, "columns": 4, "window": 8, "learning_rate": 2.0},
    "evaluate": {"bootstrap_samples": 20, "bootstrap_block": 20},
    "probe": {"positions": 50, "lyapunov_steps": 20},
}
# `rnn` states its learning rate itself, `lstm` inherits it; at these nobody diverges, so that all have figures.
GRID = {"rnn": {"cell": "rnn", "learning_rate": 2.0}, "lstm": {"cell": "lstm"}}
CONFIGURATIONS = ["rnn-clipped", "rnn-unclipped", "lstm-clipped", "lstm-unclipped"]
ARMS = [f"{name}-1" for name in CONFIGURATIONS]
# Figures are drawn in earnest where they are looked at, in test_comparison.py; here that would outlast training.
SKETCH = """

def sketch(chart: Chart, path: Path, suffixes: Collection[str] = ()) -> None:
    path.with_suffix(".svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    path.with_suffix(".png").touch()
    path.with_suffix(".json").write_text("{}")


Chart.write = sketch
vl_convert.javascript_bundle = lambda snippet: ""
"""


@dataclass(frozen=True)
class Project:
    """A copy, or the folder of a pipeline in it, and the environment of its programs."""

    place: Path
    environment: dict[str, str]

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """What a command said and how it ended, whatever that is."""
        return subprocess.run(words, cwd=self.place, env=self.environ(**environment), capture_output=True, text=True)

    def must(self, *words: str | Path, **environment: str) -> str:
        """What a command that succeeds said, on either stream."""
        done = self.run(*words, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def environ(self, **changes: str) -> dict[str, str]:
        return os.environ | self.environment | changes

    def cold(self) -> "Project":
        """The same, with programs that are processes of their own from the start, as everywhere but in tests."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return replace(self, environment=self.environment | {"PATH": path})

    def pipeline(self, task: str) -> "Project":
        return replace(self, place=self.place / "pipelines" / task)

    def edit(self, **dotted: object) -> None:
        """Set keys of params.yaml: train__epochs=3."""
        yaml = YAML()
        params = yaml.load(self.place / "params.yaml")
        for name, value in dotted.items():
            *sections, key = name.split("__")
            section = params
            for each in sections:
                section = section[each]
            section[key] = value
        yaml.dump(params, self.place / "params.yaml")

    def append(self, name: str, text: str) -> None:
        path = self.place / name
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def would_run(self) -> set[str]:
        """The stages that `dvc repro` would run now; `resolve`, which decides about the others, is really run."""
        return running(self.must("dvc", "repro", "resolve")) | running(self.must("dvc", "repro", "--dry"))


def running(said: str) -> set[str]:
    """The stages that a DVC says it runs; a stage restored from the run cache is none."""
    return {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}


def small(place: Path, environment: dict[str, str]) -> Project:
    """What git tracks, small, committed, and never reproduced."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if name.startswith(FOLDERS) or name in FILES:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    shutil.copy(ROOT / ".dvc" / "plots" / "offline.html", place / ".dvc" / "plots")
    text = (ROOT / "tests" / "test_house.py").read_text(encoding="utf-8").splitlines()
    (place / "text" / "own.txt").write_text("\n".join(text), encoding="utf-8")
    project = Project(place, environment)
    project.append("src/unrolled/report/chart.py", SKETCH)
    project.edit(**{f"{section}__{key}": value for section, keys in SMALL.items() for key, value in keys.items()})
    project.edit(arch=GRID)
    return project


def copied(project: Project, place: Path) -> Project:
    """A copy elsewhere, without the MLflow store, which knows its files by where they lay."""

    def store(folder: str, names: list[str]) -> list[str]:
        return [
            name for name in names if folder == str(project.place) and name.startswith(("mlflow.db", "mlartifacts"))
        ]

    shutil.copytree(project.place, place, symlinks=True, ignore=store)
    return replace(project, place=place)


def queue_of(project: Project) -> dict[str, str]:
    """How each experiment of the queue stands, by its name."""
    said = project.must("dvc", "queue", "status").splitlines()
    rows = (line.split() for line in said[1:] if line and not line.startswith("Worker"))
    return {name: status for _, name, *_, status in rows}


def start_queue(project: Project, names: set[str]) -> None:
    """Run what is queued, of these names, two at a time, to its end."""
    subprocess.run(  # its workers keep what it writes to: through a pipe this would wait for their end
        ["dvc", "queue", "start", "-j", "2"],
        cwd=project.place,
        env=project.environ(),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begun = asked = time.monotonic()
    while time.monotonic() < begun + 600:
        time.sleep(0.1)
        # To ask takes DVC a second of a core that the experiments want: who has ended well has left a ref.
        ended = {path.name for path in (project.place / ".git" / "refs" / "exps").glob("*/*/*")} >= names
        if time.monotonic() > asked + (1 if ended else 30):
            if not {"Queued", "Running"} & set(queue_of(project).values()):
                return
            asked = time.monotonic()
