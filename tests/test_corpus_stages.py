"""The stages of the corpus as DVC calls them: bad input ends in one line, exit status 1 and nothing written."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from stages.preprocess import main as preprocess

from unrolled.settings.resolve import resolve

ROOT = Path(__file__).parents[1]


def stage(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("UNROLLED_MIRROR", None)
    command = [sys.executable, str(ROOT / "stages" / f"{name}.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def params(folder: Path, **corpus: object) -> None:
    yaml = YAML()
    settings = yaml.load(ROOT / "params.yaml")
    settings["corpus"].update({"name": "text", "path": "mine", "pattern": None, **corpus})
    settings["vocabulary"]["min_count"] = 1
    yaml.dump(settings, folder / "params.yaml")


def test_a_text_goes_through_the_stages(tmp_path: Path) -> None:
    params(tmp_path)
    (tmp_path / "mine").mkdir()
    chance, words = random.Random(1), [f"word{i}" for i in range(60)]
    lines = [" ".join(chance.choices(words, k=8)) + ".\n" for _ in range(100)]
    (tmp_path / "mine" / "a.txt").write_text("".join(lines), encoding="utf-8")
    for name in ("resolve", "fetch", "preprocess", "vocabulary"):
        done = stage(name, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["corpus.json", "encoded", "raw", "text"]
    assert len((tmp_path / "data" / "text" / "train.txt").read_text(encoding="utf-8").splitlines()) == 85


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: corpus.path: mine does not exist"),
        ({}, "error: corpus.path: the folder mine is empty; put text files into it: .txt"),
        ({"a.txt": b" \n"}, "error: the corpus holds no text: every document is blank"),
        ({"a.txt": b"fine\n", "b.txt": b"MZ\x90 \n"}, "error: mine/b.txt: not UTF-8 at byte 2, in line 1"),
        ({"a.txt": b"one line\n"}, "error: a.txt is too short"),
    ],
)
def test_bad_text_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes] | None, message: str
) -> None:
    params(tmp_path)
    if content is not None:
        (tmp_path / "mine").mkdir()
        for name, data in content.items():
            (tmp_path / "mine" / name).write_bytes(data)
    resolve(tmp_path / "params.yaml", tmp_path / "resolved")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(preprocess, catch_exceptions=False)
    assert done.exit_code == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("data/*")) and not list(tmp_path.glob("data/.*"))
