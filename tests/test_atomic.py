"""Folders appear whole or not at all."""

from pathlib import Path

import pytest

from unrolled.ground.atomic import whole_folder, whole_text


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


def test_a_text_takes_the_place_of_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or leaves it as it was: a full disk is met while the other name is written."""
    path = tmp_path / "made" / "notes.json"
    for text in ("é\n", "second\r\n"):
        whole_text(path, text)
        assert path.read_bytes() == text.encode() and list(path.parent.iterdir()) == [path]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        whole_text(path, "third")
    assert path.read_bytes() == b"second\r\n"
