"""Any bytes as the user's text: refused in one line, or every character of it ends up in one split, as its tokens."""

import bz2
import gzip
import io
import json
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files import packed as packing
from unrolled.corpus.files.lines import decoded_lines
from unrolled.corpus.files.text_files import text_documents
from unrolled.corpus.splits import write_splits
from unrolled.corpus.vocabulary import decode, load_tokenizer
from unrolled.shell.errors import UserError

SPLITS = ("train", "valid", "test")

CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("  \n\r\t\0\x0b\x0c\x1c\x85\xa0\xad\u0301\u200d\u202e\u2028\u2029\ufeff\ufffd\uffff<>a\U0001f600"),
)
WORDS = [
    "<unk>",
    "<eos>",
    "a",
    "B",
    "\u05e9\u05dc",
    "\u4e2d",
    "e\u0301",
    "\U0001f469\u200d\U0001f467",
    " ",
    "\n",
    "\r\n",
]
TEXTS = st.text(CHARACTERS, max_size=80) | st.lists(st.sampled_from(WORDS)).map("".join)


def check_line(error: UserError) -> None:
    assert " " in str(error) and "\n" not in str(error)


def corpus(place: Path, data: bytes, unit: str) -> tuple[dict[str, str], dict[str, list[int]], Tokenizer]:
    """Text and ids by split, through the two stages."""
    (place / "mine.txt").write_bytes(data)
    documents = text_documents(place / "mine.txt", None)
    write_splits(documents, place / "text", valid_share=0.2, test_share=0.3, seed=1, facts={})
    options = {"unit": unit, "lowercase": False, "min_count": 1, "max_size": None}
    encode_corpus(place / "text", place / "encoded", place / "corpus.json", **options)  # type: ignore[arg-type]
    text = {split: (place / "text" / f"{split}.txt").read_bytes().decode() for split in SPLITS}
    ids = {split: np.load(place / "encoded" / f"{split}.npy").tolist() for split in SPLITS}
    return text, ids, load_tokenizer(place / "encoded" / "tokenizer.json")


def check_corpus(data: bytes, unit: str) -> bool:
    """Whether it was accepted; where it was not, one line says why and nothing was written."""
    with TemporaryDirectory() as name:
        place = Path(name)
        try:
            text, ids, tokenizer = corpus(place, data, unit)
        except UserError as error:
            check_line(error)
            assert {path.name for path in place.iterdir()} <= {"mine.txt", "text"}
            return False
        report = json.loads((place / "corpus.json").read_text(encoding="utf-8"))
    lines = list(decoded_lines(io.BytesIO(data), "mine.txt"))
    assert "".join(text.values()) == "".join(f"{line}\n" for line in lines)  # a partition, in order
    for split in SPLITS:
        assert ids[split].count(1) == text[split].count("\n")
        assert report[split]["tokens"] == len(ids[split])
        assert report[split]["characters"] == len(text[split])
        if unit == "character":
            assert len(ids[split]) == len(text[split])
        else:
            splitter = tokenizer.pre_tokenizer
            words = [[word for word, _ in splitter.pre_tokenize_str(line)] for line in text[split].split("\n")[:-1]]
            assert len(ids[split]) == sum(map(len, words)) + len(words)
    assert 0 not in ids["train"]
    back = decode(tokenizer, ids["train"])
    assert back == text["train"] if unit == "character" else "".join(back.split()) == "".join(text["train"].split())
    return True


@given(TEXTS, st.sampled_from(["word", "character"]))
@example("\ufeff\ufeffa b\r\nc\r\rd e\n" * 9, "character")
@example("<unk> <eos>\u2028\n" * 9, "word")
@example("a \u0301\n" * 9, "word")
def test_no_character_is_lost(text: str, unit: str) -> None:
    check_corpus(text.encode(), unit)


@given(st.binary(max_size=60) | st.tuples(TEXTS, st.sampled_from([b"\xed\xa0\x80", b"\0", b"\xff"]), TEXTS).map(
    lambda parts: parts[0].encode() + parts[1] + parts[2].encode()))  # fmt: skip
def test_bytes_that_are_no_text_are_told(data: bytes) -> None:
    try:
        data.decode()
        bad = b"\0" in data
    except UnicodeDecodeError:
        bad = True
    assert not (check_corpus(data, "word") and bad)


@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize(
    "text",
    ["\n" * 10**5 + "a\nb\nc\nd\n" + "\n" * 10**5, "word " * 10**5, "x" * 10**6, "\u4e2d" * 300_000, "x\u2028" * 10**5],
    ids=["empty lines", "one word", "a word of a million characters", "no spaces", "no line ends"],
)
def test_long_texts_of_little(text: str, unit: str) -> None:
    assert check_corpus(text.encode(), unit)


# ---- archives


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gz": partial(gzip.compress, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": partial(pyarrow.compress, codec="zstd", asbytes=True),
}


def packed(place: Path, kind: str, text: bytes) -> Path:
    path = place / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo("b.txt"), text, zipfile.ZIP_DEFLATED)
            archive.writestr(zipfile.ZipInfo("c.txt"), text[::-1])
    elif kind.startswith("tar"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as members:
            for name, content in (("c.txt", text[::-1]), ("b.txt", text)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                members.addfile(member, io.BytesIO(content))
        inner = kind.partition(".")[2]
        path.write_bytes(COMPRESSED[inner](file.getvalue()) if inner else file.getvalue())
    else:
        path.write_bytes(COMPRESSED[kind](text))
    return path


def lines_of(path: Path) -> list[list[str]] | None:
    """Of each document; None where the file is refused, in one line that names it."""
    try:
        return [list(document.lines()) for document in text_documents(path, None)]
    except UserError as error:
        check_line(error)
        assert str(path) in str(error)
        return None


@pytest.mark.parametrize("kind", [*COMPRESSED, "zip", "tar", *(f"tar.{kind}" for kind in COMPRESSED)])
def test_what_was_packed_is_read(tmp_path: Path, kind: str) -> None:
    text = b"one line\nand another\n" * 9
    path = packed(tmp_path, kind, text)
    whole, turned = ([each.decode() for each in lines.split(b"\n")[:-1]] for lines in (text, text[::-1] + b"\n"))
    expected = [whole] if kind in COMPRESSED else [whole, [line for line in turned if line]]
    assert lines_of(path) == lines_of(tmp_path) == expected
    documents = list(text_documents(path, None))
    firsts = [next(each.lines()) for each in documents]  # read by turns
    assert firsts == [lines[0] for lines in expected] and [list(each.lines()) for each in documents] == expected


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "zip", "tar.gz", "tar.bz2"])
def test_an_archive_cut_anywhere_is_told(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path, kind, b"one line\nand another\n" * 9)
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        assert lines_of(path) is None, end
        assert lines_of(tmp_path) is None, end  # as one file of a folder


def test_a_tar_cut_within_its_text_is_told(tmp_path: Path) -> None:
    """Only a last block of zeros says that nothing is missing."""
    path = packed(tmp_path, "tar", b"one line\nand another\n" * 40)
    data = path.read_bytes()
    for end in range(0, len(data.rstrip(b"\0")), 64):
        path.write_bytes(data[:end])
        assert lines_of(path) is None, end


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_a_flipped_bit_of_an_archive_is_told_or_changes_no_text(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path, kind, b"one line\nand another\n")
    data, whole = path.read_bytes(), lines_of(path)
    for bit in range(8 * len(data)):
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        assert lines_of(path) in (None, whole), bit


@given(st.binary(max_size=300), st.sampled_from([".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tar.gz", ".parquet"]))
def test_bytes_that_are_no_archive_are_told(data: bytes, suffix: str) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / f"a{suffix}"
        path.write_bytes(data)
        assert lines_of(path) is None


def test_what_unpacks_beyond_reason_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "HARMLESS", 10**6)
    (tmp_path / "harmless.gz").write_bytes(gzip.compress(b"a" * 10**6))
    assert lines_of(tmp_path / "harmless.gz")
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"".join(b"word %d\n" % (i % 99) for i in range(10**5))))
    assert lines_of(tmp_path / "text.gz")
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"a" * (10**6 + 1)))
    with pytest.raises(UserError, match=r"bomb\.gz: unpacks to more than 500 times its size, as no text does"):
        [list(document.lines()) for document in text_documents(tmp_path / "bomb.gz", None)]
    with zipfile.ZipFile(tmp_path / "bz2.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"a" * 10**7)
    with pytest.raises(UserError, match=r"bz2\.zip: unpacks to more than 500 times its size"):
        list(text_documents(tmp_path / "bz2.zip", None))


def member(name: str, mode: int = 0) -> Callable[[zipfile.ZipFile], None]:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return lambda archive: archive.writestr(info, b"text")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("a.txt"), member("a.txt")], r"holds 'a\.txt' twice; leave one of the two out"),
        ([member("x/a.txt"), member("x//a.txt")], r"holds 'x/a\.txt' twice"),
        ([member("a.txt", stat.S_IFLNK | 0o777)], r"member 'a\.txt' is a link or a pipe; pack"),
        ([member(".")], r"member '\.' climbs out"),
        ([member("a.zip")], r""),
    ],
)
def test_members_that_no_folder_could_hold(
    tmp_path: Path, members: list[Callable[[zipfile.ZipFile], None]], message: str
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for add in members:
            add(archive)
    if not message:  # an archive in an archive is read as what it is: a member with the bytes of text, or not
        assert lines_of(tmp_path / "a.zip") == [["text"]]
        return
    with pytest.raises(UserError, match=message):
        list(text_documents(tmp_path / "a.zip", None))


def test_an_archive_in_an_archive_is_no_text(tmp_path: Path) -> None:
    inner = packed(tmp_path, "zip", b"text").read_bytes()
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", inner)
    with pytest.raises(UserError, match=r"outer\.zip: inner\.zip: not text but packed, as \.zip is; unpack it first"):
        [list(document.lines()) for document in text_documents(tmp_path / "outer.zip", None)]


def test_a_bzip2_archive_cut_short_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"one line\n" * 99)
    data = (tmp_path / "a.zip").read_bytes()
    at = data.index(bz2.compress(b"one line\n" * 99)[:10]) + 12
    (tmp_path / "a.zip").write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    assert lines_of(tmp_path / "a.zip") is None


# ---- folders


def test_a_link_to_a_file_is_the_file_and_one_to_a_folder_is_told(tmp_path: Path) -> None:
    for name in ("mine", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_bytes(b"text\n")
    (tmp_path / "mine" / "link.txt").symlink_to(tmp_path / "elsewhere" / "a.txt")
    assert lines_of(tmp_path / "mine") == [["text"]]
    (tmp_path / "mine" / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="folder is a link to a folder, which is not followed; put the files"):
        list(text_documents(tmp_path / "mine", None))
    assert len(list(text_documents(tmp_path / "mine", "*.txt"))) == 1
    (tmp_path / "mine" / "folder").unlink()
    (tmp_path / "mine" / "gone.txt").symlink_to(tmp_path / "no")
    with pytest.raises(UserError, match=r"gone\.txt is a link to nothing"):
        list(text_documents(tmp_path / "mine", None))


@given(st.text(st.sampled_from("*?[]!.a/\\\0\n\ud800 ") | st.characters(), max_size=8))
@example("**a")
@example(".")
@example("a/**b")
@example("[")
def test_any_pattern_finds_the_file_or_is_told(pattern: str) -> None:
    with TemporaryDirectory() as name:
        (Path(name) / "a.txt").write_bytes(b"text\n")
        try:
            found = [document.name for document in text_documents(Path(name), pattern)]
        except UserError as error:
            check_line(error)
        else:
            assert found == ["a.txt"]
