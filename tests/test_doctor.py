"""The doctor finds each thing wrong, says how to mend it, and touches nothing."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import Document
from unrolled.corpus.splits import write_splits
from unrolled.shell import doctor
from unrolled.shell.cli import main

ROOT = Path(__file__).parents[1]
CONFLICT = "<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '1.0'\n>>>>>>> theirs\n"
PINNED = re.compile(r"^([\w.-]+)==([\w.]+)", re.M)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone, as far as the doctor looks, with an encoded corpus."""
    for name in ("params.yaml", "requirements.lock", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    documents = [Document(f"{index}.txt", lambda index=index: iter([f"a b c {index}"])) for index in range(60)]
    write_splits(documents, tmp_path / "data/text", valid_share=0.2, test_share=0.2, seed=1, facts={})
    encode_corpus(
        tmp_path / "data/text", tmp_path / "data/encoded", tmp_path / "data/corpus.json",
        unit="word", lowercase=True, min_count=1, max_size=None,
    )  # fmt: skip
    for words in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t@e", "commit", "-q", "--allow-empty", "-mx"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))  # for dvc
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "UNROLLED_MIRROR", "OMP_NUM_THREADS", "UNROLLED_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def ill() -> dict[str, str]:
    return {finding.about: finding.said for finding in doctor.examine() if not finding.well}


def test_a_clone_in_order_is_well_and_left_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path for path in place.rglob("*") if ".git/" not in str(path))
    monkeypatch.setattr(doctor, "_version", dict(PINNED.findall(Path("requirements.lock").read_text())).__getitem__)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0][5:] for line in result.output.splitlines()] == list(doctor.LOOKS)
    assert sorted(path for path in place.rglob("*") if ".git/" not in str(path)) == before


def _corpus_of(name: str) -> None:
    params = YAML().load(Path("params.yaml"))
    params["corpus"]["name"] = name
    YAML().dump(params, Path("params.yaml"))


def _altered_tokens() -> None:
    path = Path("data/encoded/train.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"\7")


def _altered_raw() -> None:
    _corpus_of("brown")
    Path("data/raw").mkdir()
    Path("data/raw/brown.zip").write_bytes(b"other")


@pytest.mark.parametrize(
    ("harm", "about", "words"),
    [
        (
            lambda: Path("requirements.lock").write_text(
                "# a lock\nclick==0.1 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n"
                "none-such==2 ; python_version >= '3' \\\n    --hash=sha256:ef\n"
                "of-elsewhere==3 ; sys_platform == 'none'\n"
            ),
            "versions",
            f"2 packages differ from requirements.lock: click {version('click')} (0.1), none-such missing (2); `make",
        ),
        (lambda: Path("requirements.lock").unlink(), "versions", "does not exist; run this in a clone, or `git"),
        (lambda: Path("requirements.lock").write_text("click=0.1\n"), "versions", "git checkout requirements.lock"),
        (lambda: Path("params.yaml").write_text("a: 1\n"), "settings", "key 'task' is missing"),
        (lambda: Path("dvc.yaml").unlink(), "DVC", "dvc.yaml is missing"),
        (lambda: Path("dvc.yaml").write_text("stages: ["), "DVC", "DVC cannot read dvc.yaml: while parsing"),
        (
            lambda: Path("dvc.yaml").write_text("stage: {}"),
            "DVC",
            "not allowed @ data['stage']; mend it, or `git",
        ),
        (lambda: Path(".dvc/config").write_text("[core"), "DVC", "cannot read .dvc/config: config file error: Invalid"),
        (lambda: Path("dvc.lock").write_text(CONFLICT), "DVC", "choose one, as with: git checkout --theirs dvc.lock"),
        (lambda: shutil.rmtree(".git"), "DVC", "git init, or clone the repository again"),
        (_altered_tokens, "corpus", "train.npy was altered since it was written; make it again with: dvc repro"),
        (
            _altered_raw,
            "corpus",
            "the file is damaged or another one; not used; `dvc repro -f -s fetch`",
        ),
        (lambda: Path("data/encoded/manifest.json").write_text("{"), "disk", "data/encoded/manifest.json is damaged"),
    ],
)
def test_each_ill_is_found_with_its_mend(place: Path, harm: Callable[[], object], about: str, words: str) -> None:
    harm()
    assert words in ill()[about]


def test_both_sides_of_a_merge_are_left_to_who_merges(place: Path) -> None:
    Path("dvc.lock").write_text(CONFLICT)
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1 and "git has merged two versions of dvc.lock" in result.stderr
    assert Path("dvc.lock").read_text() == CONFLICT


def test_dvc_of_a_task_s_pipeline_writes_to_the_repository(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".dvc/cache").mkdir()
    (place / "pipelines/some").mkdir(parents=True)
    monkeypatch.chdir("pipelines/some")
    temporary = tempfile.TemporaryFile

    def of_another(dir: Path) -> object:
        if dir.name == "cache":
            raise PermissionError(13, "Permission denied")
        return temporary(dir=dir)

    assert "write access" not in ill()
    monkeypatch.setattr(tempfile, "TemporaryFile", of_another)
    assert ".dvc/cache cannot be written to (Permission denied); own it" in ill()["write access"]


def test_what_the_environment_says_is_looked_at(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://someone:hidden@127.0.0.1:{free.getsockname()[1]}"
    _corpus_of("ptb")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    monkeypatch.setenv("UNROLLED_DEVICE", "cuda:99")
    monkeypatch.setenv("UNROLLED_MIRROR", nobody)
    found = ill()
    assert "does not answer" in found["MLflow"] and "hidden" not in str(found)
    assert "unset it" in found["threads"] and "cuda:99 not found" in found["device"]
    assert "ptb.train.txt cannot be downloaded from" in found["corpus"]
    monkeypatch.setenv("UNROLLED_MIRROR", "nowhere")
    assert "let UNROLLED_MIRROR name the folder that holds ptb.train.txt" in ill()["corpus"]


def test_it_says_where_kernels_are_kept_or_why_they_are_not(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "own_folder", lambda: Path("/own/kernels"))
    said = {finding.about: finding for finding in doctor.examine()}
    assert said["kernels"].well and "kept in /own/kernels" in said["kernels"].said

    def shared() -> Path:
        raise PermissionError("/tmp/x is not this user's alone")

    monkeypatch.setattr(doctor, "own_folder", shared)
    said = {finding.about: finding for finding in doctor.examine()}
    assert said["kernels"].well and "anew by each process" in said["kernels"].said and "/tmp/x" in said["kernels"].said


def test_a_pipeline_in_a_folder_of_its_own_is_as_well(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock, git and DVC's settings are the repository's."""
    folder = place / "pipelines" / "one"
    folder.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "data"):
        (place / name).rename(folder / name)
    monkeypatch.setattr(doctor, "_version", dict(PINNED.findall(Path("requirements.lock").read_text())).__getitem__)
    monkeypatch.chdir(folder)
    assert ill() == {}


def test_what_is_encoded_of_another_corpus_is_not_taken_for_the_one_that_is_set(place: Path) -> None:
    facts = {"corpus": "text", "settings": {"name": "text"}}
    encoded = ["data/text", "data/encoded"]
    for folder in encoded:
        shutil.rmtree(folder)
    documents = [Document(f"{index}.txt", lambda index=index: iter([f"a b c {index}"])) for index in range(60)]
    write_splits(documents, Path(encoded[0]), valid_share=0.2, test_share=0.2, seed=1, facts=facts)
    encode_corpus(
        Path(encoded[0]), Path(encoded[1]), Path("data/corpus.json"),
        unit="word", lowercase=True, min_count=1, max_size=None,
    )  # fmt: skip
    assert "not encoded yet: data/encoded is of text" in doctor.LOOKS["corpus"]()
    _corpus_of("text")
    Path("text").touch()
    assert re.match(r"text: \d+ training tokens, every digest right", doctor.LOOKS["corpus"]())


def test_too_little_room_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM", 1 << 62)
    assert "make room" in ill()["disk"]
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: ") and "fixed first" in result.stderr
