"""In which encoding bytes are text: what their first bytes say, and what those most likely are that do not fit."""

import codecs
import re

from charset_normalizer import from_bytes

# UTF-32 first: its mark begins as that of UTF-16 does.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_MARK = 4
FEWEST_ZEROS = 8  # bytes
SHOWN = 20  # characters on either side
SAMPLE = 1 << 16  # bytes that a guess is made on
# What Windows-1252 has of languages of the west, and no other text that is read with it by mistake.
LETTERS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŸŒ"
QUOTES = "\u201a\u201e\u2018\u2019\u201c\u201d\u2039\u203a«»"
SIGNS = "\u20ac\u2026\u2022\u2013\u2014°§©®\u2122\xb4\xb7¡¿£½¼"
WESTERN = {*LETTERS, *QUOTES, *SIGNS}
COMMON_CYRILLIC = frozenset("\u043e\u0435\u0430\u0438\u043d\u0442\u0440\u0441\u0432\u043b")  # in small letters
FEW = 0.3  # share of letters beyond ASCII that no text of the west reaches
PARTS_OF_WORDS = re.compile(r"\w[¡¿«»°§£½¼\u201a\u201e\u2022]\w|£[^\W\d]")  # what stands between words, within one
NAMES = ("shift_jis", "euc_jp", "euc_kr", "gb18030", "big5")  # the usual ones among codecs that read the same


def codec_of(start: bytes, encoding: str) -> str:
    """Python's name of the codec for bytes that begin so: a byte order mark decides, whatever the setting says."""
    marked = next((codec for mark, codec in MARKS if start.startswith(mark)), None)
    return marked or encoding


def in_utf_8(block: bytes) -> bool | None:
    """Whether a block with letters beyond ASCII is in UTF-8, as text in no other encoding is by chance.

    None where it has but the beginning of one such letter, its last.
    """
    try:
        return not codecs.getincrementaldecoder("utf-8")().decode(block).isascii() or None
    except UnicodeDecodeError:
        return False


def is_utf_8(encoding: str) -> bool:
    """Under any of its names, with a mark or without."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def with_ascii(codec: str) -> bool:
    """Whether ASCII is the same in an encoding, so that text without other letters does not tell it from UTF-8."""
    try:
        return all(bytes([byte]).decode(codec) == chr(byte) for byte in range(128))
    except UnicodeError:
        return False


def for_iconv(encoding: str) -> str:
    """The name that iconv has for a codec of Python's."""
    return re.sub("-(le|be)$", r"\1", encoding.replace("_", "-"))


def likeliest(sample: bytes) -> str | None:
    """The encoding that these bytes, which are not in the one that was expected, are in; None where nothing is likely.

    Of Western European text a few letters beyond ASCII say too little to tell its encodings apart by their statistics:
    where all are letters and quotation marks of Windows-1252, as most such files have, it is that.
    """
    sample = sample[:SAMPLE]
    wide = _wide(sample)
    if wide is not None:
        return wide
    if b"\0" in sample:
        return None
    if _western(sample):
        return "cp1252"
    if own := _japanese(sample) or _cyrillic(sample):
        return own
    best = from_bytes(sample).best()
    if best is None or best.encoding in ("utf_8", "ascii"):
        return None
    return next((name for name in NAMES if name in best.could_be_from_charset), best.encoding)


def shown_in(sample: bytes, encoding: str) -> str:
    """How bytes read in an encoding that was guessed, around the first letter beyond ASCII, for a person to judge."""
    text = " ".join(sample[:SAMPLE].decode(encoding, "replace").split())
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    at = next((index for index, letter in enumerate(text) if letter > "\x7f"), 0)
    return f"“{text[max(0, at - SHOWN) : at + SHOWN].strip()}”"


def _wide(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, by where the zeros stand where ASCII does, if only as blanks and line ends."""
    zeros = [sample[at::4].count(0) for at in range(4)]
    if sum(zeros) < FEWEST_ZEROS:
        return None
    if sum(zeros) > 0.6 * len(sample):
        name = "utf-32-le" if zeros[3] >= zeros[0] else "utf-32-be"
        return name if _reads_as_text(sample[: len(sample) // 4 * 4].decode(name, "replace")) else None
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    name = "utf-16-le" if odd > even else "utf-16-be"
    text = sample[: len(sample) // 2 * 2].decode(name, "replace")
    narrow = sum(letter < "\x80" or letter in WESTERN for letter in text)
    few = max(even, odd) < len(sample) / 20 or min(even, odd) > max(even, odd) / 10
    return None if few or not _reads_as_text(text) or narrow < 0.9 * max(even, odd) else name


def _reads_as_text(text: str) -> bool:
    odd = sum(not (letter.isprintable() or letter in "\n\r\t\f\ufeff") for letter in text)
    return odd <= len(text) / 100


def _japanese(sample: bytes) -> str | None:
    """Hiragana make up half of any Japanese text, and nothing of one that is read with the other codec."""
    for name in ("shift_jis", "euc_jp"):
        beyond = [letter for letter in sample.decode(name, "replace") if letter > "\x7f"]
        if sum("\u3040" < letter < "\u30a0" for letter in beyond) > FEW * len(beyond):
            return name
    return None


def _cyrillic(sample: bytes) -> str | None:
    """Its ten commonest letters are two thirds of a text; of other scripts, read as Cyrillic, they are a third."""
    for name in ("cp1251", "koi8_r", "iso8859_5", "cp866"):
        beyond = [letter for letter in sample.decode(name, "replace") if letter > "\x7f"]
        if sum(map(COMMON_CYRILLIC.__contains__, beyond)) > 0.55 * len(beyond):
            return name
    return None


def _western(sample: bytes) -> bool:
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = [letter for letter in text if letter > "\x7f" and letter != "\xa0"]
    letters = sum(map(str.isalpha, text))
    few = sum(map(str.isalpha, beyond)) <= FEW * letters
    return few and WESTERN.issuperset(beyond) and not PARTS_OF_WORDS.search(text)
