"""One way of cutting text into lines, and of finding out in which encoding it is."""
# ruff: noqa: RUF001

import codecs
import io
import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.files import lines as cutting
from unrolled.corpus.files.encodings import for_iconv, likeliest, shown_in
from unrolled.corpus.files.lines import BlankLines, Reading, decoded_lines, lines_of, opened
from unrolled.settings.stated import LATER
from unrolled.shell.errors import UserError

TEXT = st.text(alphabet="aeé\u0301\u20ac\U0001f600 \n\r\t\ufeff\f\x85\u2028", max_size=60)
MODES: tuple[BlankLines, ...] = ("drop", "paragraphs", "keep")


def lines(data: bytes, reading: Reading) -> list[str]:
    return list(decoded_lines(io.BytesIO(data), "name", reading))


def expected(text: str, reading: Reading) -> list[str]:
    """By the words of the setting, over the whole text at once."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = [line.rstrip() for line in plain.removesuffix("\n").split("\n")] if plain else []
    if reading.blank_lines == "paragraphs":
        marked = "\n".join(found).strip("\n")
        found = re.sub("\n{2,}", "\n\n", marked).split("\n") if marked else []
    if reading.blank_lines == "drop":
        found = [line for line in found if line]
    return [unicodedata.normalize("NFC", line) if reading.normalise else line for line in found]


@given(TEXT, st.sampled_from(MODES), st.sampled_from([None, "NFC"]))
def test_every_setting_is_heeded_wherever_blocks_end(text: str, blank: BlankLines, form: str | None) -> None:
    reading = Reading(blank_lines=blank, normalise=form)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 2, 5, 1 << 20):
            patch.setattr(cutting, "BLOCK", size)
            assert lines(text.encode(), reading) == list(lines_of(text, reading)) == expected(text, reading)


@given(st.text(alphabet="ab \n", max_size=200), st.sampled_from(MODES))
def test_a_cut_line_adds_no_blank_one(text: str, blank: BlankLines) -> None:
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "LONGEST_LINE", 10)
        for size in (3, 1 << 20):
            patch.setattr(cutting, "BLOCK", size)
            found.append(lines(text.encode(), Reading(blank_lines=blank)))
    assert found[0] == found[1]
    assert found[0].count("") <= text.count("\n") + 1
    assert "".join(found[0]).replace(" ", "") == re.sub(r"\s", "", text)


@given(TEXT, st.sampled_from(MODES))
def test_a_text_to_be_continued_is_its_lines_and_what_follows_them(text: str, blank: BlankLines) -> None:
    reading = Reading(blank_lines=blank)
    ended, last = opened(text, reading)
    *_, after = re.split(r"[\r\n]", text.removeprefix("\ufeff"))
    assert last == after
    whole = text if last == "" else text[: len(text) - len(last)]
    assert list(ended) == list(lines_of(whole, reading))


@pytest.mark.parametrize("read", [lambda text: list(lines_of(text)), opened])
def test_a_nul_and_half_a_character_are_refused_wherever_text_comes_from(read: Callable[[str], object]) -> None:
    for text, message in (
        ("a\nb\0", "the text: not text but binary"),
        ("a\ud800", r"the text: \\ud800, in line 1, is half"),
    ):
        with pytest.raises(UserError, match=message):
            read(text)


def test_what_is_not_set_is_as_the_settings_have_it() -> None:
    reading = Reading.of_settings({"name": "text"})
    assert {key: getattr(reading, key) for key in LATER if key != "tokenised"} | {"tokenised": "auto"} == LATER


# ---- encodings

ENGLISH = "He said \u201cno\u201d \u2014 it\u2019s fine, as I told you.\n" * 9
SAMPLES = {
    "cp1252": [
        ENGLISH,
        "Les élèves étaient déjà allés à la forêt, où l\u2019été règne.\n" * 4,
        "Über die Straße läuft ein großer Bär; schöne Grüße.\n" * 4,
        "¿Qué tal? El niño comió mañana una piña.\n",
        "in a long English text there is one café and no more, whatever may come.\n" * 3,
        "naïve",
        "café",  # at its end, a decoder holds of it the last byte alone
    ],
    "cp1251": ["Все счастливые семьи похожи друг на друга.\n" * 5],
    "koi8_r": ["Все счастливые семьи похожи друг на друга, каждая несчастливая по-своему\n"],
    "cp1253": ["Η γλώσσα μου έδωσαν ελληνική, το σπίτι φτωχικό στις αμμουδιές του Ομήρου.\n" * 3],
    "cp1255": ["בראשית ברא אלהים את השמים ואת הארץ\n" * 5],
    "euc_kr": ["나는 학교에 갑니다. 오늘은 날씨가 매우 좋습니다.\n" * 5],
    "cp1250": ["Zażółć gęślą jaźń, proszę państwa, książka leży na półce.\n" * 5],
    "shift_jis": ["吾輩は猫である。名前はまだ無い。\n" * 5],
    "euc_jp": ["吾輩は猫である。名前はまだ無い。\n" * 5],
    "gb18030": ["我们都有一个家，名字叫中国。\n" * 5],
    "utf-16-le": [ENGLISH, "Все счастливые семьи.\n" * 9, "élève, été, ça où dés lâché\n" * 9],
    "utf-16-be": [ENGLISH],
    "utf-32-le": [ENGLISH],
}


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in SAMPLES.items() for text in texts])
def test_the_error_names_an_encoding_and_that_one_reads_the_text(encoding: str, text: str) -> None:
    data = b"plain\n" * (not encoding.startswith("utf")) + text.encode(encoding)
    with pytest.raises(UserError) as caught:
        lines(data, Reading.of_settings({}))
    guessed = r"in line (\d+).*most likely it is (\S+) \(“.+”\): set corpus\.encoding to (\S+)$"
    said = re.search(guessed, str(caught.value))
    assert said and said[2] == said[3], caught.value
    wide = encoding.startswith("utf")
    assert said[1] == "1" if wide else int(said[1]) == 2 + (text.split("\n", 1)[0].isascii())
    plain = [*["plain"] * (not wide), *text.rstrip("\n").split("\n")]
    assert lines(data, Reading.of_settings({"encoding": said[2]})) == plain


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1), st.sampled_from(MODES))
def test_a_byte_order_mark_decides(text: str, blank: BlankLines) -> None:
    plain = lines(text.encode(), Reading(blank_lines=blank))
    for codec in ("utf-8-sig", "utf-16", "utf-32"):
        for setting in ("utf-8", "cp1252"):
            assert lines(text.encode(codec), Reading(encoding=setting, blank_lines=blank)) == plain
    for codec in ("utf-16-le", "utf-16-be", "utf-32-be"):
        if blank == "drop":
            assert lines(("\ufeff" + text).encode(codec), Reading()) == plain


@given(st.lists(st.sampled_from(["one", "zwei", "\u00e9t\u00e9", ""]), max_size=20), st.sampled_from([3, 1 << 20]))
def test_the_line_and_the_byte_are_those_of_the_first_bad_one(before: list[str], size: int) -> None:
    start = "".join(f"{line}\n" for line in before).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "BLOCK", size)
        with pytest.raises(UserError) as caught:
            lines(start + b"ab\xffcd\n", Reading())
    assert str(caught.value).startswith(f"name: not UTF-8 at byte {len(start) + 2}, in line {len(before) + 1} ")


def test_a_codec_that_needs_a_mark_and_has_none_is_told() -> None:
    with pytest.raises(UserError, match="no byte order mark, so utf-16 may be utf-16-le or utf-16-be; name one"):
        lines("abc".encode("utf-16-le"), Reading(encoding="utf-16"))


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "shift_jis", "gb18030", "koi8_r"])
@pytest.mark.parametrize("size", [2, 5, 1 << 20])
def test_text_in_utf_8_is_read_as_that_beside_text_in_the_encoding_that_is_set(
    encoding: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one file in another encoding would have to be paid for by all others."""
    monkeypatch.setattr(cutting, "BLOCK", size)
    reading = Reading.of_settings({"encoding": encoding})
    assert lines("plain\r\nGröße, naïve, “quoted”\n".encode(), reading) == ["plain", "Größe, naïve, “quoted”"]
    text = SAMPLES[encoding][0]
    assert lines(b"plain\r\n" + text.encode(encoding), reading) == ["plain", *text.rstrip("\n").split("\n")]


def test_text_in_two_encodings_is_not_taken_for_a_third() -> None:
    with pytest.raises(UserError, match=r"byte 9, in line 2 .* so it is in two encodings; convert that part$"):
        lines("schön\n".encode() + "Größe\n".encode("latin-1"), Reading())


def test_the_mend_does_not_lead_in_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    """To set the one encoding makes what is in the other unreadable."""
    third = r"cp1252, or where other files are in ascii, convert it: iconv -f cp1252 -t utf-8$"
    with pytest.raises(UserError, match=third):
        lines(b"caf\xe9 ol\xe9\n", Reading.of_settings({"encoding": "ascii"}))
    monkeypatch.setattr(cutting, "BLOCK", 8)
    with pytest.raises(UserError, match=r"begins in UTF-8, so it is in two encodings; .* may be in cp1252$"):
        lines("Größe\n".encode() + b"caf\xe9 ol\xe9\n", Reading.of_settings({"encoding": "cp1252"}))


@pytest.mark.parametrize("encoding", [*SAMPLES, "iso8859_5", "utf-32-be"])
def test_the_name_given_to_iconv_is_one_that_python_knows_too(encoding: str) -> None:
    """Of iconv's names none has an underscore but a few, and none ends in -le."""
    name = for_iconv(encoding)
    assert codecs.lookup(name).name == codecs.lookup(encoding).name and not re.search("_|-[lb]e$", name)


def test_what_was_guessed_is_shown_for_a_person_to_judge() -> None:
    """Of few letters beyond ASCII no statistics tell encodings apart; who knows the text does."""
    sample = "once in the old town,\nŁódź, there was a well\n".encode("iso8859_2")
    assert shown_in(sample, "iso8859_2") == "“ce in the old town, Łódź, there was a we”"
    assert shown_in(sample, "cp1252") == "“ce in the old town, £ód¼, there was a we”"
    assert shown_in(b"\x1b[2J\xff", "cp1252") == "“\ufffd[2Jÿ”"  # nothing that moves a terminal's cursor


def test_zeros_that_are_no_text_are_taken_for_no_encoding() -> None:
    for data in (bytes(5000), b"a.txt" + bytes(500), b"SQLite format 3" + bytes(99)):
        assert likeliest(data) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_guessed_at_or_not(data: bytes) -> None:
    guess = likeliest(data)
    assert guess is None or "".encode(guess) is not None
