"""data/text -> data/encoded (tokenizer.json, two arrays a split, counts.npy, and their digests) and the corpus report.

<split>.npy holds its token ids, <split>.documents.npy where among them each document begins.

Memory stays flat as the text grows: lines are encoded in batches and their ids appended to the file.
"""

import io
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from tokenizers import Tokenizer
from tqdm import tqdm

from unrolled.corpus.kept_arrays import keep_the_source, keep_what_is_known
from unrolled.corpus.repeats import share_in_training
from unrolled.corpus.spelling import Letters, Spelling
from unrolled.corpus.vocabulary import (
    BATCH,
    STRETCHES,
    batches,
    build_subwords,
    build_tokenizer,
    pieces_in,
    spelled,
    stretches,
    unit_of,
)
from unrolled.corpus.warning_signs import warnings_of
from unrolled.ground.atomic import whole_folder, whole_text
from unrolled.ground.checksums import load, read_sealed, seal
from unrolled.ground.corpus import MANIFEST, NO_ARRAYS, SPLITS, Text, corpus_digest
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID

MOST_FREQUENT = 20
LONG = 40  # characters of a line that two texts do not share by chance


@dataclass(frozen=True)
class Encoded:
    """What is known of a split once it is encoded; ``counts`` int64 [V] holds how often each id occurs.

    ``characters`` are those of the text, its line ends among them; ``lines`` stand for its lines of LONG characters
    and more, a hash each (int64), as long as this process lives; ``documents`` int64 [D]: at which token each begins.
    ``unknown``: the letters of what became ``<unk>``.
    """

    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    characters: int
    lines: np.ndarray[tuple[int], np.dtype[np.int64]]
    documents: np.ndarray[tuple[int], np.dtype[np.int64]]
    unknown: Letters

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())

    @property
    def unknown_share(self) -> float:
        """Of all tokens, ``<eos>`` included."""
        return int(self.counts[UNKNOWN_ID]) / self.tokens

    def text(self, size: int, spelling: Spelling) -> Text:
        """Of ``size`` bytes."""
        return Text(self.characters, size, self.unknown.words, spelling.nats(self.unknown))

    def report(self, documents: int) -> dict[str, Any]:
        return {
            "documents": documents,
            "tokens": self.tokens,
            "characters": self.characters,
            "unknown_share": round(self.unknown_share, 6),
        }


def encode_corpus(
    text: Path,
    encoded: Path,
    report: Path,
    *,
    unit: str,
    lowercase: bool,
    min_count: int,
    max_size: int | None,
    subwords: str = "bpe",
    size: int = 0,
    tokenised: bool = False,
    own_vocabulary: bool = False,
    normalise: str | None = None,
    judged: bool = True,
    told: Mapping[str, Any] = NO_ARRAYS,
    warned: Mapping[str, str] = NO_ARRAYS,
) -> None:
    """Build the vocabulary of ``text``/train.txt, encode every split into ``encoded``, and write ``report``.

    ``tokenised``, ``own_vocabulary``: see catalogue.Source. ``normalise``: the form that the text was brought to.
    ``judged``: whether the report warns of figures that would mislead. ``told``, ``warned``: what else it says, and
    warns of.
    The folder and the report appear whole or not at all.
    Raises UserError if the vocabulary comes out empty.
    """
    vocabulary = {"unit": unit, "lowercase": lowercase, "min_count": min_count, "max_size": max_size}
    if unit == "subword":
        vocabulary = {"unit": unit, "lowercase": lowercase, "subwords": subwords, "size": size}
    as_published = own_vocabulary and unit == "word"
    if as_published:
        lowercase, min_count, max_size = False, 1, None
    facts = read_sealed(text, "documents.json")
    train = partial(_lines, text / "train.txt", "counting")
    if unit == "subword":
        tokenizer = build_subwords(train, subwords=subwords, size=size, lowercase=lowercase, normalise=normalise)
        built = f"built: {subwords}, {size=}, {lowercase=}"
    else:
        tokenizer = build_tokenizer(
            train(), unit=unit, lowercase=lowercase, tokenised=tokenised, normalise=normalise, min_count=min_count,
            max_size=max_size,
        )  # fmt: skip
        built = "as published" if as_published else f"built: {min_count=}, {max_size=}, {lowercase=}"
    with whole_folder(encoded) as place:
        tokenizer.save(str(place / "tokenizer.json"))
        ids_of = StretchIds(tokenizer)
        lines = {s: load(text, f"{s}.lines.npy", lambda path: np.load(path, allow_pickle=False)) for s in SPLITS}
        splits = {
            s: encode_file(tokenizer, text / f"{s}.txt", place / f"{s}.npy", lines[s].tolist(), ids_of) for s in SPLITS
        }
        np.save(place / "counts.npy", splits["train"].counts)
        for s in SPLITS:
            np.save(place / f"{s}.documents.npy", splits[s].documents)
        keep_what_is_known(text, place, {s: split.tokens for s, split in splits.items()})
        keep_the_source(text, place, tokenizer, splits["test"].unknown.words)
        spelling, which = _spelling(tokenizer, splits["train"], unit)
        texts = {s: splits[s].text((text / f"{s}.txt").stat().st_size, spelling) for s in SPLITS}
        stated = {"corpus": facts.get("settings"), "vocabulary": vocabulary}
        kept = {"texts": {s: each._asdict() for s, each in texts.items()}, "spelling": which, "settings": stated}
        seal(place / MANIFEST, kept)
    files = read_sealed(encoded, MANIFEST)["files"]
    found = dict(warned) | warnings_of(
        splits["test"].unknown_share,
        tokenizer.get_vocab_size(),
        share_in_training(encoded / "train.npy", encoded / "test.npy", unit),
        unit,
    )
    written = {
        "digest": corpus_digest(files),
        "settings": stated,
        **{key: value for key, value in facts.items() if key not in (*SPLITS, "files", "settings")},
        "unit": unit,
        "vocabulary": built,
        "types": tokenizer.get_vocab_size(),
        "spelling": which,
        "most_frequent": _most_frequent(tokenizer, splits["train"]),
        **told,
        **{s: splits[s].report(facts[s]["documents"]) | _seen(splits[s], splits["train"]) for s in SPLITS},
        **({"warnings": found} if found and judged else {}),
    }
    whole_text(report, json.dumps(written, indent=2, ensure_ascii=False) + "\n")


class StretchIds(dict[str, bytes]):
    """The ids of each stretch of text as an array's bytes, asked of the tokenizer where it is met for the first time.

    The end of a line is a stretch of its own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.dtype = np.dtype(np.uint16 if tokenizer.get_vocab_size() < 65536 else np.uint32)
        self._unknown: dict[str, list[str]] = {}  # of the stretches that hold some
        self._tokenizer, self._held = tokenizer, 0

    def make_room(self) -> None:
        """Start anew once STRETCHES characters are held."""
        if self._held > STRETCHES:
            self.clear()
            self._unknown.clear()
            self._held = 0

    def __missing__(self, stretch: str) -> bytes:
        self._held += len(stretch)
        ids = [END_ID] if stretch == "\n" else self._tokenizer.encode(stretch, add_special_tokens=False).ids
        if UNKNOWN_ID in ids:
            pieces = pieces_in(stretch, self._tokenizer.normalizer, self._tokenizer.pre_tokenizer)
            self._unknown[stretch] = [piece for piece, index in zip(pieces, ids, strict=True) if index == UNKNOWN_ID]
        encoded = self[stretch] = np.array(ids, dtype=self.dtype).tobytes()
        return encoded

    def unknown_in(self, met: Sequence[str]) -> Iterator[tuple[str, int]]:
        """What of these stretches, met since room was made, is ``<unk>``: words or characters, each so many times."""
        for stretch, times in Counter(filter(self._unknown.__contains__, met)).items():
            yield from ((piece, times) for piece in self._unknown[stretch])


def encode_file(
    tokenizer: Tokenizer, text: Path, path: Path, lines_of: Sequence[int], ids_of: StretchIds | None = None
) -> Encoded:
    """Encode a text file, ``<eos>`` after each line, into a 1-D .npy array.

    Its type is uint16 if the vocabulary has fewer than 65,536 types, else uint32. ``lines_of``: how many lines each of
    its documents has. ``ids_of`` is what files of the same tokenizer share.
    """
    ids_of = StretchIds(tokenizer) if ids_of is None else ids_of
    size, dtype, unit = tokenizer.get_vocab_size(), ids_of.dtype, unit_of(tokenizer)
    counts, characters, lines, unknown = np.zeros(size, dtype=np.int64), 0, array("q"), Letters()
    end = " \n " if unit == "word" else "\n"
    with path.open("wb") as file:
        file.write(_header(dtype, 0))
        counted, left, tokens, starts = iter(lines_of), 0, 0, array("q")
        for batch in batches(_lines(text, "encoding")):
            ids_of.make_room()
            parts, at = [], 0
            while at < len(batch):
                if not left:
                    left = next(counted)
                    starts.append(tokens)
                part = batch[at : at + left]
                cut = stretches(end.join([*part, ""]), unit)
                parts.append(b"".join(map(ids_of.__getitem__, cut)))
                unknown.add(ids_of.unknown_in(cut))
                tokens += len(parts[-1]) // dtype.itemsize
                at, left = at + len(part), left - len(part)
            encoded = b"".join(parts)
            file.write(encoded)
            counts += np.bincount(np.frombuffer(encoded, dtype=dtype), minlength=size)
            characters += sum(map(len, batch)) + len(batch)
            lines.extend(hash(line) for line in batch if len(line) >= LONG)
        # npy leaves room in its header for a longer first axis, so that an array can grow in its file
        file.seek(0)
        file.write(_header(dtype, int(counts.sum())))
    borders = np.array(starts, dtype=np.int64)
    return Encoded(counts, characters, np.frombuffer(lines, dtype=np.int64), borders, unknown)


def _spelling(tokenizer: Tokenizer, train: Encoded, unit: str) -> tuple[Spelling, str]:
    """How ``<unk>`` is spelled out, and, for a reader, whose letters that is counted on.

    Those are rare as what it spells is: ``<unk>`` in training or, where nothing is, seen there once.
    """
    if unit == "subword":
        return Spelling(Letters(), ends=False), "none is <unk>: subwords spell every text"
    rare, which = train.unknown, "are <unk> in training"
    if not rare.words:
        once = (index for index in np.flatnonzero(train.counts == 1).tolist() if index not in (UNKNOWN_ID, END_ID))
        rare, which = Letters.of((str(tokenizer.id_to_token(index)), 1) for index in once), "training shows once"
    return Spelling(rare, ends=unit == "word"), f"letters counted on the {unit}s that {which}: {rare.words:,}"


def _header(dtype: np.dtype[Any], length: int) -> bytes:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)})
    return header.getvalue()


def _lines(path: Path, verb: str) -> Iterator[str]:
    with (
        path.open(encoding="utf-8", newline="\n") as file,
        tqdm(total=path.stat().st_size, desc=f"{verb} {path.name}", unit="B", unit_scale=True, disable=None) as bar,
    ):
        while lines := file.readlines(BATCH):
            bar.update(sum(map(len, lines)))
            for line in lines:
                yield line.removesuffix("\n")


def _seen(split: Encoded, train: Encoded) -> dict[str, float]:
    """How much of a split training shows word for word: the share of its long lines that stand in ``train`` too."""
    if split is train or not len(split.lines):
        return {}
    return {"long_lines_in_train": round(float(np.isin(split.lines, train.lines).mean()), 6)}


def _most_frequent(tokenizer: Tokenizer, train: Encoded) -> str:
    order = np.argsort(-train.counts, kind="stable")[:MOST_FREQUENT]
    words = [spelled(tokenizer, int(index)) for index in order]
    return " ".join(word.replace(" ", "␣") for word in words)
