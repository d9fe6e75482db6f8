"""A large file prepared by us, and by what everyone writes; run in a process of its own, which tells what that took."""

import json
import re
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import ByteLevelBPETokenizer

from unrolled.corpus.catalogue import facts
from unrolled.corpus.encode import encode_corpus
from unrolled.corpus.files.text_files import text_documents
from unrolled.corpus.splits import write_splits
from unrolled.ground.corpus import SPLITS

MIN_COUNT, VALID, TEST, SUBWORDS = 5, 0.05, 0.1, 8000
MARKS = re.compile(r"[^\W_]+|[^\w\s]|_")
UNITS: dict[str, dict[str, Any]] = {
    "words between blanks": {"unit": "word", "lowercase": False, "tokenised": True},
    "words": {"unit": "word", "lowercase": True},
    "characters": {"unit": "character", "lowercase": False},
    "subwords": {"unit": "subword", "lowercase": False, "size": SUBWORDS},
}
CUTS: dict[str, Callable[[str], Iterable[str]]] = {
    "words between blanks": str.split,
    "words": lambda line: MARKS.findall(line.lower()),
    "characters": lambda line: line.rstrip("\n"),
}


def ours(unit: str, file: Path, folder: Path) -> None:
    text = folder / "text"
    of_text = facts("text")
    write_splits(text_documents(file, None), text, valid_share=VALID, test_share=TEST, seed=1, facts=of_text)
    options = {"min_count": MIN_COUNT, "max_size": None, **UNITS[unit]}
    encode_corpus(text, folder / "encoded", folder / "corpus.json", **options)


def plain(unit: str, file: Path, folder: Path) -> None:
    borders = [share * file.stat().st_size for share in (1 - VALID - TEST, 1 - TEST)]
    ids = {split: array("I") for split in SPLITS}
    encode = _subwords(file, borders[0]) if unit == "subwords" else _looked_up(CUTS[unit], file, borders[0])
    for split, lines in _batches(file, borders):
        for line in encode(lines):
            ids[split].extend(line)
            ids[split].append(1)
    for split, found in ids.items():
        np.save(folder / f"{split}.npy", np.array(found, dtype=np.uint32))


def _batches(file: Path, borders: list[float]) -> Iterator[tuple[str, list[str]]]:
    at = 0
    with file.open(encoding="utf-8") as text:
        while lines := text.readlines(1 << 17):
            yield SPLITS[sum(at >= border for border in borders)], lines
            at += sum(map(len, lines))


def _looked_up(
    cut: Callable[[str], Iterable[str]], file: Path, end: float
) -> Callable[[list[str]], Iterator[list[int]]]:
    counts: Counter[str] = Counter()
    for split, lines in _batches(file, [end]):
        if split == "train":
            for line in lines:
                counts.update(cut(line))
    kept = ["<unk>", "<eos>", *(word for word, count in counts.most_common() if count >= MIN_COUNT)]
    index = {word: number for number, word in enumerate(kept)}
    return lambda lines: ([index.get(word, 0) for word in cut(line)] for line in lines)


def _subwords(file: Path, end: float) -> Callable[[list[str]], Iterator[list[int]]]:
    tokenizer = ByteLevelBPETokenizer()
    train = (line for split, lines in _batches(file, [end]) if split == "train" for line in lines)
    tokenizer.train_from_iterator(train, vocab_size=SUBWORDS, special_tokens=["<unk>", "<eos>"], show_progress=False)
    return lambda lines: (each.ids for each in tokenizer.encode_batch(lines))


def peak() -> float:
    """MB; what getrusage says begins with that of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """In a process of its own: do it, and say what it took."""
    who, unit, file, folder = sys.argv[1:]
    start = time.process_time()
    {"ours": ours, "plain": plain}[who](unit, Path(file), Path(folder))
    print(json.dumps([time.process_time() - start, peak()]))


if __name__ == "__main__":
    main()
