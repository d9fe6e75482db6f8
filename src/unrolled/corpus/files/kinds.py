"""What a file is that is not plain text, by its name and first bytes, and which program takes out its text."""

import codecs
import json
from pathlib import PurePosixPath

from unrolled.corpus.files.encodings import MARKS, likeliest
from unrolled.corpus.files.pages import PAGES

HEAD = 4096  # bytes that tell

# Documents whose text another program takes out: by the ends of their names, what they are, and how it is done.
PANDOC = "pandoc -t plain --wrap=none {} -o {}.txt"
OFFICE = "soffice --convert-to txt {}"
DOCUMENTS = {
    ".pdf": ("a PDF", "pdftotext {} {}.txt"),
    ".djvu": ("a DjVu document", "djvutxt {} {}.txt"),
    ".epub": ("an EPUB book", PANDOC),
    ".docx": ("a Word document", PANDOC),
    ".odt": ("an OpenDocument text", PANDOC),
    ".rtf": ("a Rich Text document", PANDOC),
    ".doc": ("an old Word document", OFFICE),
    ".mobi": ("a Kindle book", "ebook-convert {} {}.txt"),
    ".azw3": ("a Kindle book", "ebook-convert {} {}.txt"),
    ".pptx": ("a presentation", OFFICE),
    ".xlsx": ("a spreadsheet", "soffice --convert-to csv {}"),
    ".xls": ("a spreadsheet", "soffice --convert-to csv {}"),
    ".json": ("one JSON value, not a row a line", "jq -c '.[]' {} > {}.jsonl"),
    ".ipynb": ("a notebook", "jupyter nbconvert --to markdown {}"),
    ".xml": ("XML", "xmllint --xpath 'string(/)' {} > {}.txt"),
    ".lzma": ("packed by LZMA", "unlzma {}"),
    ".lz4": ("packed by LZ4", "unlz4 {}"),
    ".br": ("packed by Brotli", "brotli -d {}"),
    ".z": ("packed by compress", "gzip -d {}"),
    ".7z": ("an archive of 7-Zip", "7z x {}"),
    ".rar": ("an archive of RAR", "unrar x {}"),
}
# By their first bytes, whatever their name: the same, by the end of a name that they should have had.
STARTS = {
    b"%PDF-": ".pdf",
    b"{\\rtf": ".rtf",
    b"<?xml": ".xml",
    b"]\0\0": ".lzma",
    b"\x04\x22\x4d\x18": ".lz4",
    b"\x1f\x9d": ".z",
    b"AT&TFORM": ".djvu",
    b"7z\xbc\xaf\x27\x1c": ".7z",
    b"Rar!\x1a\x07": ".rar",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ".doc",
}
PACKED = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip",
    b"PAR1": ".parquet",
}
TAR = slice(257, 262), b"ustar"  # where a .tar says that it is one
ARCHIVED = ("packed", "an archive")
PAGE = (b"<!doctype html", b"<html")  # in small letters
# A table of our own: that of the machine, which Python's mimetypes reads, takes .ts for a film on some.
PICTURES = ".png .jpg .jpeg .gif .bmp .tif .tiff .webp .ico .svg .heic .psd .eps"
SOUNDS = ".mp3 .wav .flac .ogg .oga .opus .m4a .aac .wma .aiff .mid"
FILMS = ".mp4 .mkv .avi .mov .webm .wmv .m4v .mpg .mpeg"
FONTS = ".ttf .otf .woff .woff2"
TELLING = {
    suffix: what
    for suffixes, what in ((PICTURES, "a picture"), (SOUNDS, "sound"), (FILMS, "a film"), (FONTS, "a font"))
    for suffix in suffixes.split()
}
OF_SYSTEMS = {"thumbs.db", "desktop.ini", "ehthumbs.db"}  # what file managers leave; those of others are hidden


def document_of(name: str, head: bytes, packed: str = "") -> str | None:
    """What a file with text in it is, and what takes it out, as a clause; None for what is read here.

    ``packed``: how the name goes on that it has while it is packed, as ``.gz``.
    """
    path, start = PurePosixPath(name), head.removeprefix(codecs.BOM_UTF8).lstrip()
    suffix = path.suffix.lower()
    if suffix in PAGES or suffix in TELLING:
        return None
    if start.lower().startswith(PAGE):
        return f"a page of HTML; let its name end in .html{packed}"
    if suffix not in DOCUMENTS:
        suffix = next((each for known, each in STARTS.items() if start.startswith(known)), "")
    if suffix not in DOCUMENTS or (suffix == ".json" and not start.startswith((b"[", b"{"))):
        return None
    if suffix == ".json" and _are_rows(start):
        return f"a row of JSON a line; let its name end in .jsonl{packed}"
    what, converter = DOCUMENTS[suffix]
    if suffix == ".json" and start.startswith(b"{"):
        converter = converter.replace("'.[]'", ".")
    how = "unpack" if what.startswith(ARCHIVED) else "unpack and convert" if packed else "convert"
    return f"{what}; {how} it: {converter.replace('{}.', path.stem + '.').replace('{}', path.name)}"


def _are_rows(start: bytes) -> bool:
    """Whether a line is a JSON value, and others follow it."""
    line, _, others = start.partition(b"\n")
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return bool(others.strip())


def packed_as(head: bytes) -> str | None:
    """By which end of its name a packed file is known, whatever its name is."""
    place, mark = TAR
    known = PACKED | ({head[:1]: ".tar"} if head[place] == mark else {})
    return next((suffix for start, suffix in known.items() if head.startswith(start)), None)


def no_text(name: str, head: bytes, encoding: str, *, sure: bool = False) -> str | None:
    """What a file is that holds no text at all, as pictures do; None where it may hold some.

    ``sure``: by its name, not by what may be a stray byte in a text. Bytes of UTF-16 that lack their mark hold zeros as
    a program does, and are text all the same.
    """
    if PurePosixPath(name).name.lower() in OF_SYSTEMS:
        return "of a file manager"
    if what := TELLING.get(PurePosixPath(name).suffix.lower()):
        return what
    marked = any(head.startswith(mark) for mark, _ in MARKS)
    if sure or b"\0" not in head or marked or encoding.startswith(("utf-16", "utf-32")) or likeliest(head) is not None:
        return None
    return "binary"
