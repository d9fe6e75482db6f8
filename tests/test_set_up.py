"""The lock covers and hashes all that is installed, and set-up installs it without touching what is not its own."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
TORCH = "torch==1.0"
# What set-up and the scripts below call; nothing else is found, so that this machine's uv is not.
COMMANDS = ("awk", "bash", "cat", "cmp", "cp", "df", "dirname", "env", "find", "flock", "git", "grep", "head", "mkdir")
COMMANDS += ("mv", "rm", "rmdir", "sed", "touch")
# Stands for the interpreter that makes the environment, and is the one in it: notes what pip is asked for.
PYTHON = rf"""#!/usr/bin/env bash
case $* in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip config list") printf '%s\n' "$PIP_SETTINGS" ;;
  "-m pip "*--dry-run*) echo "Would install torch-1.0$BUILD" ;;
  "-m pip "*) echo "pip ${{*: -3}}" >>calls; cp .venv/tmp/lock installed; exit "$PIP_STATUS" ;;
  "-m compileall "*) ;;
  scripts/offline_plots.py) mkdir -p .dvc/plots; touch .dvc/plots/offline.html ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
UV = """#!/usr/bin/env bash
case $* in
  *--dry-run*) echo " + torch==1.0$BUILD" >&2 ;;
  "pip "*) echo "uv ${*: -3}" >>calls; cp .venv/tmp/lock installed; env | grep ^UV_ >uv-settings; exit "$UV_STATUS" ;;
esac
"""


class Clone:
    """A folder with the set-up script in it, where neither pip nor uv installs anything."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools = root / "tools"
        self.tools.mkdir()
        for name in ("scripts/set-up.sh", "scripts/offline_plots.py", "pyproject.toml"):
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        (root / "requirements.lock").write_text(
            f"click==2.0 \\\n    --hash=sha256:ab\n{TORCH} \\\n    --hash=sha256:cd\n"
        )
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        self.add("python3.11", PYTHON)
        for name in COMMANDS:
            if found := shutil.which(name):
                (self.tools / name).symlink_to(found)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        self.environ |= {"PYTHON": str(self.tools / "python3.11"), "PATH": str(self.tools)}
        self.environ |= {"PIP_SETTINGS": "", "PIP_STATUS": "0", "UV_STATUS": "0", "BUILD": ""}

    def add(self, name: str, script: str) -> None:
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def set_up(self, **environ: str) -> tuple[int, list[str]]:
        """Exit status, and the lines of standard error but for the one that asks for patience."""
        for name in ("calls", "installed", "uv-settings"):
            (self.root / name).unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "scripts/set-up.sh"],
            cwd=self.root,
            env=self.environ | environ,
            capture_output=True,
            text=True,
        )
        assert not done.stdout
        return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("Installing")]

    def read(self, name: str) -> list[str]:
        return (self.root / name).read_text().splitlines() if (self.root / name).exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def calls(installer: str, cuda: bool = True) -> list[str]:
    """What is asked for, and in which order."""
    needed = ["--require-hashes -r .venv/tmp/lock", *(["X"] if cuda else []), "--no-build-isolation -e ."]
    return [f"{installer} {each}" for each in needed]


def shown(lines: list[str]) -> list[str]:
    """What was asked for, with the call for torch alone, whose options differ, as X."""
    return [re.sub(rf" .*{TORCH}$", " X", line) for line in lines]


def test_every_file_of_the_lock_is_hashed() -> None:
    pin = r"[a-z0-9-]+==[\w.]+( ; [^\\\n]+)?"  # no build label: which build it is, is up to the machine
    assert re.fullmatch(rf"(#.*\n)+({pin}( \\\n    --hash=sha256:[0-9a-f]{{64}})+\n)+", LOCK)


def test_the_lock_names_all_that_its_packages_need() -> None:
    """They are installed without a search for what they need in turn; CUDA's libraries are torch's own affair."""
    pins = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if line[:1].isalnum()]
    locked = {pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()}
    for name in locked:
        for needed in map(Requirement, requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                other = canonicalize_name(needed.name)
                assert other in locked or (name == "torch" and other.startswith(("cuda-", "nvidia-", "triton"))), name


@pytest.mark.parametrize("build", ["", "+cpu"])
def test_pip_installs_the_build_of_torch_that_is_offered(clone: Clone, build: str) -> None:
    assert clone.set_up(BUILD=build) == (0, [])
    assert shown(clone.read("calls")) == calls("pip", cuda=not build)
    assert clone.read("installed")[2] == f"{TORCH}{build} \\"
    assert clone.set_up() == (0, [])
    assert clone.read("calls") == []  # what stands is left alone


@pytest.mark.parametrize("build", ["", "+cpu"])
def test_uv_installs_where_it_is_there(clone: Clone, build: str) -> None:
    clone.add("uv", UV)
    settings = ":env:.index-url='https://a/simple'\nglobal.extra-index-url='\\nhttps://b\\nhttps://c'\n"
    settings += "global.find-links='/d /e'\nglobal.timeout='9'"
    assert clone.set_up(BUILD=build, PIP_SETTINGS=settings, UV_INDEX="https://own") == (0, [])
    assert shown(clone.read("calls")) == calls("uv", cuda=not build)
    assert clone.read("installed")[2] == f"{TORCH}{build} \\"
    told = dict(line.split("=", 1) for line in clone.read("uv-settings"))
    assert told["UV_DEFAULT_INDEX"] == "https://a/simple" and told["UV_FIND_LINKS"] == "/d,/e"
    assert told["UV_INDEX"] == "https://own"
    clone.root.joinpath(".venv/.ready").unlink()
    clone.root.joinpath(".venv/.unfinished").touch()
    assert clone.set_up(PIP_SETTINGS=settings) == (0, [])
    assert "UV_INDEX=https://b https://c" in clone.read("uv-settings")


def test_pip_installs_what_uv_could_not(clone: Clone) -> None:
    clone.add("uv", UV)
    status, [said] = clone.set_up(UV_STATUS="2")
    assert status == 0 and said.startswith("uv could not")
    assert shown(clone.read("calls")) == [calls("uv")[0], *calls("pip")]


def test_what_failed_or_was_interrupted_starts_afresh(clone: Clone) -> None:
    status, [said] = clone.set_up(PIP_STATUS="1")
    assert status == 1 and said.startswith("error: pip could not")
    clone.root.joinpath(".venv/left-over").mkdir()
    assert clone.set_up() == (0, [])
    assert sorted(path.name for path in clone.root.joinpath(".venv").iterdir()) == [".ready", "bin"]


def test_an_environment_of_another_python_gives_way(clone: Clone) -> None:
    clone.set_up()
    clone.root.joinpath(".venv/old").touch()
    clone.add("python3.12", PYTHON.replace('"-m compileall', '"-c "*platform*) echo 3.12.0 ;;\n  "-m compileall'))
    assert clone.set_up(PYTHON=str(clone.tools / "python3.12")) == (0, [])
    assert not clone.root.joinpath(".venv/old").exists()


@pytest.mark.parametrize("command", ["rmdir", "mkdir", "touch", "rm", "find", "mv"])
@pytest.mark.parametrize("again", [False, True])
def test_a_set_up_killed_before_any_command_is_known_as_ours(clone: Clone, command: str, again: bool) -> None:
    """Before its first `rm`, its second, and so on, of a first set-up or one after an edit of the lock."""
    real, seen = os.readlink(clone.tools / command), clone.root / "seen"
    for at in range(1, 9):
        shutil.rmtree(clone.root / ".venv", ignore_errors=True)
        if again:
            assert clone.set_up() == (0, [])
            with (clone.root / "requirements.lock").open("a") as lock:
                lock.write("# edited\n")
        (clone.tools / command).unlink()
        killing = f"printf . >>seen; read -r seen <seen; [ ${{#seen}} != {at} ] || {{ kill -9 $PPID; exit; }}"
        clone.add(command, f'#!/usr/bin/env bash\n{killing}\nexec {real} "$@"\n')
        seen.unlink(missing_ok=True)
        status, _ = clone.set_up()
        (clone.tools / command).unlink()
        (clone.tools / command).symlink_to(real)
        assert clone.set_up() == (0, [])
        left = {path.name for path in clone.root.joinpath(".venv").iterdir()}
        assert left - {".unfinished"} == {".ready", "bin"}
        if status == 0:  # it has no more of them
            return
    raise AssertionError


@pytest.mark.parametrize("link", [False, True])
def test_an_environment_that_set_up_did_not_make_is_refused(clone: Clone, link: bool) -> None:
    theirs = clone.root / ("elsewhere" if link else ".venv")
    theirs.mkdir()
    (theirs / "pyvenv.cfg").touch()
    if link:
        (theirs / ".ready").write_text("/elsewhere\n")
        clone.root.joinpath(".venv").symlink_to(theirs)
    before = {path: path.read_bytes() for path in theirs.iterdir()}
    status, [said] = clone.set_up()
    assert status == 1 and "was not made here by make" in said and "mv .venv ../other-venv" in said
    assert {path: path.read_bytes() for path in theirs.iterdir()} == before
    clone.root.joinpath(".venv").rename(clone.root / "other-venv")  # the mend
    assert clone.set_up() == (0, [])


@pytest.mark.parametrize(
    ("version", "fits"), [("(3, 10)", False), ("(3, 11)", True), ("(3, 14, 9)", True), ("(3, 15)", False)]
)
def test_only_pythons_that_the_lock_has_wheels_for(clone: Clone, version: str, fits: bool) -> None:
    claim = f'"import sys; sys.version_info = {version}; ${{2#*;}}"'
    asked = f'  "-c "*version_info*) exec {sys.executable} -c {claim} ;;\n'
    clone.add("python3.11", PYTHON.replace('  "-m compileall', f'{asked}  "-m compileall'))
    status, said = clone.set_up()
    assert (status == 0) is fits
    assert fits or (len(said) == 1 and "Python 3.11 to 3.14 is needed" in said[0])


def test_one_arm_a_core_unless_told_otherwise_and_the_pipeline_that_is_named() -> None:
    def recipe(*words: str) -> str:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("JOBS", "CLUSTER", "MAKEFLAGS", "MAKELEVEL")
        }
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, env=environ, capture_output=True, text=True)
        return done.stdout.splitlines()[-1].rstrip()

    assert recipe("repro") == f"CLUSTER= scripts/repro.sh {os.sysconf('SC_NPROCESSORS_ONLN')}"
    assert recipe("record", "PIPELINE=speech").startswith("cd pipelines/speech && dvc ")
    assert recipe("repro", "JOBS=1", "CLUSTER=tcp://a:1") == "CLUSTER=tcp://a:1 scripts/repro.sh 1"
