"""Compiled kernels are kept between processes, by the content of their sources, where nobody else can write; or not."""

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numba
import pytest
import torch
from numba.core.caching import IndexDataCacheFile

import unrolled
from unrolled.recurrence.compiled import kernel_cache, openmp
from unrolled.recurrence.compiled.columns import packed
from unrolled.recurrence.compiled.kernel_cache import OWN, KernelCache, private_folder

SOURCES = Path(unrolled.__file__).parent
SCRIPT = """
import numba
import torch
numba.config.reload_config()  # what starts warm has numba imported before NUMBA_CACHE_DIR was set
from unrolled.recurrence.compiled.columns import packed
weight = torch.arange(12.0).view(3, 4)
assert torch.equal(packed(weight, transposed=False)[0, :, :4], weight)
"""


class Start(Protocol):
    def __call__(self, cache: Path, sources: Path = ...) -> subprocess.Popen[str]: ...


@pytest.fixture
def started(warm: str, tmp_path: Path) -> Start:
    """Starts a process that needs one kernel."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def start(cache: Path, sources: Path = SOURCES.parent) -> subprocess.Popen[str]:
        environment = os.environ | {"PATH": warm, "PYTHONPATH": str(sources), "NUMBA_CACHE_DIR": str(cache)}
        return subprocess.Popen(["python", script], env=environment, stderr=subprocess.PIPE, text=True)

    return start


def kept(started: Start, cache: Path, sources: Path = SOURCES.parent) -> dict[Path, int]:
    """What lies in the cache once such a process has come to a good end, and when it was written."""
    process = started(cache, sources)
    assert process.communicate()[1] == "" and process.returncode == 0
    return {file: file.stat().st_mtime_ns for file in cache.rglob("*.nb?")}


def test_kernels_are_kept_by_the_content_of_all_their_sources(tmp_path: Path, started: Start) -> None:
    """A copy elsewhere finds what was compiled; an edit to a file whose functions are inlined compiles anew."""
    copy, cache = tmp_path / "copy", tmp_path / "cache"
    shutil.copytree(SOURCES, copy / "unrolled", ignore=lambda *_: ["__pycache__"])
    first = kept(started, cache, copy)
    moved = copy.rename(tmp_path / "moved")
    assert first and kept(started, cache, moved) == first
    matmul = moved / "unrolled" / "recurrence" / "compiled" / "matmul.py"
    matmul.write_text(matmul.read_text() + "# edited\n")
    assert kept(started, cache, moved).keys() > first.keys()


def test_several_processes_may_begin_at_once(tmp_path: Path, started: Start) -> None:
    processes = [started(tmp_path / "cache") for _ in range(2)]
    assert [process.communicate()[1] for process in processes] == [""] * 2
    assert not any(process.returncode for process in processes)
    assert (first := kept(started, tmp_path / "cache")) and kept(started, tmp_path / "cache") == first


class Planted:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def use_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], list[Path]]]:
    """What lies in a cache once this process has had a kernel from there, or compiled it."""

    def use(cache: Path) -> list[Path]:
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(cache))
        openmp._compiled.cache_clear()
        weight = torch.arange(12.0).view(3, 4)
        assert torch.equal(packed(weight, transposed=False)[0, :, :4], weight)
        return list(cache.rglob("*.nb?"))

    yield use
    openmp._compiled.cache_clear()


@pytest.mark.parametrize("opened", ["nothing", "the folder", "the one above"])
def test_what_others_could_have_put_there_is_not_read(
    tmp_path: Path, use_kernel: Callable[[Path], list[Path]], opened: str
) -> None:
    cache, mark = tmp_path / "shared" / "cache", tmp_path / "mark"
    for file in use_kernel(cache):
        file.write_bytes(pickle.dumps(Planted(mark)))
    if opened != "nothing":
        {"the folder": cache / OWN, "the one above": cache.parent}[opened].chmod(0o777)
    use_kernel(cache)
    assert mark.exists() == (opened == "nothing")  # or this test would see nothing


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"rotten"])
def test_a_cache_that_rotted_costs_time_alone(
    tmp_path: Path, use_kernel: Callable[[Path], list[Path]], suffix: str, content: bytes
) -> None:
    (file,) = (file for file in use_kernel(tmp_path) if file.suffix == suffix)
    file.write_bytes(content)
    use_kernel(tmp_path)


def test_a_cache_that_has_no_room_costs_time_alone(
    tmp_path: Path, use_kernel: Callable[[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    use_kernel(tmp_path)


def test_where_nothing_can_be_kept_the_kernels_are_compiled_all_the_same(
    tmp_path: Path, use_kernel: Callable[[Path], list[Path]]
) -> None:
    (tmp_path / "no_folder").touch()
    assert use_kernel(tmp_path / "no_folder") == []


# ---- the folder


def test_the_folder_is_the_users_alone_and_stays(tmp_path: Path) -> None:
    own = private_folder(tmp_path / "made" / "too")
    assert own == tmp_path / "made" / "too" / OWN and own.stat().st_mode & 0o777 == 0o700
    (own / "kept").touch()
    assert private_folder(tmp_path / "made" / "too") == own and (own / "kept").exists()
    (tmp_path / "link").symlink_to(tmp_path / "made" / "too")
    assert private_folder(tmp_path / "link") == own  # and what the link shows later is no matter
    (tmp_path / "made").chmod(0o1777)  # as /tmp is: nobody can rename what is not theirs
    assert private_folder(tmp_path / "made" / "too") == own


def linked(own: Path) -> None:
    own.rename(own.with_name("elsewhere"))
    own.symlink_to(own.with_name("elsewhere"))


def replaced_by_a_file(own: Path) -> None:
    own.rmdir()
    own.touch()


@pytest.mark.parametrize(
    "harm",
    [
        lambda own: own.chmod(0o755),
        lambda own: own.chmod(0o770),
        lambda own: own.parent.chmod(0o777),
        lambda own: own.parents[1].chmod(0o777),
        linked,
        replaced_by_a_file,
    ],
)
def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    harm(private_folder(tmp_path / "above" / "root"))
    with pytest.raises(OSError):
        private_folder(tmp_path / "above" / "root")


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_folder(tmp_path)
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(PermissionError, match="is not this user's alone"):
        private_folder(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders to others")
def test_a_group_of_others_is_not_trusted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    private_folder(root)
    root.chmod(0o775)
    assert private_folder(root)  # the group has the user's number
    os.chown(root, 0, 4242)
    with pytest.raises(PermissionError, match=f"{root} is others' too"):
        private_folder(root)
    root.chmod(0o755)
    os.chown(root, 4242, 0)
    with pytest.raises(PermissionError, match=f"{root} is others' too"):
        private_folder(root)


def test_without_a_home_nothing_is_kept_and_nothing_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say whose `~` is, and numba would make a folder of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(kernel_cache, "user_cache_dir", lambda: "~/.cache")
    assert KernelCache.from_function(test_several_processes_may_begin_at_once, __file__) is None
    assert not list(tmp_path.iterdir())


def test_windows_keeps_it_among_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write elsewhere is not to be seen there."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "shared"))
    monkeypatch.setattr(kernel_cache, "user_cache_dir", lambda: str(tmp_path / "own"))
    monkeypatch.delattr(os, "getuid")
    locator = KernelCache.from_function(test_several_processes_may_begin_at_once, __file__)
    assert locator is not None and locator.get_cache_path().startswith(str(tmp_path / "own" / OWN))
    assert not (tmp_path / "shared").exists()
