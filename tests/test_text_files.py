"""The user's own text: what comes out of bytes, and what each bad input is told."""

import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.files import lines as cutting
from unrolled.corpus.files.lines import decoded_lines, lines_of
from unrolled.corpus.files.text_files import text_documents
from unrolled.shell.errors import UserError


def read(path: Path, pattern: str | None = None) -> dict[str, list[str]]:
    return {document.name: list(document.lines()) for document in text_documents(path, pattern)}


def lines(data: bytes) -> list[str]:
    return list(decoded_lines(io.BytesIO(data), "name"))


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def damaged(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def test_line_ends_bom_and_blank_lines() -> None:
    assert lines("\ufeffone\r\ntwo\rthree \n\n \t\n  four".encode()) == ["one", "two", "three", "  four"]


@pytest.fixture(params=[1, 2, 3, 7, 1 << 20])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cutting, "BLOCK", request.param)
    yield


TEXT = st.text(alphabet="aé\u20ac\U0001f600 \n\r\t\ufeff\f\x85\u2028", max_size=60)


@given(TEXT)
def test_every_block_size_gives_the_same_lines(text: str) -> None:
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    expected = [line.rstrip() for line in plain if line.strip()]
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 2, 3, 1 << 20):
            patch.setattr(cutting, "BLOCK", size)
            assert lines(text.encode()) == list(lines_of(text)) == expected


@given(st.text(alphabet="ab ", max_size=200))
def test_a_text_without_line_ends_is_cut_at_spaces_and_loses_none_of_its_words(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "LONGEST_LINE", 20)
        cut = []
        for size in (3, 1 << 20):
            patch.setattr(cutting, "BLOCK", size)
            cut.append(lines(text.encode()))
    assert cut[0] == cut[1]  # wherever the blocks end
    assert all(len(line) <= 20 for line in cut[0])
    assert "".join(cut[0]).replace(" ", "") == text.replace(" ", "")
    if all(len(word) < 20 for word in text.split()):
        assert " ".join(cut[0]).split() == text.split()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"abc\xff def", "name: not UTF-8 at byte 3"),
        (b"abc\n\xe2\x82", "name: not UTF-8 at byte 4, in line 2"),  # ends within a character
        (b"\xff\xfea\x00b", "name: not UTF-16 at byte 4, in line 1"),  # ends within a character
        (b"abc\n12\x0045", "name: not text but binary (NUL at byte 6, in line 2)"),
        ("é".encode() * 5 + b"\xed\xa0\x80", "name: not UTF-8 at byte 10"),  # a surrogate
    ],
)
def test_what_is_not_text_is_named_with_its_byte(data: bytes, message: str, small_blocks: None) -> None:
    with pytest.raises(UserError) as caught:
        lines(data)
    assert str(caught.value).startswith(message)


def test_a_folder_gives_its_files_sorted_plain_gz_and_zip_but_no_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("b\n", encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"c1\nc2\n"))
    zipped(tmp_path / "a.zip", **{"y/2.txt": b"two", "1.txt": b"one", "__MACOSX/1.txt": b"\x00", "y/": b""})
    (tmp_path / ".gitkeep").write_text("hidden", encoding="utf-8")
    found = read(tmp_path)
    assert found == {"a.zip/1.txt": ["one"], "a.zip/y/2.txt": ["two"], "c.txt.gz": ["c1", "c2"], "sub/b.txt": ["b"]}
    assert list(found) == sorted(found)
    assert read(tmp_path, "**/*.txt") == {"sub/b.txt": ["b"]}
    assert read(tmp_path / "c.txt.gz") == {"c.txt.gz": ["c1", "c2"]}
    assert read(tmp_path / "a.zip") == {"1.txt": ["one"], "y/2.txt": ["two"]}


def test_documents_can_be_read_twice_and_after_their_archive_was_listed(tmp_path: Path) -> None:
    documents = list(text_documents(zipped(tmp_path / "a.zip", one=b"1\n2", two=b"3"), None))
    assert [list(document.lines()) for document in documents * 2] == [["1", "2"], ["3"]] * 2


def test_bad_paths_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".gitkeep").touch()
    (tmp_path / "file.txt").write_text("text", encoding="utf-8")
    for path, pattern, message in (
        (tmp_path / "no", None, "no does not exist; name a file or a folder"),
        (tmp_path / "empty", None, "empty is empty; put text files"),
        (tmp_path, "*.md", "nothing in .* matches '\\*.md'"),
        (tmp_path, "../*", "must stay within the folder"),
        (tmp_path, "/etc/*", "must stay within the folder"),
        (tmp_path, "", "must stay within the folder"),
        (tmp_path / "file.txt", "*.txt", "corpus.pattern picks files within a folder"),
        (zipped(tmp_path / "none.zip"), None, "none.zip holds no text; text comes as"),
    ):
        with pytest.raises(UserError, match=message):
            read(path, pattern)


def test_bad_archives(tmp_path: Path) -> None:
    text = bytes(range(32, 127)) * 500
    whole = gzip.compress(text)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.gz").write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
    damaged(zipped(tmp_path / "cut.zip", a=text), 0.5)
    data = bytearray(zipped(tmp_path / "flipped.zip", a=text).read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(data)
    for name in ("cut.gz", "flipped.gz", "cut.zip", "flipped.zip"):
        with pytest.raises(UserError, match=f"{name}.*truncated or damaged archive"):
            read(tmp_path / name)


@pytest.mark.parametrize("member", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "..\\out.txt", "C:\\out.txt"])
def test_an_archive_that_climbs_is_refused(tmp_path: Path, member: str) -> None:
    zipped(tmp_path / "climb.zip", **{member: b"text", "good.txt": b"text"})
    with pytest.raises(UserError, match=r"climb.zip: the archive's member .* climbs out of its folder"):
        read(tmp_path / "climb.zip")


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "locked.zip", a=b"text").read_bytes())
    data[6] |= 1  # the local header's flag, then the directory's
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"locked.zip: a: cannot be unpacked: .*password"):
        read(tmp_path / "locked.zip")
