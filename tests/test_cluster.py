"""Arms over a cluster, as far as one process can tell: the code that travels, who is admitted, what is sent.

With workers that are processes of their own: tests/cluster/.
"""

import asyncio
import gc
import json
import os
import subprocess
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.repo import Repo

from unrolled.cluster import arms, client, worker, workers
from unrolled.cluster.arms import Remote, Workspace, bring_run_cache, chain, made_before, missing
from unrolled.cluster.code import bundled
from unrolled.cluster.environment import differences, digest, environment, packages_of
from unrolled.cluster.start import slurm_script
from unrolled.shell.errors import UserError

ROOT = Path(__file__).parents[1]


def git(place: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=place, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    place = tmp_path / "root"
    place.mkdir()
    git(place, "init", "-q")
    for name, text in {
        ".gitignore": "*.big\n",
        "kept.txt": "1",
        "edited.txt": "1",
        "gone.txt": "1",
        "a.big": "1",
    }.items():
        (place / name).write_text(text)
    git(place, "add", "-f", ".")
    git(place, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    return place


def test_the_working_tree_arrives_as_it_is_and_stays_as_it_was(root: Path, tmp_path: Path) -> None:
    (root / "edited.txt").write_text("2")
    (root / "gone.txt").unlink()
    (root / "new.txt").write_text("new")
    (root / "ignored.big").write_text("big")
    (root / "b.big").symlink_to("kept.txt")
    git(root, "add", "edited.txt")
    (root / "edited.txt").write_text("3")
    (root / ".git" / "info" / "exclude").write_text("private.txt\n")
    (root / "private.txt").write_text("mine")
    before = [git(root, "status", "--porcelain"), git(root, "count-objects", "-v"), git(root, "for-each-ref")]
    code = bundled(root)
    assert [git(root, "status", "--porcelain"), git(root, "count-objects", "-v"), git(root, "for-each-ref")] == before
    assert bundled(root).commits == code.commits
    place = SimpleNamespace(local_directory=tmp_path / "worker")
    for _ in range(2):
        told = {"name": "ours", "url": str(tmp_path), "options": {"jobs": "2"}}
        (tmp_path / "worker" / "unrolled" / "clone" / ".dvc").mkdir(parents=True, exist_ok=True)
        assert asyncio.run(worker.receive(code.commits, code.bundle, told, dask_worker=place)) == ""
    clone = tmp_path / "worker" / "unrolled" / "clone"
    git(clone, "checkout", "-q", "--detach", *code.commits)
    found = {path.name: path.read_text() for path in clone.iterdir() if path.is_file()}
    assert found == {".gitignore": "*.big\n", "kept.txt": "1", "edited.txt": "3", "new.txt": "new", "a.big": "1"}
    config = (clone / ".dvc" / "config.local").read_text()
    assert config == f"[core]\n    remote = ours\n['remote \"ours\"']\n    url = {tmp_path}\n    jobs = 2\n"
    said = asyncio.run(worker.receive(code.commits, b"", told | {"url": "/nowhere"}, dask_worker=place))
    assert said == "the remote /nowhere is no folder there"


def test_what_cannot_be_unpacked_is_said(tmp_path: Path) -> None:
    place, told = SimpleNamespace(local_directory=tmp_path), {"name": "ours", "url": "s3://x", "options": {}}
    assert "git fetch" in asyncio.run(worker.receive(["0" * 40], b"no bundle", told, dask_worker=place))
    (tmp_path / "file").touch()
    place = SimpleNamespace(local_directory=tmp_path / "file")
    assert "Not a directory" in asyncio.run(worker.receive(["0" * 40], b"", told, dask_worker=place))


def test_no_commit_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^git rev-parse in .*: fatal: not a git repository"):
        bundled(tmp_path)


def test_environments_differ_by_what_reaches_the_bytes() -> None:
    packages = packages_of(ROOT / "requirements.lock")
    here = environment([*packages, "no-such-package"])
    assert {"torch", "numpy", "distributed"} <= set(packages) and here["no-such-package"] == "missing"
    assert differences(here, environment([*packages, "no-such-package"])) == ""
    there = here | {"torch": "9.9", "dvc": "1", "numpy": "2", "Python": "3.10", "scipy": "0"}
    said = differences(here, there)
    assert said.startswith(f"Python 3.10, here {here['Python']}; torch 9.9, here {here['torch']}; ")
    assert said.endswith("; and 2 more") and digest(here) == digest(dict(here)) != digest(there)


@pytest.fixture
def pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two arms, short of a stage, over one that both stand on, as DVC sees them; and a remote."""
    monkeypatch.setattr(arms, "CHAIN", ("train", "probe"))  # each stage takes DVC a while
    stages: dict[str, Any] = {"resolve": {"cmd": "echo r > resolved", "deps": ["kept.txt"], "outs": ["resolved"]}}
    before = "resolved"
    for name in arms.CHAIN:
        made = f"{name}-${{item.arm}}"
        stages[name] = {"matrix": {"arm": ["a", "b"]}, "cmd": f"echo {name} ${{item.arm}} > {made}"}
        stages[name] |= {"deps": [before], "outs": [made]}
        before = made
    (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    with Repo.init(str(root)) as repo, repo.config.edit("local") as settings:
        settings["core"] = {"remote": "ours", "analytics": False}
        settings["remote"] = {"ours": {"url": str(tmp_path / "remote")}}
    return root


def stale() -> list[str]:
    with Repo() as repo:
        bring_run_cache(repo)
    return [each.arm for each in missing(Workspace(Path(), ("a", "b")), ["a", "b"])]


@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's own
@pytest.mark.filterwarnings("ignore:unclosed database in <sqlite3.Connection:ResourceWarning")  # too: of its caches'
def test_what_a_remote_holds_is_not_sent(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    with Repo() as repo:
        assert made_before(repo, ["a", "b"]) == ["resolve"]
        repo.reproduce("resolve")
    assert stale() == ["a", "b"]
    other = tmp_path / "other"  # that of a worker, which makes one of them
    git(tmp_path, "clone", "-q", str(pipeline), str(other))
    for name in ("dvc.yaml", "dvc.lock", "resolved", ".dvc/config.local"):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_bytes((pipeline / name).read_bytes())
    monkeypatch.chdir(other)
    with Repo() as repo:
        repo.reproduce(chain("a"), single_item=True)
        repo.push(chain("a"), run_cache=True)
    monkeypatch.chdir(pipeline)
    (tmp_path / "remote/files/md5/runs/ab/cd").mkdir(parents=True)
    (tmp_path / "remote/files/md5/runs/ab/cd/.half.tmp").touch()  # another worker is at pushing it
    assert stale() == ["b"]
    assert (pipeline / "probe-a").read_text() == "probe a\n"
    assert not list((pipeline / ".dvc" / "cache" / "runs").rglob(".*"))
    assert not (pipeline / "probe-b").exists() and not (pipeline / "train-b").exists()
    gc.collect()  # here, where the warnings that DVC's open databases give on Python 3.13 and later are passed over


def test_a_remote_travels_without_its_secrets(pipeline: Path) -> None:
    with Repo(str(pipeline)) as repo:
        repo.config["remote"]["ours"] |= {
            "url": "s3://bucket/x",
            "region": "eu",
            "secret_access_key": "k",
            "user": "me",
        }
        assert Remote.default(repo) == ("ours", "s3://bucket/x", {"region": "eu", "user": "me"})
        del repo.config["core"]["remote"]
        with pytest.raises(UserError, match=r"DVC has no default one; dvc remote add -d ours "):
            Remote.default(repo)


@pytest.mark.parametrize("address", ["", "host", "host:8786", "tcp://host", "http://host:8786", "tcp://a b:1"])
def test_what_is_no_address_is_one_line(address: str) -> None:
    with pytest.raises(UserError, match=r"is no address of a Dask scheduler; it looks like tcp://host:8786"):
        client.connected(address).__enter__()


def test_nobody_answers_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT", 0.2)
    with pytest.raises(UserError, match=r"^CLUSTER=tcp://127.0.0.1:9: no Dask scheduler answers there"):
        client.connected("tcp://127.0.0.1:9").__enter__()


def test_a_remote_that_fails_is_asked_three_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nERROR: unreachable\nHaving any troubles?\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    with pytest.raises(UserError, match=r"^dvc push failed three times: unreachable; the same command tries again$"):
        client.dvc("push")
    assert capsys.readouterr().err.splitlines() == [
        f"dvc push failed (unreachable); tried again in {seconds} s" for seconds in (3, 6)
    ]


def test_of_a_traceback_the_line_alone_that_says_what_went_wrong_is_passed_on() -> None:
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise worker.subprocess.CalledProcessError(1, "git") from error
    except worker.subprocess.CalledProcessError:
        chained = list(filter(None, traceback.format_exc().splitlines()))
    first, *_, second = [line for line in chained if line[:1].strip() and "most recent call last" not in line]
    ignored = ["Exception ignored in: <function _GitFile.__del__ at 0x7f>", *chained[: chained.index(first) + 1]]
    bare = ["Exception ignored while calling deallocator <class 'A'>:", "KeyError"]
    said = ["epoch 3: perplexity 9.1", "ERROR: [Errno 28] No space left on device"]
    assert list(worker.without_tracebacks([*ignored, *said, *bare, *chained, *said])) == [*said, first, second, *said]
    between = [*ignored[:3], *said, *ignored[3:], *said]  # of two processes that say something at once
    assert list(worker.without_tracebacks(between)) == [*said, *said]
    assert all(map(worker.ERROR.match, (first, second, said[1]))) and not worker.ERROR.match(said[0])


def test_timings_say_what_another_machine_differs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = {"timings": '{"seconds": 1.0, "device": "cpu"}', "worker": "tcp://w", "host": "box:1"}
    job = {"arm": "a", "experiment": ""}
    client._take_timings(job, made, {"tcp://w": ""})
    assert json.loads(Path("timings/a.json").read_text()) == {"seconds": 1.0, "device": "cpu"}
    client._take_timings(job, made, {"tcp://w": "torch 9.9, here 2.13"})
    assert (
        json.loads(Path("timings/a.json").read_text())["device"]
        == "cpu of box:1, another machine: torch 9.9, here 2.13"
    )
    client._take_timings({"arm": "b", "experiment": ""}, made | {"timings": ""}, {})
    client._take_timings({"arm": "c", "experiment": "wide"}, made, {})
    assert [path.name for path in Path("timings").iterdir()] == ["a.json"]


def test_how_many_processes_train_an_arm_is_a_workers_own_and_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in workers.HANDED_ON:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UNROLLED_DEVICE", "cuda")
    for number, lines in (("", 0), ("2", 1)):
        monkeypatch.setenv("UNROLLED_TRAIN_PROCESSES", number)
        assert workers.handed_on() == {"UNROLLED_DEVICE": "cuda"}
        said = capfd.readouterr().err
        assert said.count("\n") == said.count("UNROLLED_TRAIN_PROCESSES is not handed on") == lines


def test_a_job_script_is_a_script() -> None:
    script = slurm_script("tcp://head:8786", 4, Path("/a folder/clone"))
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert "cd '/a folder/clone'\n" in script and '--nthreads "${SLURM_CPUS_PER_TASK:-4}"' in script
