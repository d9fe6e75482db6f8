"""What the user's own text shows of itself: whether it is tokens already, and whether it has words at all."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

LOOKED_AT = 1 << 20  # characters of the training text
BLOCK = 1 << 18  # characters
# A comma that stands alone, and what tokenisers leave in a text; against commas, and full stops that end a line,
# behind a word, as they are written.
APART = re.compile(r"(?<!\S)(?:[,.\uff0c\u3001\u3002\u060c]|@[-,.]@|<unk>)(?!\S)")
ATTACHED = re.compile(r"[^\W_](?:[,\u060c](?!\d)|[\uff0c\u3001]|[.\u3002](?=\s*$))", re.M)
FEW = 0.05  # share of commas that a tokeniser leaves at a word, as within a name

# Scripts that are written without blanks between words, with how long a word that stands apart is on average at most.
UNSPACED = (
    (
        "Chinese or Japanese",
        "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff",
        3.5,
    ),
    ("Thai", "\u0e01-\u0e4e", 9),
    ("Lao", "\u0e81-\u0ecd", 9),
    ("Burmese", "\u1000-\u103f\u1050-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f", 12),
    ("Khmer", "\u1780-\u17d3", 12),
)
RUNS = tuple((name, re.compile(f"[{letters}]+"), longest) for name, letters, longest in UNSPACED)
MANY = 0.3  # share of a text's letters
ASCII = bytes(range(128))
COMBINING = "\u0300"  # the first code point that joins another: of a text of lower ones each letter has one form


@dataclass(frozen=True)
class Evidence:
    """``apart``, ``attached``: how many marks stand as a tokeniser, and as a writer, sets them.

    ``unknown``, ``ends``: how often ``<unk>`` and ``<eos>`` stand there.

    ``without_words``: which script has so large a share of the letters, and no blanks between its words.
    """

    apart: int
    attached: int
    unknown: int
    ends: int
    without_words: tuple[str, float] | None

    @property
    def tokenised(self) -> bool:
        return self.apart > 0 and self.attached <= FEW * (self.apart + self.attached)

    def said(self) -> str:
        """What ``tokenised`` was decided by."""
        return f"{self.apart:,} commas, full stops, @-@ or <unk> stand apart, {self.attached:,} stand behind a word"


def evidence_in(text: Path) -> Evidence:
    """Of a file's first characters."""
    return evidence_of("".join(_beginning(text)))


def evidence_of(looked_at: str) -> Evidence:
    return Evidence(
        apart=len(APART.findall(looked_at)),
        attached=len(ATTACHED.findall(looked_at)),
        unknown=looked_at.count("<unk>"),
        ends=looked_at.count("<eos>"),
        without_words=_without_words(looked_at),
    )


def _beginning(text: Path) -> Iterator[str]:
    with text.open(encoding="utf-8", newline="\n") as file:
        for _ in range(LOOKED_AT // BLOCK):
            yield file.read(BLOCK)


def _without_words(text: str) -> tuple[str, float] | None:
    if text.isascii():
        return None
    letters = sum(map(str.isalpha, text))
    for name, pattern, longest in RUNS:
        runs = [len(run) for run in pattern.findall(text)]
        if sum(runs) > MANY * letters and sum(runs) > longest * len(runs):
            return name, min(1.0, sum(runs) / letters)
    return None


@dataclass
class Forms:
    """Letters that a text has in one code point (é) and those that it puts together from several (e and an accent)."""

    whole: set[str] = field(default_factory=set)
    put_together: set[str] = field(default_factory=set)

    def add(self, text: bytes) -> None:
        """Of whole lines, so that no letter is cut in two."""
        letters = set(text.translate(None, ASCII).decode())
        self.whole |= letters
        if max(letters, default="") < COMBINING or unicodedata.is_normalized("NFC", whole := text.decode()):
            return
        normal = unicodedata.normalize("NFC", whole)
        found = (letter for letter in set(normal) if letter > "\x7f")
        self.put_together.update(letter for letter in found if normal.count(letter) > whole.count(letter))

    def both(self) -> list[str]:
        """Letters that occur in two forms, which are two to a network."""
        return sorted(self.whole & self.put_together)


def forms_in(texts: Iterable[Path]) -> Forms:
    forms = Forms()
    for text in texts:
        with text.open("rb") as file:
            while block := file.read(BLOCK):
                forms.add(block + file.readline())
    return forms
