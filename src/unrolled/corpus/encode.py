"""data/text -> data/encoded (tokenizer.json, two arrays a split, counts.npy, and their digests) and the corpus report.

<split>.npy holds its token ids, <split>.documents.npy where among them each document begins.

Memory stays flat as the text grows: lines are encoded in batches and their ids appended to the file.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from unrolled.corpus.blocks import Block, Pool, blocks_of, pool_for
from unrolled.corpus.encode_file import Encoded, Encoder, encode_files
from unrolled.corpus.files.lines import BATCH
from unrolled.corpus.kept_arrays import keep_the_source, keep_what_is_known
from unrolled.corpus.repeats import share_in_training
from unrolled.corpus.spelling import Letters, Spelling
from unrolled.corpus.stretches import Pieces
from unrolled.corpus.vocabulary import build_subwords, pieces_for, spelled, tokenizer_of
from unrolled.corpus.warning_signs import warnings_of
from unrolled.ground.atomic import whole_folder, whole_text
from unrolled.ground.checksums import load, read_sealed, seal
from unrolled.ground.corpus import MANIFEST, NO_ARRAYS, SPLITS, corpus_digest
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID

MOST_FREQUENT, SHOWN = 20, 40  # types, and letters of each


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
    train = text / "train.txt"
    sizes = {s: (text / f"{s}.txt").stat().st_size for s in SPLITS}
    with pool_for(sum(sizes.values())) as pool, whole_folder(encoded) as place:
        if unit == "subword":
            tokenizer = build_subwords(
                partial(_lines, train),
                subwords=subwords,
                size=size,
                lowercase=lowercase,
                normalise=normalise,
                pool=pool,
            )
            built = f"built: {subwords}, {size=}, {lowercase=}"
        else:
            pieces = pieces_for(unit, lowercase=lowercase, tokenised=tokenised, normalise=normalise)
            counts = _counted(train, pieces, pool)
            tokenizer = tokenizer_of(counts, pieces, min_count=min_count, max_size=max_size, pool=pool, folder=place)
            built = "as published" if as_published else f"built: {min_count=}, {max_size=}, {lowercase=}"
        tokenizer.save(str(place / "tokenizer.json"))
        encoder = Encoder(tokenizer)
        of_documents = {s: load(text, f"{s}.lines.npy", lambda path: np.load(path, allow_pickle=False)) for s in SPLITS}
        files = [(text / f"{s}.txt", place / f"{s}.npy", of_documents[s].tolist()) for s in SPLITS]
        splits = dict(zip(SPLITS, encode_files(encoder, files, pool), strict=True))
        np.save(place / "counts.npy", splits["train"].counts)
        for s in SPLITS:
            np.save(place / f"{s}.documents.npy", splits[s].documents)
        keep_what_is_known(text, place, {s: split.tokens for s, split in splits.items()})
        keep_the_source(text, place, tokenizer, splits["test"].unknown.words)
        spelling, which = _spelling(tokenizer, splits["train"], unit)
        texts = {s: splits[s].text(sizes[s], spelling) for s in SPLITS}
        stated = {"corpus": facts.get("settings"), "vocabulary": vocabulary}
        kept = {"texts": {s: each._asdict() for s, each in texts.items()}, "spelling": which, "settings": stated}
        seal(place / MANIFEST, kept)
        seen = share_in_training(place / "train.npy", place / "test.npy", unit, pool)
    digests = read_sealed(encoded, MANIFEST)["files"]
    found = dict(warned) | warnings_of(
        splits["test"].unknown_share,
        tokenizer.get_vocab_size(),
        seen,
        unit,
        min_count,
        max_size,
    )
    written = {
        "digest": corpus_digest(digests),
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


def _counted(train: Path, pieces: Pieces, pool: Pool) -> Iterator[Any]:
    """How often each piece occurs, block by block."""
    with _bar(train) as bar:
        for size, counts in pool.in_order(partial(_counts, pieces), blocks_of(train)):
            bar.update(size)
            yield counts


def _counts(pieces: Pieces, block: Block) -> tuple[int, Any]:
    from unrolled.corpus.type_counts import counts_in  # here, not above: Arrow takes a tenth of a second to import

    return block.size, counts_in(block.read(), pieces)


def _lines(train: Path) -> Iterator[str]:
    with train.open(encoding="utf-8", newline="\n") as file, _bar(train) as bar:
        while lines := file.readlines(BATCH):
            bar.update(sum(map(len, lines)))
            for line in lines:
                yield line.removesuffix("\n")


def _bar(train: Path) -> "tqdm[NoReturn]":
    size = train.stat().st_size
    return tqdm(total=size, desc=f"counting {train.name}", unit="B", unit_scale=True, disable=None)


def _seen(split: Encoded, train: Encoded) -> dict[str, float]:
    """How much of a split training shows word for word: the share of its long lines that stand in ``train`` too."""
    share = None if split is train else split.long_lines.share_in(train.long_lines)
    return {} if share is None else {"long_lines_in_train": round(share, 6)}


def _most_frequent(tokenizer: Tokenizer, train: Encoded) -> str:
    order = np.argsort(-train.counts, kind="stable")[:MOST_FREQUENT]
    words = [spelled(tokenizer, int(index)) for index in order]
    shown = (word if len(word) <= SHOWN else f"{word[:SHOWN]}…" for word in words)
    return " ".join(word.replace(" ", "␣") for word in shown)
