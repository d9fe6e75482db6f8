"""A miniature of the whole pipeline through DVC itself: what runs, what does not run again, what a mistake says."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]

ARMS = ["rnn-clipped", "rnn-unclipped"]

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="DVC needs git")


def command(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=place, env=environ(**environment), capture_output=True, text=True)


def environ(**changes: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull} | changes


def edit(place: Path, **dotted: object) -> None:
    yaml = YAML()
    params = yaml.load(place / "params.yaml")
    for name, value in dotted.items():
        *sections, key = name.split("__")
        section = params
        for each in sections:
            section = section[each]
        section[key] = value
    yaml.dump(params, place / "params.yaml")


def would_run(place: Path) -> set[str]:
    """The stages that `dvc repro` would run now."""
    done = command(place, "dvc", "repro", "--dry")
    assert done.returncode == 0, done.stderr
    return {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project over a small text, with a small network, committed and reproduced once."""
    place = tmp_path_factory.mktemp("pipeline") / "project"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = ("src/", "stages/", "scripts/", "recipes/", ".dvc/", "text/")
    for name in tracked:
        if name.startswith(folders) or name in (".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    shutil.copy(ROOT / ".dvc" / "plots" / "offline.html", place / ".dvc" / "plots")
    text = (ROOT / "tests" / "test_pipeline.py").read_text().splitlines()
    (place / "text" / "own.txt").write_text("\n".join(text * 2))
    edit(place, corpus__name="text", vocabulary__min_count=1)
    edit(place, network__embedding=8, network__hidden=8, train__epochs=1, train__columns=4, train__window=8)
    edit(place, train__learning_rate=2.0, arch__rnn__learning_rate=2.0)  # nobody diverges, so that all have figures
    edit(place, evaluate__bootstrap_samples=20, evaluate__bootstrap_block=20)
    edit(place, probe__positions=50, probe__lyapunov_steps=20)
    params = YAML().load(place / "params.yaml")
    edit(place, arch={"rnn": params["arch"]["rnn"]})
    command(place, "git", "init", "-q")
    command(place, "git", "config", "user.name", "test")
    command(place, "git", "config", "user.email", "test@example.org")
    done = command(place, "scripts/repro.sh", "2", PYTHONPATH=str(place / "src"))
    assert done.returncode == 0, done.stdout + done.stderr
    command(place, "git", "add", "-A")
    command(place, "git", "commit", "-qm", "first")
    return place


def test_every_arm_is_trained_scored_compared_and_recorded(place: Path) -> None:
    metrics = json.loads((place / "report" / "metrics.json").read_text())
    assert set(ARMS) <= set(metrics)
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(ARMS)
    for run in runs:
        measured = run.data.metrics["forward_perplexity/test"]
        assert measured == pytest.approx(metrics[run.info.run_name]["forward_perplexity"])


def test_a_second_repro_does_nothing(place: Path) -> None:
    assert would_run(place) == set()
    assert command(place, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert command(place, "git", "status", "--porcelain").stdout == ""


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock here")
def test_a_second_make_repro_waits_for_the_first(place: Path) -> None:
    with open(place / ".dvc" / "tmp" / "repro", "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        second = subprocess.Popen(["scripts/repro.sh"], cwd=place, env=environ(PYTHONPATH="src"), **pipes)
        assert second.stderr is not None and "this one waits" in second.stderr.readline()
        assert second.poll() is None
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0 and "up to date" in said and "Running" not in said


def test_a_forced_repro_gives_the_same_lock(place: Path) -> None:
    """Every output of every stage of one arm, byte for byte; and publishing again changes nothing."""
    before = (place / "dvc.lock").read_bytes()
    arm = "rnn-unclipped"
    of_arm = f"train@{arm}", "ngrams", f"evaluate@{arm}", f"probe@{arm}"
    stages = "preprocess", "vocabulary", *of_arm, "compare", "record", "ladder"
    done = command(place, "dvc", "repro", "-f", "-s", *stages)
    assert done.returncode == 0, done.stderr
    assert [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")] == [*stages]
    assert (place / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"arch__rnn__learning_rate": 3.0}, {"train@rnn-clipped", "train@rnn-unclipped", "compare", "record"}),
        ({"clipping__clipped__clip_norm": 0.5}, {"train@rnn-clipped", "compare", "record"}),
        (
            {"evaluate__seed": 7},
            {"ngrams", *(f"{stage}@{arm}" for stage in ("evaluate", "probe") for arm in ARMS), "compare", "record"},
        ),
        ({"probe__positions": 40}, {*(f"probe@{arm}" for arm in ARMS), "compare", "record"}),
    ],
)
def test_an_edited_setting_runs_what_it_must(place: Path, change: dict[str, object], stages: set[str]) -> None:
    kept = (place / "params.yaml").read_bytes()
    edit(place, **change)
    try:
        ran = would_run(place)
    finally:
        (place / "params.yaml").write_bytes(kept)
    assert ran == stages  # an evaluation follows where the training that ran gave other weights


@pytest.mark.parametrize(
    ("module", "stages"),
    [("tracking/publishing.py", {"record"}), ("report/figures.py", {"compare"})],
)
def test_an_edited_module_retrains_nothing_it_has_no_part_in(place: Path, module: str, stages: set[str]) -> None:
    path = place / "src" / "unrolled" / module
    kept = path.read_bytes()
    path.write_bytes(kept + b"\n# edited\n")
    ran = would_run(place)
    path.write_bytes(kept)
    assert ran == stages


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+train.clpi=1", ["unknown key 'train.clpi'"]),
        ("vocabulary.min_count=100000", ["vocabulary comes out empty"]),
    ],
)
def test_a_mistake_in_an_experiment_is_one_line(place: Path, override: str, words: list[str]) -> None:
    done = command(place, "dvc", "exp", "run", "--temp", "-S", override)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert all(word in line for word in words)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("binary.txt", b"one two\x00three\n", ["binary.txt", "7"]),
        ("short.txt", b"only a few words here\n" * 3, []),
    ],
)
def test_a_corpus_that_cannot_be_used_is_one_line(place: Path, name: str, content: bytes, words: list[str]) -> None:
    kept = (place / "params.yaml").read_bytes(), (place / "dvc.lock").read_bytes()
    (place / name).write_bytes(content)
    edit(place, corpus__path=name)
    done = command(place, "dvc", "repro", "train@rnn-clipped")
    (place / "params.yaml").write_bytes(kept[0])
    (place / name).unlink()
    restored = command(place, "dvc", "repro")
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert all(word in line for word in words)
    assert "Traceback" not in done.stderr
    assert restored.returncode == 0 and (place / "dvc.lock").read_bytes() == kept[1]


def test_a_killed_stage_just_runs_again(place: Path) -> None:
    before = (place / "dvc.lock").read_bytes()
    killed = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", "train@rnn-clipped"],
        cwd=place,
        env=environ(),
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
    done = command(place, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "dvc.lock").read_bytes() == before
    assert would_run(place) == set()


def test_what_a_killed_dvc_left_half_written_is_taken_away(place: Path) -> None:
    """Its locks; a file of the run cache that is not yet renamed; an entry without one. Each stops DVC for good."""
    lock, entry = place / ".dvc" / "tmp" / "rwlock", next((place / ".dvc" / "cache" / "runs").glob("*/*"))
    kept, (whole,) = lock.read_bytes(), entry.iterdir()
    other, results = entry.with_name(f"{entry.name[:2]}{'0' * 62}"), place / "dvc.lock"
    known = results.read_bytes()
    results.write_bytes(known[: known.rindex(b"path: ") + 6])
    lock.write_bytes(b"")
    (entry / ".half.tmp").write_bytes(whole.read_bytes()[:100])
    other.mkdir()
    assert command(place, "dvc", "repro", "-s", "fetch").returncode != 0
    checked = command(place, sys.executable, "-m", "unrolled.cli", "check", PYTHONPATH="src")
    assert checked.returncode == 0, checked.stderr
    assert list(entry.iterdir()) == [whole] and not other.exists() and not lock.exists()
    restored = command(place, "dvc", "repro")
    assert restored.returncode == 0, restored.stderr
    assert "train.py" not in restored.stdout  # the run cache knows what was in the lock
    yaml = YAML(typ="safe", pure=True)
    assert yaml.load(results) == yaml.load(known)  # arms side by side come in any order
    lock.write_bytes(kept)
    command(place, sys.executable, "-m", "unrolled.cli", "check", PYTHONPATH="src")
    assert lock.read_bytes() == kept and whole.exists()  # what is whole is not touched


def test_an_altered_run_directory_is_named(place: Path) -> None:
    weights = place / "runs" / "rnn-clipped" / "weights.safetensors"
    kept = weights.read_bytes()
    weights.chmod(0o644)
    weights.unlink()
    weights.write_bytes(kept[:-8] + b"\0" * 8)
    done = command(place, sys.executable, "stages/evaluate.py", "rnn-clipped", PYTHONPATH="src")
    weights.write_bytes(kept)
    assert done.returncode == 1
    assert "weights.safetensors was altered" in done.stderr and "dvc repro -f -s train@rnn-clipped" in done.stderr


def test_a_fresh_clone_with_the_results_of_another_publishes_them_without_training(place: Path, tmp_path: Path) -> None:
    command(tmp_path, "git", "clone", "-q", str(place), "clone")
    clone = tmp_path / "clone"
    command(clone, "dvc", "remote", "add", "-d", "--local", "ours", str(place / ".dvc" / "cache"))
    for words in (("dvc", "pull"), ("dvc", "repro")):
        done = command(clone, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("Running")] == ["Running stage 'record':"]
    client = MlflowClient(f"sqlite:///{clone / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    assert sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id])) == sorted(ARMS)
    assert command(clone, "git", "status", "--porcelain", "dvc.lock").stdout == ""


def queue(place: Path) -> dict[str, str]:
    """How each experiment of the queue stands, by its name."""
    said = command(place, "dvc", "queue", "status").stdout.splitlines()
    rows = (line.split() for line in said[1:] if line and not line.startswith("Worker"))
    return {name: status for _, name, *_, status in rows}


def test_experiments_side_by_side_reach_one_store_each_under_its_own_name(place: Path) -> None:
    norms = {"gentle": 0.5, "soft": 0.1}
    before = command(place, "git", "status", "--porcelain").stdout
    for name, norm in norms.items():
        done = command(place, "dvc", "exp", "run", "--queue", "-n", name, "-S", f"clipping.clipped.clip_norm={norm}")
        assert done.returncode == 0, done.stderr
    # Its workers keep what it writes to: through a pipe this would wait for their end.
    subprocess.run(
        ["dvc", "queue", "start", "-j", "2"],
        cwd=place,
        env=environ(),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 600
    while {"Queued", "Running"} & set(queue(place).values()) and time.monotonic() < end:
        time.sleep(10)  # to ask takes DVC seconds of a core that the experiments want
    logs = {name: command(place, "dvc", "queue", "logs", name).stdout for name in norms}
    command(place, "dvc", "queue", "stop", "--kill")
    assert queue(place) == dict.fromkeys(norms, "Success"), logs
    for log in logs.values():
        trained = {line.split("'")[1] for line in log.splitlines() if line.startswith("Running stage 'train@")}
        assert trained == {"train@rnn-clipped"} and "locked" not in log
    assert command(place, "git", "status", "--porcelain").stdout == before
    differences = json.loads(command(place, "dvc", "metrics", "diff", "--json", "HEAD", "gentle").stdout)
    of_arms = differences["report/metrics.json"]
    assert {name.partition(".")[0] for name in of_arms} == {"rnn-clipped"}
    drawn = command(place, "dvc", "plots", "diff", "HEAD", "gentle", "-o", str(place.parent / "plots"))
    assert drawn.returncode == 0, drawn.stderr
    page = (place.parent / "plots" / "index.html").read_text()
    assert '"rev": "HEAD"' in page and '"rev": "gentle"' in page and "<script src" not in page
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'unrolled'")
    names = sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))
    assert names == sorted([*ARMS, *(f"rnn-clipped {name}" for name in norms)])
    for run in client.search_runs([experiment.experiment_id]):
        artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
        assert artifacts.is_dir() and artifacts.is_relative_to(place / "mlartifacts")
