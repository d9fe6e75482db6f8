"""What a mistake says, and what a kill leaves: the pipeline goes on from there."""

import os
import signal
import subprocess
import time

import pytest
from ruamel.yaml import YAML

from project import Project


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+train.clpi=1", ["unknown key 'train.clpi'"]),
        ("+trian.epochs=9", ["unknown section 'trian'; did you mean 'train'?"]),
        ("vocabulary.min_count=100000", ["vocabulary comes out empty"]),
    ],
)
def test_a_mistake_in_an_experiment_is_one_line(project: Project, override: str, words: list[str]) -> None:
    done = project.run("dvc", "exp", "run", "--temp", "-S", override)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert all(word in line for word in words)
    assert "Traceback" not in said and "applied" not in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("binary.txt", b"one two\x00three\n", ["binary.txt", "7"]),
        ("short.txt", b"only a few words here\n" * 3, []),
    ],
)
def test_a_corpus_that_cannot_be_used_is_one_line(
    project: Project, name: str, content: bytes, words: list[str]
) -> None:
    kept = {file: (project.place / file).read_bytes() for file in ("params.yaml", "dvc.lock")}
    (project.place / name).write_bytes(content)
    project.edit(corpus__path=name)
    done = project.run("dvc", "repro", "train@rnn-clipped-1")
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert all(word in line for word in words)
    assert "Traceback" not in done.stderr
    (project.place / "params.yaml").write_bytes(kept["params.yaml"])
    (project.place / name).unlink()
    project.must("dvc", "repro")
    assert (project.place / "dvc.lock").read_bytes() == kept["dvc.lock"]


def test_a_killed_stage_just_runs_again(project: Project) -> None:
    before = (project.place / "dvc.lock").read_bytes()
    killed = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", "train@rnn-clipped-1"],
        cwd=project.place,
        env=project.cold().environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert killed.stdout is not None
    while not killed.stdout.readline().startswith(">"):  # the command, said as it starts
        assert killed.poll() is None
    time.sleep(1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    project.must("dvc", "repro")
    assert (project.place / "dvc.lock").read_bytes() == before
    assert project.would_run() == set()


def test_what_a_killed_dvc_left_half_written_is_taken_away(project: Project) -> None:
    """Its locks; a file of the run cache that is not yet renamed; an entry without one. Each stops DVC for good."""
    tmp, runs = project.place / ".dvc" / "tmp", project.place / ".dvc" / "cache" / "runs"
    lock, entry, results = tmp / "rwlock", next(runs.glob("*/*")), project.place / "dvc.lock"
    kept, known, (whole,) = lock.read_bytes(), results.read_bytes(), entry.iterdir()
    other = entry.with_name(f"{entry.name[:2]}{'0' * 62}")
    results.write_bytes(known[: known.rindex(b"path: ") + 6])
    lock.write_bytes(b"")
    (entry / ".half.tmp").write_bytes(whole.read_bytes()[:100])
    other.mkdir()
    assert project.run("dvc", "repro", "-s", "fetch").returncode != 0
    project.must("unrolled", "check", PYTHONPATH="src")
    assert list(entry.iterdir()) == [whole] and not other.exists() and not lock.exists()
    assert "train.py" not in project.must("dvc", "repro")  # the run cache knows what was in the lock
    yaml = YAML(typ="safe", pure=True)
    assert yaml.load(results) == yaml.load(known)  # arms side by side come in any order
    lock.write_bytes(kept)
    project.must("unrolled", "check", PYTHONPATH="src")
    assert lock.read_bytes() == kept and whole.exists()  # what is whole is not touched
