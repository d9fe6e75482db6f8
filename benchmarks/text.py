"""The part `text`: from files to ids on disk, beside a loop over words and beside scikit-learn's CountVectorizer."""

import io
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import sklearn
import tokenizers
from sklearn.feature_extraction.text import CountVectorizer

from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race
from unrolled.corpus.catalogue import facts
from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import text_documents
from unrolled.corpus.python_docs import python_documents
from unrolled.corpus.splits import split_of, write_splits
from unrolled.ground.corpus import SPLITS

TARGET = 1.0
COPIES, FILES, VARIED = 15, 6, 0.02  # copies of the documentation, files a copy, share of words that a copy varies
MIN_COUNT = 5
ALIKE = 0.005  # symbols beyond ASCII are words of their own in one and not in the other
VALID, TEST, SEED = 0.05, 0.1, 1
MARKS = re.compile(r"[^\W_]+|[^\w\s]|_")


class Words(NamedTuple):
    """A choice of what a word is: for the plain loop, for us, for CountVectorizer."""

    name: str
    of: Callable[[str], list[str]]
    tokenised: bool
    lowercase: bool
    pattern: str


WORDS = [
    Words("between white space", str.split, True, False, r"\S+"),
    Words("punctuation apart, lower case", lambda line: MARKS.findall(line.lower()), False, True, MARKS.pattern),
]


def text_section(conditions: Conditions) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as temporary, redirect_stderr(io.StringIO()):  # no progress bars
        place = Path(temporary)
        megabytes = write_text(place / "files") / 1e6
        yield _introduction(conditions, megabytes)
        speeds = "ours MB/s", "plain MB/s", "CountVectorizer MB/s"
        yield from columns("words", *speeds, "ours / plain", "target", "met", "ours / CountVectorizer")
        for words in WORDS:
            taken = race(contestants(place, words), rounds=conditions.few, clock=conditions.clock, warm_up=1)
            check_alike(place, words)
            ours, plain, counts = (megabytes / taken[who].median for who in ("ours", "plain", "counts"))
            measured = f"{ours:.1f} | {plain:.1f} | {counts:.1f}"
            yield row(words.name, measured, against(ours / plain, TARGET), f"{ours / counts:.2f}")


def _introduction(conditions: Conditions, megabytes: float) -> str:
    return paragraph(
        conditions.sentence(conditions.few),
        f"tokenizers {tokenizers.__version__}, scikit-learn {sklearn.__version__}. {megabytes:.0f} MB of English in",
        f"{COPIES * FILES} files: {COPIES} copies of `python-docs`, lines shuffled, {VARIED:.0%} of the words varied.",
        "Ours: what the stages `preprocess` and `vocabulary` call, without their start-up. Plain: a loop that counts",
        f"with a Counter, cuts at {MIN_COUNT}, maps to ids and saves them; the same splits, and as many tokens,",
        f"types and unknown words, within {ALIKE:.1%}. CountVectorizer yields counts a file: no sequences, no cut by",
        "count, nothing saved.",
    )


def write_text(folder: Path) -> int:
    """Some tens of MB of English, the same each time and with as many rare words as real text; its size in bytes."""
    folder.mkdir()
    lines = [line for document in python_documents(folder, None) for line in document.lines()]
    chance = random.Random(1)
    for copy in range(COPIES):
        chance.shuffle(lines)
        for part in range(FILES):
            varied = (_varied(line, copy, chance) for line in lines[part::FILES])
            (folder / f"{copy:02}-{part}.txt").write_text("\n".join(varied) + "\n", encoding="utf-8")
    return sum(path.stat().st_size for path in folder.iterdir())


def _varied(line: str, copy: int, chance: random.Random) -> str:
    return " ".join(f"{word}{copy}" if chance.random() < VARIED else word for word in line.split())


def contestants(place: Path, words: Words) -> dict[str, Callable[[], object]]:
    files = sorted((place / "files").iterdir())
    vectoriser = CountVectorizer(input="filename", lowercase=words.lowercase, token_pattern=words.pattern)
    return {
        "ours": lambda: our_files(place / "files", place, words),
        "plain": lambda: plain_files(files, place / "plain", words.of),
        "counts": lambda: vectoriser.fit_transform(files),
    }


def our_files(files: Path, place: Path, words: Words) -> None:
    """What stages/preprocess.py and stages/vocabulary.py call for a folder of text."""
    write_splits(
        text_documents(files, None),
        place / "text",
        valid_share=VALID,
        test_share=TEST,
        seed=SEED,
        facts=facts("text"),
    )
    encode_corpus(
        place / "text",
        place / "encoded",
        place / "corpus.json",
        unit="word",
        lowercase=words.lowercase,
        min_count=MIN_COUNT,
        max_size=None,
        tokenised=words.tokenised,
    )


def plain_files(files: list[Path], folder: Path, words_of: Callable[[str], list[str]]) -> None:
    """What everyone writes."""
    folder.mkdir(exist_ok=True)
    splits: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in files:
        splits[split_of(path.name, valid_share=VALID, test_share=TEST, seed=SEED)].append(path)
    counts: Counter[str] = Counter()
    for path in splits["train"]:
        with path.open(encoding="utf-8") as file:
            for line in file:
                counts.update(words_of(line))
    kept = ["<unk>", "<eos>", *(word for word, count in counts.most_common() if count >= MIN_COUNT)]
    index = {word: number for number, word in enumerate(kept)}
    for split, paths in splits.items():
        ids: list[int] = []
        for path in paths:
            with path.open(encoding="utf-8") as file:
                for line in file:
                    ids += [index.get(word, 0) for word in words_of(line)]
                    ids.append(1)
        np.save(folder / f"{split}.npy", np.array(ids, dtype=np.int32))
    (folder / "vocabulary.json").write_text(json.dumps(kept), encoding="utf-8")


def check_alike(place: Path, words: Words) -> None:
    """That both sides did the same work; a race between different works says nothing."""

    def sums(folder: Path) -> list[int]:
        train, *others = (np.load(folder / f"{split}.npy") for split in SPLITS)
        by_split = ((len(ids), int((ids == 0).sum())) for ids in (train, *others))
        return [int(train.max()) + 1, *chain.from_iterable(by_split)]

    of_ours, of_plain = sums(place / "encoded"), sums(place / "plain")
    if not np.allclose(of_ours, of_plain, rtol=ALIKE):
        raise click.ClickException(
            f"words {words.name}: types, then tokens and unknown of each split, are {of_ours} ours, {of_plain} plain"
        )
