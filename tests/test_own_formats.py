"""Formats in which texts come: rows of which one field is the text, pages, and what is named instead of read."""

import csv
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from unrolled.corpus.files.lines import Reading, lines_of
from unrolled.corpus.files.pages import text_of
from unrolled.corpus.files.text_files import text_documents
from unrolled.shell.errors import UserError


def read(path: Path, **settings: object) -> dict[str, list[str]]:
    reading = Reading.of_settings(settings)
    return {document.name: list(document.lines()) for document in text_documents(path, None, reading)}


def left_out(path: Path) -> list[str]:
    found: list[str] = []
    list(text_documents(path, None, left_out=found))
    return found


# ---- rows


def as_jsonl(texts: list[str], field: str) -> bytes:
    return "".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts)).encode()


def as_csv(texts: list[str], field: str) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([["id", field], *([str(i), text] for i, text in enumerate(texts))])
    return file.getvalue().encode("utf-8-sig")


def as_tsv(texts: list[str], field: str) -> bytes:
    return "".join(f"{i}\t{text}\n" for i, text in [("id", field), *enumerate(texts)]).encode()  # type: ignore[list-item]


def as_parquet(texts: list[str], field: str) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"id": list(range(len(texts))), field: texts}), file)
    return file.getvalue()


TABLES: dict[str, Callable[[list[str], str], bytes]] = {
    "jsonl": as_jsonl,
    "ndjson": as_jsonl,
    "csv": as_csv,
    "tsv": as_tsv,
    "parquet": as_parquet,
}
ROWS = ["one, two", '"three" said he', "vier \u2028 f\u00fcnf", "\u4e2d\u6587"]


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("field", ["text", "body", "a field"])
def test_each_row_is_a_document_and_its_field_the_text(tmp_path: Path, suffix: str, field: str) -> None:
    data = TABLES[suffix](ROWS, field)
    (tmp_path / f"rows.{suffix}").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(f"in/rows.{suffix}", data)
    with tarfile.open(tmp_path / "packed.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / f"rows.{suffix}", f"rows.{suffix}")
    setting = {} if field == "text" else {"field": field}
    for name in (f"rows.{suffix}", "packed.zip", "packed.tar.xz"):
        found = read(tmp_path / name, **setting)
        assert list(found.values()) == [list(lines_of(row)) for row in ROWS]
        assert len(found) == len(ROWS)
    if field != "text":
        with pytest.raises(UserError, match=rf"no field 'text' \(there are: 'id', '{field}'\); set corpus.field"):
            read(tmp_path / f"rows.{suffix}")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40), max_size=6))
def test_any_texts_come_back_from_jsonl_csv_and_parquet(texts: list[str]) -> None:
    with TemporaryDirectory() as place:
        for suffix in ("jsonl", "csv", "parquet"):
            (Path(place) / f"a.{suffix}").write_bytes(TABLES[suffix](texts, "text"))
            if texts:
                wanted = [list(lines_of(text)) for text in texts]
                found = list(read(Path(place) / f"a.{suffix}").values())
                # within quotes csv keeps every line end; only a last one of a row's own is lost beside them
                assert found == wanted


def test_values_of_jsonl_and_a_single_field(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'"one"\n\n{"other": "two"}\n{"other": null}\n')
    (tmp_path / "b.csv").write_bytes(b"sentence\none\ntwo\n")
    assert list(read(tmp_path).values()) == [["one"], ["two"], [], ["one"], ["two"]]


def test_tables_of_one_folder_may_name_their_text_differently(tmp_path: Path) -> None:
    """The first name of the list that a table has is its text; one with none of them is an error that names all."""
    for suffix, field in zip(TABLES, ("text", "body", "text", "body", "text"), strict=True):
        (tmp_path / f"{suffix}.{suffix}").write_bytes(TABLES[suffix]([suffix], field))
    (tmp_path / "both.csv").write_bytes(b"body,text\nb,both\n")
    found = read(tmp_path, field=["text", "body"])
    assert sorted(lines[0] for lines in found.values()) == sorted([*TABLES, "both"])
    for field in ("text", "body", ["subject", "text"]):  # whichever one is named, the other table is refused
        with pytest.raises(UserError, match=r"set corpus\.field to its name, or .* a list of names"):
            read(tmp_path, field=field)
    with pytest.raises(UserError, match="no field 'title' or 'subject' "):
        read(tmp_path, field=["title", "subject"])


def test_a_csv_of_semicolons_or_tabs_is_read(tmp_path: Path) -> None:
    """As spreadsheets write it where a comma stands within numbers."""
    for data in (b"id;text\n1;one, two\n", b"id\ttext\n1\tone, two\n", b"sep=;\r\nid;text\r\n1;one, two\r\n"):
        (tmp_path / "a.csv").write_bytes(data)
        assert list(read(tmp_path).values()) == [["one, two"]]
    (tmp_path / "a.csv").write_bytes(b"id, of a row;text\n1;one\n")  # the comma parts nothing
    assert list(read(tmp_path).values()) == [["one"]]


def test_two_fields_of_the_name_that_is_wanted_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,id,text\none,1,two\n")
    with pytest.raises(UserError, match=r"a\.csv, line 1: 2 fields are named 'text'; rename all but"):
        read(tmp_path)
    assert list(read(tmp_path, field="id").values()) == [["1"]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"text": "a"}\n{"body": "b", "n": 1}\n', r"line 2: there is no field 'text' \(.*'body'"),
        ("a.jsonl", b'{"text": 7}\n', r"line 1: the field is no text but int"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "caf\xe9 au lait"}\n', r"in line 2 .*most likely it is cp1252"),
        ("a.csv", b"id,text\n1,a\n2,b,c\n", r"a\.csv, line 3: 3 fields where the first line names 2"),
        ("a.csv", b'id,text\n1,"a"b\n', r"a\.csv, line 2: .*quote"),
        ("a.jsonl", b'[{"text": "a"}]\n', r"line 1: a list, and a line is one object; jq -c '\.\[\]'"),
        ("a.jsonl", b'{"text": "a \\ud83d"}\n', r"row 1: \\ud83d, in line 1, is half of a character"),
        ("a.csv", b"", r"is empty"),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet: truncated or damaged"),
    ],
)  # fmt: skip
def test_a_row_that_holds_no_text_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


# ---- pages

PAGE = """<!doctype html><html><head><title>No text</title><style>p {color: red}</style>
<script>if (a < b) document.write("<p>no</p>")</script></head><body>
<h1>A &amp; B</h1><p>One <b>bold</b>er
word&mdash;<i>two</i> .<br>Next line<p>unclosed<ul><li>first<li>second</ul>
<table><tr><td>a</td><td>b</td></tr></table><!-- <p>nothing</p> --><pre>x
  y</pre>end</body></html>"""
TEXT = [
    "A & B",
    "",
    "One bolder word\u2014two .",
    "Next line",
    "",
    "unclosed",
    "",
    "first",
    "second",
    "",
    "a b",
    "",
    "x",
]
TEXT += ["  y", "", "end"]


def test_a_page_is_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE, encoding="utf-8")
    assert read(tmp_path)["a.html"] == [line for line in TEXT if line]
    assert read(tmp_path, blank_lines="paragraphs")["a.html"] == TEXT


@given(st.integers(1, 80))
def test_a_page_is_the_same_wherever_its_blocks_end(size: int) -> None:
    blocks = [PAGE[at : at + size] for at in range(0, len(PAGE), size)]
    words = " ".join("".join(text_of(blocks)).split())
    assert words == " ".join("".join(text_of([PAGE])).split())


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("cp1252", "cp1252", "\u201cnaïve\u201d"),
        ("ISO-8859-1", "cp1252", "\u201cnaïve\u201d"),  # as all browsers read it
        ("shift_jis", "shift_jis", "\u732b"),
        ("utf-32", "utf-8", "\u732b"),  # which it is not in, or nobody could have read that it says so
        ("base64", "utf-8", "\u732b"),
        ("klingon", "utf-8", "\u732b"),
    ],
)
def test_a_page_that_names_its_encoding_is_read_with_that(
    tmp_path: Path, declared: str, encoding: str, text: str
) -> None:
    (tmp_path / "a.html").write_bytes(f'<meta charset="{declared}"><p>{text}'.encode(encoding))
    assert read(tmp_path)["a.html"] == [text]


def test_a_page_that_says_utf_8_and_is_not_is_read_as_is_set(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b'<meta charset="utf-8"><p>na\xefve, d\xe9j\xe0 vu')
    with pytest.raises(UserError, match=r"set corpus\.encoding to cp1252"):
        read(tmp_path)
    assert read(tmp_path, encoding="cp1252")["a.html"] == ["naïve, déjà vu"]


# ---- what is named, and what is left out

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
NAMED = {
    "a.pdf": (b"%PDF-1.7\n%\xe2\xe3", r"a PDF; convert it: pdftotext a\.pdf a\.txt"),
    "paper.txt": (b"%PDF-1.7\n%\xe2\xe3", r"a PDF; convert it: pdftotext"),
    "a.docx": (b"PK\x03\x04\0\0", r"a Word document; convert it: pandoc .* a\.docx -o a\.txt"),
    "a.epub": (b"PK\x03\x04\0\0", r"an EPUB book; convert it: pandoc"),
    "a.odt": (b"PK\x03\x04\0\0", r"an OpenDocument text; convert it: pandoc"),
    "a.doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", r"an old Word document; convert it: soffice"),
    "letter": (b"{\\rtf1 text}", r"a Rich Text document; convert it: pandoc"),
    "a.json": (b'[{"text": "a"}]', r"one JSON value, not a row a line; convert it: jq -c '\.\[\]' .* > a\.jsonl"),
    "b.json": (b'\xef\xbb\xbf{"text":\n "a"}', r"one JSON value, not a row a line; convert it: jq -c \. .* > b\.jsonl"),
    "c.json": (b'{"text": "a"}\n{"text": "b"}\n', r"a row of JSON a line; let its name end in \.jsonl"),
    "d.json.gz": (gzip.compress(b'[{"text": "a"}]'), r"; unpack and convert it: jq .* d\.json > d\.jsonl"),
    "e.json.gz": (gzip.compress(b'{"text": "a"}\n"b"\n'), r"a row of JSON a line; let its name end in \.jsonl\.gz"),
    "page": (b"\n<!DOCTYPE HTML><p>text", r"a page of HTML; let its name end in \.html"),
    "book.txt": (b"<html><p>text", r"a page of HTML; let its name end in \.html"),
    "tei": (b"<?xml version='1.0'?><TEI>text</TEI>", r"XML; convert it: xmllint --xpath 'string\(/\)' tei > tei\.txt"),
    "a.txt.lz4": (b"\x04\x22\x4d\x18 abc", r"packed by LZ4; unpack it: unlz4 a\.txt\.lz4"),
    "a.txt.Z": (b"\x1f\x9d\x90abc", r"packed by compress; unpack it: gzip -d a\.txt\.Z"),
    "a.png": (PNG, r"a picture"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_no_plain_text_is_named_with_its_converter(tmp_path: Path, name: str) -> None:
    data, what = NAMED[name]
    (tmp_path / name).write_bytes(data)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=what):
            read(path)
    (tmp_path / "b.txt").write_bytes(b"text\n")
    assert [list(document.lines()) for document in text_documents(tmp_path, None)] == [["text"]]
    (said,) = left_out(tmp_path)
    assert said.startswith(f"{name} is ")


@pytest.mark.parametrize("data", [PNG, b"\x7fELF\x02\x01\x01\0\0", b"\0\0\0\x01Bud1\0"])
def test_what_is_no_text_is_listed_and_left_out(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "text.txt").write_bytes(b"text\n")
    (tmp_path / "cover").write_bytes(data)
    (tmp_path / ".DS_Store").write_bytes(data)
    (tmp_path / "Thumbs.db").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("inside.txt", b"inside")
        archive.writestr("inside.jpg", data)
    (tmp_path / os.fsdecode(b"caf\xe9\n.png")).write_bytes(PNG)
    assert read(tmp_path) == {"text.txt": ["text"], "z.zip/inside.txt": ["inside"]}
    listed = left_out(tmp_path)
    assert [each.partition(" is ")[0] for each in listed] == [
        "Thumbs.db",
        r"caf\udce9\n.png",
        "cover",
        "z.zip/inside.jpg",
    ]


def test_text_that_cannot_be_read_is_never_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text\n")
    wide = ("text of more than a word\n" * 9).encode("utf-16-le")
    for data in ("café\n".encode("cp1252"), wide, b"x" * 5000 + b"\0"):
        (tmp_path / "b.txt").write_bytes(data)
        with pytest.raises(UserError, match=r"b\.txt: not "):
            read(tmp_path)


def test_a_packed_file_under_another_name_is_told(tmp_path: Path) -> None:
    tar = b"a.txt".ljust(257, b"\0") + b"ustar" + bytes(250)
    for name, data, what in (
        ("a.gz", b"text that a browser unpacked\n", r"a\.gz: not packed at all, but text; take \.gz off its name"),
        ("a.txt.bz2", gzip.compress(b"text"), r"not packed as \.bz2 is, but as \.gz is; let its name end in that"),
        ("a.tgz", lzma.compress(b"text"), r"not packed as \.gz is, but as \.xz is"),
        ("corpus", tar, r"corpus: not text but packed, as \.tar is; let its name end in \.tar$"),
        ("corpus.gz", gzip.compress(tar), r"not text but packed, as \.tar is; let its name end in \.tar\.gz$"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=what):
            read(tmp_path / name)
        (tmp_path / name).unlink()
    for end, data in ((".gz", b"\x1f\x8b\x08\0"), (".bz2", b"BZh91AY"), (".zst", b"\x28\xb5\x2f\xfd\x04")):
        (tmp_path / "book.txt").write_bytes(data)
        with pytest.raises(UserError, match=rf"book\.txt: not text but packed, as \{end} is; let its name"):
            read(tmp_path)


# ---- files that are not still


def test_a_pipe_and_a_device_are_told_what_to_do() -> None:
    with TemporaryDirectory() as place:
        os.mkfifo(Path(place) / "fifo")
        for path, what in ((Path(place) / "fifo", "a pipe"), (Path("/dev/null"), "a device")):
            with pytest.raises(UserError, match=rf"{what}, which can be read only once; .*cat {path} > text\.txt"):
                read(path)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.html", "a.txt.gz"])
def test_a_file_that_grows_while_it_is_read_is_told(tmp_path: Path, name: str) -> None:
    data = b'"one"\n' * 5
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(UserError, match=r"a\.\S+ changed while it was read; run this again"):
        for document in text_documents(tmp_path, None):
            if (tmp_path / name).stat().st_size < 1000:  # it ends some time
                with (tmp_path / name).open("ab") as file:
                    file.write(gzip.compress(b"x") if name.endswith("gz") else b'"more"\n')
            list(document.lines())


def test_brackets_in_names_are_letters_like_others(tmp_path: Path) -> None:
    (tmp_path / "a [1]").mkdir()
    (tmp_path / "a [1]" / "b{2}*?.txt").write_bytes(b"text\n")
    assert read(tmp_path / "a [1]") == {"b{2}*?.txt": ["text"]}
    assert len(list(text_documents(tmp_path, "a [[]1]/*.txt"))) == 1
    with pytest.raises(UserError, match=r"nothing .*a \[ that is part of a name is written \[\[\]"):
        list(text_documents(tmp_path, "a [1]/*.txt"))
