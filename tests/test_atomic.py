"""Files and folders appear whole or not at all, whoever else writes them at the same time, and leave nothing beside."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unrolled.ground.atomic import sweep, whole_folder, whole_text


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


def left_by_a_killed_process(path: Path) -> None:
    left = path.with_name(f".{path.name}.0123abcd.partial")
    left.mkdir()
    (left / "half").touch()


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "run")
    with whole_folder(tmp_path / "run"):
        assert len(list(tmp_path.iterdir())) == 1
    left_by_a_killed_process(tmp_path / "notes")
    whole_text(tmp_path / "notes", "a")
    left_by_a_killed_process(tmp_path / "run")
    sweep(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "run"]


def test_what_another_process_is_at_stays(tmp_path: Path) -> None:
    """Two that write the same at once: both do, and what stands in the end is one of them, whole."""
    target = tmp_path / "run"
    with whole_folder(target) as first:
        (first / "a").touch()
        with whole_folder(target) as second:
            (second / "b").touch()
            sweep(target)
            assert (first / "a").exists() and (second / "b").exists()
        assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in target.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [target]


def test_many_that_write_the_same_at_once_do_not_meet(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with whole_folder(tmp_path / "run") as place:
            for name in ("a", "b"):
                (place / name).write_text(str(number))
        whole_text(tmp_path / "notes", str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    assert (tmp_path / "run" / "a").read_text() == (tmp_path / "run" / "b").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "run"]


def test_a_folder_that_cannot_take_its_place_leaves_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename wants room too."""
    target, rename = tmp_path / "run", Path.rename
    with whole_folder(target) as place:
        (place / "a").touch()

    def full(path: Path, other: Path) -> Path:
        if path.name == "made":
            raise OSError(28, "No space left on device")
        return rename(path, other)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"), whole_folder(target) as place:
        (place / "b").touch()
    assert list(tmp_path.iterdir()) == [target] and [path.name for path in target.iterdir()] == ["a"]


def test_a_text_takes_the_place_of_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "made" / "notes.json"
    for text in ("é\n", "second\r\n"):
        whole_text(path, text)
        assert path.read_bytes() == text.encode() and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["pathlib.Path.mkdir", "pathlib.Path.write_text", "os.replace"])
def test_a_text_that_cannot_be_written_leaves_what_stood_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A disk may be full at each step."""
    whole_text(tmp_path / "notes.json", "first")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, full)
    with pytest.raises(OSError, match="No space"):
        whole_text(tmp_path / "notes.json", "second")
    monkeypatch.undo()
    assert (tmp_path / "notes.json").read_text() == "first" and len(list(tmp_path.iterdir())) == 1
