"""Before its work, a stage looks whether resolved/ is of today's params.yaml."""

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from miniature import lay_out
from unrolled.shell.errors import UserError
from unrolled.shell.stage import check_resolved, stage


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


def test_what_was_resolved_from_it_is_worked_with(params: Path) -> None:
    done = []
    stage(done.append)("worked")
    assert done == ["worked"]


def test_a_comment_is_no_other_setting(params: Path) -> None:
    params.write_text(f"# told\n{params.read_text()}  # and told\n")
    check_resolved()


def test_without_a_params_yaml_there_is_nothing_to_compare(params: Path) -> None:
    params.unlink()
    check_resolved()


@pytest.mark.parametrize("text", ["a: 1\n", "a: [", "", "\0"])
def test_another_params_yaml_is_told_before_any_work(
    params: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params.write_text(text)
    with pytest.raises(SystemExit):
        stage(lambda: pytest.fail("worked"))()
    said = "error: resolved/ was made from another params.yaml; bring it up to date with: dvc repro resolve\n"
    assert capsys.readouterr().err == said


def test_without_resolved_it_says_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"resolved/params\.json is missing; `dvc repro resolve` makes it"):
        check_resolved()


@pytest.mark.parametrize("name", ["fetch", "preprocess", "vocabulary", "train", "baseline", "evaluate", "probe"])
def test_a_stage_called_by_hand_after_an_edit_refuses(params: Path, name: str) -> None:
    main = import_module(f"stages.{name}").main
    edited = params.read_text().replace("learning_rate: 1.0", "learning_rate: 2.0")
    params.write_text(edited)
    before = sorted(params.parent.rglob("*"))
    done = CliRunner().invoke(main, ["lstm-clipped-1"] if main.params else [])
    assert done.exit_code == 1 and done.stderr.startswith("error: resolved/ was made from another")
    assert sorted(params.parent.rglob("*")) == before
