"""Which pipeline a folder is in, and where to go from that of another task."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from unrolled.shell.cli import main
from unrolled.shell.errors import UserError
from unrolled.shell.workspace import pipeline


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of three pipelines, beside a params.yaml that is none of its."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for folder, task in ((".", "other"), ("a", "one"), ("a/pipelines/two", "two"), ("a/pipelines/three", "one")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "params.yaml").write_text(f"# told\ntask: {task}  # told\n", encoding="utf-8")
    for folder in ("a/.dvc", "a/docs/x", "a/pipelines/two/runs/y", "b/.dvc"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("inside", "found"),
    [("a", "."), ("a/docs/x", "../.."), ("a/pipelines", ".."), ("a/pipelines/two", "."),
     ("a/pipelines/two/runs/y", "../.."), ("b", ".")],
)  # fmt: skip
def test_the_nearest_above_within_the_repository(
    root: Path, inside: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / inside)
    assert pipeline() == Path(found)
    assert os.path.samefile(pipeline(root / inside), root / inside / found)


def test_that_of_another_task_says_where_to_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "a/docs")
    assert pipeline(task="one") == Path("..")
    with pytest.raises(UserError, match=r"^\.\./params\.yaml is of the task one, .* two: go to \.\./pipelines/two$"):
        pipeline(task="two")
    monkeypatch.chdir(root / "a/pipelines/two")
    with pytest.raises(UserError, match=r"for one: go to \.\./\.\. or \.\./three$"):
        pipeline(task="one")


def test_commands_work_in_the_pipeline_and_say_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "a/docs/x")
    result = CliRunner().invoke(main, ["arms"])
    assert result.stderr.startswith("in ../..:\nerror: params.yaml: unknown task 'one'")
    assert Path.cwd() == root / "a/docs/x"


@pytest.mark.parametrize("command", ["tag", "classify", "score", "generate"])
def test_whoever_talks_to_a_network_is_sent_to_its_pipeline(
    root: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "a/docs")
    result = CliRunner().invoke(main, [command], input="a\n")
    assert result.exit_code == 1 and "../params.yaml is of the task one, and this is for" in result.stderr


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="unrolled")
    assert result.exit_code == 0 and result.stdout.startswith("unrolled 0.")
