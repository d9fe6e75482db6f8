"""Public files: from an address, from a mirror, and what is told when they cannot be had."""

import gc
import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pooch.core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from unrolled.corpus.catalogue import PublicFile
from unrolled.corpus.fetch import fetch, mirror_within
from unrolled.settings.resolve import resolve
from unrolled.shell.errors import UserError

ROOT = Path(__file__).parents[1]

# pooch does not close the connection of a download that fails; the collector does, here and not in another test.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

DATA = b"some text\n" * 5000


class Server(ThreadingHTTPServer):
    """Serves DATA at /good.txt; the first ``breaks`` answers end half-way; counts what it was asked."""

    breaks = 0
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.path != "/good.txt":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        broken = self.server.asked <= self.server.breaks
        self.wfile.write(DATA[: len(DATA) // 2] if broken else DATA)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    gc.freeze()  # so that what is collected below is the test's alone: all else takes the collector half a second
    yield
    gc.collect()


def file(server: Server, name: str = "good.txt", data: bytes = DATA) -> PublicFile:
    return PublicFile(name, f"http://127.0.0.1:{server.server_port}/{name}", hashlib.sha256(data).hexdigest())


def told(folder: Path, files: list[PublicFile], mirror: str | None = None) -> str:
    """The one line of the error, after which nothing is left."""
    with pytest.raises(UserError) as caught:
        fetch(files, folder, mirror)
    assert list(folder.parent.glob(f"*{folder.name}*")) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_comes_from_its_address(tmp_path: Path, server: Server) -> None:
    fetch([file(server)], tmp_path / "raw")
    assert (tmp_path / "raw" / "good.txt").read_bytes() == DATA


def test_a_broken_download_is_started_again(tmp_path: Path, server: Server) -> None:
    server.breaks = 2
    fetch([file(server)], tmp_path / "raw")
    assert (tmp_path / "raw" / "good.txt").read_bytes() == DATA
    assert server.asked == 3


def test_a_download_that_stays_broken_is_told(tmp_path: Path, server: Server) -> None:
    server.breaks = 99
    assert told(tmp_path / "raw", [file(server)]).startswith("good.txt: no answer from 127.0.0.1")
    assert server.asked == 3


def test_a_file_may_be_known_by_the_id_that_git_gives_it(tmp_path: Path, server: Server) -> None:
    """SHA-1 over "blob", its size, a zero byte and the content; this one is in the book on git's insides."""
    content, known = b"what is up, doc?", "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/doc.txt").write_bytes(content)
    fetch([PublicFile("doc.txt", "", blob=known)], tmp_path / "raw", str(tmp_path / "mirror"))
    assert (tmp_path / "raw/doc.txt").read_bytes() == content
    message = told(tmp_path / "other", [PublicFile("doc.txt", "", blob=known[::-1])], str(tmp_path / "mirror"))
    assert f"doc.txt: wrong git id (expected {known[::-1]}): the file is damaged or another one" in message


def test_a_wrong_sha256_is_told(tmp_path: Path, server: Server) -> None:
    message = told(tmp_path / "raw", [file(server, data=b"other")])
    assert "/good.txt: wrong sha256 (expected d9298a10" in message


def test_an_address_that_answers_404_is_told(tmp_path: Path, server: Server) -> None:
    message = told(tmp_path / "raw", [file(server, "gone.txt")])
    assert message.startswith("gone.txt: 404")
    assert "UNROLLED_MIRROR" in message


def test_no_network_is_told(tmp_path: Path) -> None:
    nowhere = PublicFile("good.txt", "http://127.0.0.1:9/good.txt", "0" * 64)
    message = told(tmp_path / "raw", [nowhere])
    assert message.startswith("good.txt: no answer from 127.0.0.1:9 (ConnectionError): is there a network?")
    assert "UNROLLED_MIRROR" in message


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_mirror_takes_the_place_of_the_address(tmp_path: Path, server: Server, slash: str) -> None:
    elsewhere = PublicFile("good.txt", "http://127.0.0.1:9/never", hashlib.sha256(DATA).hexdigest())
    fetch([elsewhere], tmp_path / "address", f"http://127.0.0.1:{server.server_port}{slash}")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "good.txt").write_bytes(DATA)
    fetch([elsewhere], tmp_path / "folder", f"{tmp_path}/mirror{slash}")
    for name in ("address", "folder"):
        assert (tmp_path / name / "good.txt").read_bytes() == DATA


def test_a_mirror_is_checked_as_well(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    wanted = PublicFile("good.txt", "http://127.0.0.1:9/never", hashlib.sha256(DATA).hexdigest())
    assert "good.txt is not in UNROLLED_MIRROR" in told(tmp_path / "raw", [wanted], str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "good.txt").write_bytes(DATA[:-1])
    assert "wrong sha256" in told(tmp_path / "raw", [wanted], str(tmp_path / "mirror"))


SOUNDS = {"1_b_0.wav": b"one", "0_a_10.wav": b"zero", "0_a_2.wav": b"again zero"}


def archive_of(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def archive_of_sounds() -> PublicFile:
    """Its sha256 is counted as the shell would."""
    lines = [
        f"{hashlib.sha256(SOUNDS[name]).hexdigest()}  {name}\n" for name in ("0_a_10.wav", "0_a_2.wav", "1_b_0.wav")
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return PublicFile("sounds.zip", "http://127.0.0.1:9/never", digest, members=r"(?:.*/)?\d_[a-z]_\d+\.wav")


@pytest.mark.parametrize(
    "members",
    [
        SOUNDS,
        {f"a-1.0/recordings/{name}": content for name, content in reversed(SOUNDS.items())},
        SOUNDS | {"tools/trim.py": b"anything", "recordings/": b"", "../../0_a_2.wav.txt": b"out"},
    ],
)
def test_an_archive_may_be_checked_by_what_it_holds(tmp_path: Path, members: Mapping[str, bytes]) -> None:
    archive_of(tmp_path / "mirror" / "sounds.zip", members)
    fetch([archive_of_sounds()], tmp_path / "raw", str(tmp_path / "mirror"))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["sounds.zip"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror", "raw"]


@pytest.mark.parametrize(
    ("members", "count"),
    [
        (SOUNDS | {"0_a_2.wav": b"another"}, 3),
        (SOUNDS | {"2_a_2.wav": b"one more"}, 4),
        (SOUNDS | {"copy/0_a_2.wav": SOUNDS["0_a_2.wav"]}, 4),
        ({name: content for name, content in SOUNDS.items() if name != "1_b_0.wav"}, 2),
        ({}, 0),
    ],
)
def test_an_archive_that_holds_something_else_is_told(tmp_path: Path, members: Mapping[str, bytes], count: int) -> None:
    archive_of(tmp_path / "mirror" / "sounds.zip", members)
    message = told(tmp_path / "raw", [archive_of_sounds()], str(tmp_path / "mirror"))
    assert f"mirror/sounds.zip: wrong sha256 over the {count} members that count (expected " in message


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "bytes"])
def test_a_damaged_archive_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mirror" / "sounds.zip"
    archive_of(path, {name: content * 99 for name, content in SOUNDS.items()})
    whole = path.read_bytes()
    spoiled = whole[:45] + bytes(8) + whole[53:]  # within the first member
    path.write_bytes({"cut": whole[:-30], "text": b"404: Not Found", "empty": b"", "bytes": spoiled}[damage])
    message = told(tmp_path / "raw", [archive_of_sounds()], str(tmp_path / "mirror"))
    assert "mirror/sounds.zip: truncated or damaged archive (" in message and message.endswith("; get a fresh copy")


def test_a_failure_keeps_what_was_fetched_before(tmp_path: Path, server: Server) -> None:
    fetch([file(server)], tmp_path / "raw")
    with pytest.raises(UserError):
        fetch([file(server), file(server, "gone.txt")], tmp_path / "raw")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["good.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_relative_mirror_is_found_from_an_experiments_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository" / ".dvc" / "tmp" / "copy").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    root = str(tmp_path / "repository")
    monkeypatch.delenv("UNROLLED_MIRROR", raising=False)
    assert mirror_within(root) is None
    monkeypatch.setenv("UNROLLED_MIRROR", "")
    assert mirror_within(root) is None
    monkeypatch.setenv("UNROLLED_MIRROR", "../data")
    monkeypatch.chdir(tmp_path / "repository")
    assert mirror_within(root) == "../data"
    assert mirror_within(None) == "../data"
    monkeypatch.chdir(tmp_path / "repository" / ".dvc" / "tmp" / "copy")
    assert mirror_within(root) == f"{root}/../data"
    monkeypatch.chdir(tmp_path)  # a root inherited from another repository's stage is none of ours
    assert mirror_within(root) == "../data"
    monkeypatch.setenv("UNROLLED_MIRROR", "https://example.org/data")
    assert mirror_within(root) == "https://example.org/data"


@pytest.mark.parametrize(
    "form", ["{}", "{}/", "file://{}", "file://{}/", "file:{}", "FILE://localhost{}", " file://{} "]
)
def test_a_mirror_may_be_a_folder_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    folder = tmp_path / "my corpora, é%"
    folder.mkdir()
    (folder / "good.txt").write_bytes(DATA)
    monkeypatch.setenv("UNROLLED_MIRROR", form.format(quote(str(folder)) if "i" in form.lower() else folder))
    wanted = PublicFile("good.txt", "http://127.0.0.1:9/never", hashlib.sha256(DATA).hexdigest())
    fetch([wanted], tmp_path / "raw", mirror_within(None))
    assert (tmp_path / "raw" / "good.txt").read_bytes() == DATA


@pytest.mark.parametrize(
    "mirror",
    [
        *("file://", "file://a.host/folder", "sftp://a.host/folder", "ftp://a.host/folder", "C://x", "://", "http://"),
        *("http:///folder", "https://[::1", "http://a.host:port/x", "http://a.host:0/", "http://[x]/"),
    ],
)
def test_an_address_that_nothing_is_had_from_is_told(monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    monkeypatch.setenv("UNROLLED_MIRROR", mirror)
    with pytest.raises(
        UserError, match=r"^UNROLLED_MIRROR=.* names no place; use /a/folder, file:///a/folder or https"
    ):
        mirror_within(None)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))  # which no environment holds


@pytest.mark.parametrize("text", [TEXT, TEXT.map("file:{}".format), TEXT.map("http://127.0.0.1:9/{}".format)])
@given(st.data())
def test_any_mirror_is_told_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: st.SearchStrategy[str], data: st.DataObject
) -> None:
    raw, wanted = tmp_path_factory.getbasetemp() / "raw", PublicFile("good.txt", "http://127.0.0.1:9/never", "0" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", {"UNROLLED_MIRROR": data.draw(text)})
        with pytest.raises(UserError) as caught:
            fetch([wanted], raw, mirror_within(None), retries=0)
    assert str(caught.value).strip() and not raw.exists()


def test_a_mirror_of_too_long_a_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_MIRROR", "long" * 99)
    wanted = PublicFile("good.txt", "http://127.0.0.1:9/never", "0" * 64)
    for root in (None, str(tmp_path)):
        assert told(tmp_path / "raw", [wanted], mirror_within(root)).endswith(": File name too long")


@pytest.mark.parametrize("kind", ["file", "folder in place of the file"])
def test_a_mirror_of_the_wrong_kind_is_told(tmp_path: Path, kind: str) -> None:
    """The file itself named in place of its folder, or a folder of the file's name."""
    mirror = tmp_path / "good.txt"
    if kind == "file":
        mirror.write_bytes(DATA)
    else:
        mirror = tmp_path
        (tmp_path / "good.txt").mkdir()
    wanted = PublicFile("good.txt", "http://127.0.0.1:9/never", hashlib.sha256(DATA).hexdigest())
    why = "Not a directory" if kind == "file" else "Is a directory"
    said = f"good.txt is not in UNROLLED_MIRROR: {mirror}/good.txt: {why}"
    assert told(tmp_path / "raw", [wanted], str(mirror)) == said


def test_the_password_of_a_mirror_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = YAML().load(ROOT / "params.yaml")
    params["corpus"]["name"] = "ptb"
    YAML().dump(params, tmp_path / "params.yaml")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "UNROLLED_MIRROR": "http://me:hidden@127.0.0.1:9/x"}
    resolve(tmp_path / "params.yaml", tmp_path / "resolved")
    words = [sys.executable, str(ROOT / "stages" / "fetch.py")]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "no answer from" in done.stderr and "hidden" not in done.stderr
