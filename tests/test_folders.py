"""Folders appear whole or not at all."""

from pathlib import Path

import pytest

from unrolled.corpus.folders import whole_folder


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with whole_folder(target) as place:
        (place / "a").write_text("1")
    with pytest.raises(RuntimeError), whole_folder(target) as place:
        (place / "a").write_text("2")
        raise RuntimeError
    assert (target / "a").read_text() == "1"
    with whole_folder(target) as place:
        (place / "b").write_text("3")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in target.iterdir()] == ["b"]


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".run.partial").mkdir()
    (tmp_path / ".run.partial" / "half").touch()
    with whole_folder(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []
