"""Documents -> data/text: {train,valid,test}.txt, one unit a line, and documents.json, how the split was made.

<split>.lines.npy holds how many lines each of its documents has, in their order: the borders between documents.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from unrolled.corpus.files.text_files import Document
from unrolled.corpus.split_file import SplitFile
from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import NO_ARRAYS, SPLITS
from unrolled.shell.errors import UserError

SHORTEST_CUT = 1000  # characters: of less, a split would be a few words
NEAR = 100  # characters before a border, within which a word ends
DUPLICATES = "duplicates"  # beside the splits, in counts of documents


Sink = Mapping[str, SplitFile]


def split_of(name: str, *, valid_share: float, test_share: float, seed: int) -> str:
    """The split of a document, decided by a hash of its name alone: appending documents moves none of the others."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    return "test" if place < test_share else "valid" if place < test_share + valid_share else "train"


def write_splits(
    documents: Iterable[Document],
    folder: Path,
    *,
    valid_share: float,
    test_share: float,
    seed: int,
    facts: Mapping[str, Any],
    arrays: Mapping[str, Any] = NO_ARRAYS,
    drawn: bool = False,
) -> int:
    """Write the split text of ``documents`` and what is known of it (``facts`` and the split) into ``folder``.

    ``arrays``: what else is known, by the names of files without their suffix. ``drawn``: the text is made up, so that
    by chance a document may be blank or say what another says; all are kept, as ``arrays`` are of all their tokens.

    Whole documents go to a split, never lines of one; a corpus of a single document is cut into contiguous blocks.
    A document that repeats an earlier one is left out, and counted: with a name of its own it might fall into another
    split, and the test would ask for what training showed. How many these are is returned. The folder appears whole or
    not at all. Raises UserError if a split comes out empty, or if published splits share a document.
    """
    several, stream = ([], iter(documents)) if drawn else _peek(iter(documents))
    with whole_folder(folder) as partial:
        with ExitStack() as stack:
            opened = {split: stack.enter_context((partial / f"{split}.txt").open("w+b")) for split in SPLITS}
            sink = {split: SplitFile(file) for split, file in opened.items()}
            if drawn:
                counts, how = _write_drawn(stream, sink), "as published"
            elif not several:
                raise UserError("the corpus holds no text: every document is blank")
            elif several[0].split is not None:
                counts, how = _write_published(stream, sink), "as published"
            elif len(several) > 1:
                counts = _write_hashed(stream, sink, valid_share, test_share, seed)
                how = f"by document: a hash of its name, seed {seed}"
            else:
                counts, how = _write_blocks(several[0], sink, valid_share, test_share)
        for split, file in sink.items():
            np.save(partial / f"{split}.lines.npy", np.array(file.lines, dtype=np.int64))
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        report = {**facts, "split": how, "left_out_as_duplicates": counts.get(DUPLICATES, 0)}
        seal(partial / "documents.json", report | {split: {"documents": counts[split]} for split in SPLITS})
    return counts.get(DUPLICATES, 0)


def _peek(stream: Iterator[Document]) -> tuple[list[Document], Iterator[Document]]:
    """The first two documents that are not blank, and the stream with nothing taken from it but blank ones."""
    filled = list(islice((document for document in stream if _has_text(document)), 2))
    return filled, chain(filled, stream)


def _has_text(document: Document) -> bool:
    return any(document.lines())  # a blank line is an empty text


def _write_drawn(documents: Iterable[Document], sink: Sink) -> dict[str, int]:
    counts = dict.fromkeys(SPLITS, 0)
    for document in documents:
        assert document.split is not None
        counts[document.split] += 1
        sink[document.split].add(document.lines())
    return counts


def _write_published(documents: Iterable[Document], sink: Sink) -> dict[str, int]:
    counts = dict.fromkeys(SPLITS, 0)
    splits: dict[bytes, str] = {}
    for document in documents:
        assert document.split is not None
        file = sink[document.split]
        if not (digest := file.add_document(document, with_digest=True).digest):
            file.take_back()
            continue
        if splits.setdefault(digest, document.split) != document.split:
            raise UserError(f"{document.name} is in two splits; download the corpus again")
        counts[document.split] += 1
    if empty := [split for split in SPLITS if not counts[split]]:
        raise UserError(f"the corpus as published holds no text for {' and '.join(empty)}; get it anew")
    return counts


def _write_hashed(
    documents: Iterable[Document], sink: Sink, valid_share: float, test_share: float, seed: int
) -> dict[str, int]:
    counts = dict.fromkeys([*SPLITS, DUPLICATES], 0)
    names: list[str] = []
    seen = {b""}  # a blank one is not counted
    for document in tqdm(documents, unit=" documents", disable=None):
        split = split_of(document.name, valid_share=valid_share, test_share=test_share, seed=seed)
        if (digest := sink[split].add_document(document, with_digest=True).digest) in seen:
            sink[split].take_back()
            counts[DUPLICATES] += bool(digest)
            continue
        seen.add(digest)
        counts[split] += 1
        if len(names) < 1000:
            names.append(document.name)
    if empty := [split for split in SPLITS if not counts[split]]:
        found, repeat = sum(counts[split] for split in SPLITS), counts[DUPLICATES]
        told = f"{found:,} document{'s' * (found != 1)}"
        if repeat:
            verbs = "repeats {} is" if repeat == 1 else "repeat {} are"
            told += f" beside {repeat:,} that {verbs.format('one word for word and')} left out"
        mend = _mend_of(empty, found, names, valid_share, test_share)
        raise UserError(f"no document falls into {' and '.join(empty)} ({told}; a hash of the name decides); {mend}")
    return counts


def _mend_of(empty: list[str], found: int, names: list[str], valid_share: float, test_share: float) -> str:
    """What fills the splits that are empty: of one or two documents no seed and no share does, nor a share training."""
    joined = "join the documents into one file, which is cut into blocks"
    if found == 1:
        return "give more documents, or that one alone: a single file is cut into blocks"
    if found < len(SPLITS):
        return f"give more documents, as each split takes a whole one, or {joined}"
    seed = _seed_that_fills(names, valid_share, test_share)
    share = "" if "train" in empty else "raise corpus.valid_share or corpus.test_share, or "
    return seed + share + joined


def _seed_that_fills(names: list[str], valid_share: float, test_share: float) -> str:
    for seed in range(1, 1000):
        found = {split_of(name, valid_share=valid_share, test_share=test_share, seed=seed) for name in names}
        if len(found) == len(SPLITS):
            return f"set corpus.seed to {seed}, which leaves none empty, or "
    return ""


def _write_blocks(document: Document, sink: Sink, valid_share: float, test_share: float) -> tuple[dict[str, int], str]:
    """Train, valid and test one after the other, as long as their shares of the characters; with how that was done.

    A line belongs where it begins. Where lines are so few, and so long, that a split would get none, those that a
    border falls into are cut there.
    """
    with tqdm(unit=" lines", disable=None) as bar:
        total, marks, _ = sink["train"].add_document(document, with_digest=False, bar=bar)
    lines = sink["train"].lines[0]
    borders = total * (1 - valid_share - test_share), total * (1 - test_share)
    for split, border in (("test", borders[1]), ("valid", borders[0])):
        at = bisect_right(marks, border, key=itemgetter(0)) - 1
        before, mark = marks[at]
        sink["train"].move_from(sink["train"].line_from(mark, border - before), sink[split])
    counts, how = {split: len(sink[split].lines) for split in SPLITS}, "contiguous blocks of a single document"
    if not all(counts.values()) and total >= SHORTEST_CUT:
        for file in sink.values():
            file.clear()
        counts = _fill(_cut(document.lines(), *borders), sink)
        how += ", whose lines are cut at the borders"
    if empty := [split for split in SPLITS if not counts[split]]:
        shares = "" if lines < len(SPLITS) else ", or raise corpus.valid_share and corpus.test_share"
        raise UserError(
            f"{document.name} is too short: cut into blocks, no line falls into {' and '.join(empty)}; "
            f"give more text{shares}"
        )
    return counts, how


def _fill(parts: Iterable[tuple[str, str]], sink: Sink) -> dict[str, int]:
    """``parts``: lines, each with its split."""
    counts = dict.fromkeys(SPLITS, 0)
    for split, lines in groupby(parts, key=itemgetter(0)):
        sink[split].add(line for _, line in lines)
        counts[split] = 1
    return counts


def _cut(lines: Iterable[str], valid_from: float, test_from: float) -> Iterator[tuple[str, str]]:
    """A line that a border falls into is cut there, or behind a blank where one is near before it."""
    at, splits, ahead = 0, list(SPLITS), [round(valid_from), round(test_from)]
    for line in lines:
        end = at + len(line) + 1
        while ahead and ahead[0] < end:
            border = ahead.pop(0) - at
            near = line.rfind(" ", max(0, border - NEAR), border) + 1 or border
            if first := line[:near].rstrip():
                yield splits[0], first
            splits.pop(0)
            line, at = line[near:], at + near
        if line:
            yield splits[0], line
        at = end
