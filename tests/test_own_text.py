"""What the user's own text shows of itself, from the resolved settings to the corpus report."""
# ruff: noqa: RUF001

import json
import random
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus import plain_text, repeats
from unrolled.corpus.catalogue import MADE_UP
from unrolled.corpus.evidence import Forms, evidence_of
from unrolled.corpus.repeats import STRETCH, share_in_training
from unrolled.corpus.vocabulary import build_tokenizer, load_tokenizer
from unrolled.corpus.warning_signs import warnings_of
from unrolled.ground.corpus import SPLITS
from unrolled.settings.stated import stated
from unrolled.shell.errors import UserError

WORDS = [f"{first}{second}" for first in "bdfglmnprst" for second in ("a", "en", "ilo", "ost", "ume", "ysk")]


def made(place: Path, text: str, unit: str = "word", **settings: Any) -> dict[str, Any]:
    """The corpus report of a text, through the two stages."""
    (place / "mine.txt").write_text(text, encoding="utf-8")
    corpus = {"name": "text", "path": str(place / "mine.txt"), "pattern": None, "source": None, "seed": 1}
    corpus |= {"valid_share": 0.1, "test_share": 0.2} | settings
    vocabulary = {"unit": unit, "lowercase": False, "min_count": 1, "max_size": None}
    plain_text.read(stated(corpus), place, place / "text")
    resolved = {"corpus": stated(corpus), "vocabulary": vocabulary}
    plain_text.encode(resolved, place / "text", place / "encoded", place / "corpus.json")
    report: dict[str, Any] = json.loads((place / "corpus.json").read_text(encoding="utf-8"))
    return report


def sentences(n: int, seed: int = 1) -> list[list[str]]:
    chance = random.Random(seed)
    return [chance.choices(WORDS, k=chance.randint(5, 15)) for _ in range(n)]


# ---- tokenised or not

LEFT_BY_TOKENISERS: dict[str, list[str]] = {
    "commas apart": [",", "."],
    "WikiText": ["@-@", "@,@", "<unk>", "."],
    "PTB": ["<unk>", "N"],
    "UD, Chinese": ["，", "。"],
}


@pytest.mark.parametrize("kind", LEFT_BY_TOKENISERS)
@pytest.mark.parametrize("blank", ["drop", "keep"])
def test_text_that_is_tokens_is_not_cut_again(tmp_path: Path, kind: str, blank: str) -> None:
    chance = random.Random(kind)
    lines = [[word for each in line for word in (each, *chance.choices([[], [mark]], [5, 1])[0])]
             for line in sentences(300) for mark in chance.choices(LEFT_BY_TOKENISERS[kind])]  # fmt: skip
    text = "".join(f" {' '.join(line)} \n" + " \n" * (number % 3 == 0) for number, line in enumerate(lines))
    report = made(tmp_path, text, blank_lines=blank)
    words = sum(map(len, lines)) + len(lines) + (100 if blank == "keep" else 0)
    assert sum(report[split]["tokens"] for split in ("train", "valid", "test")) == words
    assert "as the text shows (corpus.tokenised: auto)" in report["words"]
    assert ("kept" if blank == "keep" else "left out") in report["reading"]["blank_lines"]
    assert load_tokenizer(tmp_path / "encoded/tokenizer.json").encode("a<unk>b can't").tokens[:2] == ["<unk>", "<unk>"]


@pytest.mark.parametrize("mark", [", ", " <unk>, ", " -- ", " ; ", "'s "])
def test_text_as_it_is_written_is_cut_at_its_marks(tmp_path: Path, mark: str) -> None:
    text = "".join(f"{' '.join(line[:2])}{mark}{', '.join(line[2:])}.\n" for line in sentences(200))
    report = made(tmp_path, text)
    assert report["words"].startswith("cut at white space and at punctuation marks, as the text shows")
    assert made(tmp_path, text, tokenised=True)["words"].startswith("taken as they stand")
    assert ("cut_unknown" in report.get("warnings", {})) == ("<unk>" in mark)
    count = sum(report[split]["tokens"] for split in ("train", "valid", "test"))
    tokenizer = build_tokenizer(text.split("\n"), unit="word")
    assert count == sum(len(tokenizer.encode(line).ids) for line in text.split("\n")[:-1])


def test_ends_that_the_text_has_of_its_own_are_warned_of(tmp_path: Path) -> None:
    text = "".join(f"{' '.join(line)} , <unk> <eos>\n" for line in sentences(100))
    assert "each line ends with another" in made(tmp_path, text)["warnings"]["ends"]


# ---- scripts without blanks between words

UNSPACED = {
    "Chinese or Japanese": ("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏", (1, 2), "。"),
    "Thai": ("กขคงจฉชซญดตถทธนบปผพ", (3, 5), ""),
    "Lao": ("ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມ", (3, 5), ""),
    "Khmer": ("កខគឃងចឆជឈញដឋឌឍណតថទធន", (3, 6), ""),
    "Burmese": ("ကခဂဃငစဆဇဈညဋဌဍဎဏတထဒဓန", (3, 6), ""),
}


@pytest.mark.parametrize("script", UNSPACED)
@pytest.mark.parametrize("run", [5, 12, 30])
def test_the_unit_word_does_not_fit_text_without_blanks(tmp_path: Path, script: str, run: int) -> None:
    letters, sizes, end = UNSPACED[script]
    chance = random.Random(run)
    run = run if end else 3 * run
    lines = ["，".join("".join(chance.choices(letters, k=run)) for _ in range(3)) + f" NASA{end}" for _ in range(100)]
    with pytest.raises(UserError, match=rf"does not fit .* {script}, .*set vocabulary\.unit=character"):
        made(tmp_path, "\n".join(lines))
    assert not (tmp_path / "encoded").exists()
    assert made(tmp_path, "\n".join(lines), unit="character")["types"] <= len(letters) + 8
    words = ["".join(chance.choices(letters, k=chance.randint(*sizes))) for _ in range(200)]
    apart = "\n".join(" ".join(chance.choices(words, k=12)) for _ in range(200))
    assert made(tmp_path, apart)["types"] <= 202  # words that do stand apart


@given(st.text(max_size=300))
def test_any_text_shows_something(text: str) -> None:
    evidence = evidence_of(text)
    assert evidence.apart >= 0 and (evidence.without_words is None or 0.3 < evidence.without_words[1] <= 1)


# ---- what makes figures mislead


def warned(place: Path, text: str, **settings: Any) -> set[str]:
    return set(made(place, text, **settings).get("warnings", {}))


def test_ordinary_text_is_not_warned_of(tmp_path: Path) -> None:
    text = "".join(f"{' '.join(line)}.\n" for line in sentences(300))
    assert warned(tmp_path, text) == warned(tmp_path, text, unit="character") == set()


@pytest.mark.parametrize(
    ("unit", "min_count", "max_size", "mend"),
    [
        ("word", 1, None, "give more text, or set vocabulary.unit=subword"),
        ("word", 5, None, "lower vocabulary.min_count, give more text, or set vocabulary.unit=subword"),
        ("word", 1, 99, "raise vocabulary.max_size, give more text, or set vocabulary.unit=subword"),
        ("character", 2, 99, "lower vocabulary.min_count, raise vocabulary.max_size, or give more text"),
        ("character", 1, None, "give more text"),
    ],
)
def test_no_setting_that_hides_nothing_is_offered(unit: str, min_count: int, max_size: int | None, mend: str) -> None:
    told = warnings_of(0.5, 100, None, unit, min_count, max_size)
    assert told == {"unknown": f"50% of the test split is <unk>, which lowers perplexity; {mend}"}


def test_of_a_long_word_the_report_shows_the_beginning(tmp_path: Path) -> None:
    text = f"{'ab' * 20} {'x' * 41}\n" * 50
    assert made(tmp_path, text)["most_frequent"].split() == ["<eos>", "ab" * 20, "x" * 40 + "…", "<unk>"]


def test_many_unknown_words_few_types_and_a_test_that_repeats_training_are_warned_of(tmp_path: Path) -> None:
    lines = [f"{' '.join(line)}\n" for line in sentences(300)]
    rare = "".join(
        f"{line[:-1]} rare{number} rarer{number} rarest{number} too{number}\n" for number, line in enumerate(lines)
    )
    assert warned(tmp_path, rare) == {"unknown"}
    few = "".join(" ".join(random.Random(n).choices("abcdefghij", k=9)) + "\n" for n in range(300))
    assert warned(tmp_path, few) == {"few_types"}
    assert warned(tmp_path, few, unit="character") == set()
    for again in ("".join(lines[:60]) * 5, "".join(lines).replace("\n", " ")[:2000] * 6):
        for unit in ("word", "character"):
            assert warned(tmp_path, again, unit=unit) == {"seen_in_training"}


@pytest.mark.parametrize(
    ("twice", "said"), [(0, None), (1, "1 document that repeats"), (30, "30 documents, or rows, each of which repeats")]
)
def test_rows_that_repeat_another_are_said_to_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], twice: int, said: str | None
) -> None:
    rows = [f"row {number}\n" for number in range(60)]
    (tmp_path / "rows.csv").write_text("".join(["text\n", *rows, *(rows * 2)[7 : 7 + twice]]))
    corpus = {"name": "text", "source": None, "path": str(tmp_path / "rows.csv"), "pattern": None, "seed": 1}
    plain_text.read(corpus | {"valid_share": 0.2, "test_share": 0.3}, tmp_path, tmp_path / "text")
    line = f"left out: {said} another word for word\n" if said else ""
    assert capsys.readouterr().err == line
    assert sum((tmp_path / "text" / f"{split}.txt").read_text().count("\n") for split in SPLITS) == 60


@pytest.mark.parametrize("name", ["text", "ptb", *MADE_UP])
def test_text_that_is_made_up_is_as_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its few words are all that it is to have, and what repeats itself is what is measured."""
    judged: list[bool] = []
    monkeypatch.setattr(plain_text, "encode_corpus", lambda *_, **options: judged.append(options["judged"]))
    (tmp_path / "train.txt").write_text("a\n")
    for split in ("valid", "test"):
        (tmp_path / f"{split}.txt").touch()
    vocabulary = {"unit": "word", "lowercase": False, "min_count": 1, "max_size": None}
    plain_text.encode({"corpus": {"name": name}, "vocabulary": vocabulary}, tmp_path, tmp_path, tmp_path)
    assert judged == [name not in MADE_UP]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["word", "character"]), st.integers(1, 500))
def test_the_share_that_training_shows_is_counted(seed: int, unit: str, block: int) -> None:
    chance, length = np.random.default_rng(seed), STRETCH[unit]
    train, test = chance.integers(0, 2, 400), chance.integers(0, 2, 200)
    at, size = chance.integers(0, 100), chance.integers(0, 100)
    test[at : at + size] = train[at + 50 : at + 50 + size]
    train, test = train.astype(np.uint16), test.astype(np.uint16)[: chance.integers(1, 200)]
    stretches = {tuple(train[i : i + length]) for i in range(len(train) - length + 1)}
    asked = [tuple(test[i : i + length]) in stretches for i in range(len(test) - length + 1)]
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "BLOCK", block)
        for name, ids in (("train", train), ("test", test)):
            np.save(Path(place) / f"{name}.npy", ids)
        found = share_in_training(Path(place) / "train.npy", Path(place) / "test.npy", unit)
    assert found == (pytest.approx(np.mean(asked)) if asked else None)


# ---- letters in two forms


@given(st.lists(st.sampled_from(["é", "e\u0301", "e", "ü", "u\u0308", "ñ", "가", "\u1100\u1161", "x", "\n"])))
def test_letters_in_two_forms_are_found(letters: list[str]) -> None:
    text = "".join(letters)
    forms = Forms()
    for line in text.split("\n"):
        forms.add(line.encode())
    whole = {each for each in letters if len(each) == 1}
    apart = {unicodedata.normalize("NFC", each) for each in letters if len(each) == 2}
    if "\u1161" not in text and "가" not in text:
        assert set(forms.both()) == whole & apart


@pytest.mark.parametrize("unit", ["word", "character"])
def test_one_form_by_setting_for_all_that_is_read(
    tmp_path: Path, unit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["e\u0301te\u0301", "été", *WORDS]
    text = "".join(" ".join(random.Random(n).choices(words, k=9)) + "\n" for n in range(300))
    report = made(tmp_path, text, unit=unit)
    assert "é occur in two forms" in report["letters"] and "corpus.normalise=NFC" in capsys.readouterr().err
    one = made(tmp_path, text, unit=unit, normalise="NFC")
    assert one["types"] == report["types"] - 1 and "each in one form, NFC" in one["letters"]
    tokenizer = load_tokenizer(tmp_path / "encoded/tokenizer.json")
    assert tokenizer.encode("e\u0301te\u0301").ids == tokenizer.encode("été").ids
    assert 0 not in tokenizer.encode("e\u0301te\u0301").ids


# ---- one long line


@pytest.mark.parametrize("characters", [1500, 10_000, 100_000])
@pytest.mark.parametrize("kind", ["words", "no blanks", "two lines", "three lines"])
def test_few_long_lines_are_cut_into_blocks_of_characters(tmp_path: Path, characters: int, kind: str) -> None:
    words = " ".join(word for line in sentences(characters // 20, seed=characters) for word in line)[:characters]
    text = words.replace(" ", "") if kind == "no blanks" else words
    if "lines" in kind:
        text = text.replace(" ", "\n", 1 + (kind == "three lines"))
    report = made(tmp_path, text, unit="character")
    assert report["split"].startswith("contiguous blocks of a single document, whose lines are cut at the borders")
    parts = [(tmp_path / "text" / f"{split}.txt").read_text() for split in ("train", "valid", "test")]
    assert "".join("".join(parts).split()) == "".join(text.split())
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert len(part) == pytest.approx(share * len(text), abs=250)
    if kind != "no blanks":
        assert " ".join(" ".join(parts).split()) == " ".join(text.split())  # no word is cut


def test_a_few_words_are_too_short_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.txt is too short"):
        made(tmp_path, "a few words " * 20)
