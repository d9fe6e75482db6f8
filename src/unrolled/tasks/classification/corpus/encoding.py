"""data/text -> data/encoded, what training, scoring and baselines read, and the corpus report.

    <split>.npy             the ids of all texts, one after another     <split>.documents.npy   where each begins
    <split>.labels.npy      of each text, a place in names.json         <split>.written.npy     the same words, spelled
    names.json              "labels", in their order; "unit", word or character
    tokenizer.json          cuts long texts as the splits were cut

``written`` is UTF-8, a line a word (or character), an empty line after each text: baselines count on it the words that
the vocabulary has no place for, and tables quote it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from tokenizers import Tokenizer

from unrolled.corpus.encoded import write_encoded
from unrolled.corpus.vocabulary import build_tokenizer, pieces_in
from unrolled.ground.atomic import whole_text
from unrolled.ground.checksums import read_sealed
from unrolled.ground.corpus import SPLITS, Split
from unrolled.ground.special_tokens import UNKNOWN_ID

MOSTLY = 0.5  # of the words unknown: hardly anything is left to tell labels by
SIDES = {"first": "right", "last": "left"}  # which end a tokenizer cuts off


class _Read(NamedTuple):
    """A split as it is read: of each text the words (or characters) that are kept, its label, its words in all."""

    words: list[list[str]]
    labels: list[str]
    whole: list[int]

    @property
    def cut_share(self) -> float:
        return 1 - sum(map(len, self.words)) / sum(self.whole)


def encode(settings: Mapping[str, Any], text: Path, encoded: Path, report: Path) -> None:
    """Build the vocabulary of the training split alone, cut long texts, and encode all; see `Data.encode`.

    Prints the share of the words that is cut.
    """
    facts, own = read_sealed(text, "documents.json"), dict(settings["vocabulary"])
    read = {split: _read(text / f"{split}.jsonl", own, facts["tokenised"]) for split in SPLITS}
    tokenizer = _tokenizer(read["train"].words, own, facts["tokenised"])
    labels = sorted(facts["labels"])
    splits = {name: _split(tokenizer.get_vocab(), each, labels) for name, each in read.items()}
    counts = np.bincount(splits["train"].tokens, minlength=tokenizer.get_vocab_size()).astype(np.int64)
    names, files = {"labels": labels, "unit": [own["unit"]]}, {"tokenizer.json": tokenizer.to_str(pretty=True)}
    stated = {"corpus": facts["settings"], "vocabulary": own}
    digest = write_encoded(encoded, splits, counts, names=names, files=files, settings=stated)
    if own["max_tokens"] is not None:
        shares = ", ".join(f"{each.cut_share:.1%} of {name}" for name, each in read.items())
        click.echo(f"cut, with max_tokens {own['max_tokens']} and keep {own['keep']}: {shares}", err=True)
    unknown = _facts_of(splits["valid"], read["valid"])["unknown_share"]
    if unknown > MOSTLY and own["unit"] == "word":
        click.echo(
            f"warning: {unknown:.1%} of the words of valid are <unk>; vocabulary.unit character reads letters, as of "
            "names, and a lower vocabulary.min_count keeps more words",
            err=True,
        )
    trained_on = set(map(tuple, read["train"].words))
    written = {
        "digest": digest,
        "settings": stated,
        **{key: facts[key] for key in ("corpus", "split", "labels")},
        "unit": own["unit"],
        "types": len(counts),
        **{name: _facts_of(splits[name], read[name]) for name in SPLITS},
        "texts_that_training_holds_too": {
            name: sum(tuple(words) in trained_on for words in read[name].words) for name in SPLITS[1:]
        },
    }
    whole_text(report, json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def _read(path: Path, own: Mapping[str, Any], tokenised: bool) -> _Read:
    """Of each line its words, cut."""
    like = build_tokenizer(["a"], unit=own["unit"], lowercase=own["lowercase"], tokenised=tokenised)
    most, read = own["max_tokens"], _Read([], [], [])
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        row = json.loads(line)
        words = list(pieces_in(row["text"], like.normalizer, like.pre_tokenizer))
        read.whole.append(len(words))
        read.words.append(words if most is None else words[:most] if own["keep"] == "first" else words[-most:])
        read.labels.append(row["label"])
    return read


def _tokenizer(texts: Sequence[Sequence[str]], own: Mapping[str, Any], tokenised: bool) -> Tokenizer:
    join = " " if own["unit"] == "word" else ""
    build = {name: own[name] for name in ("unit", "lowercase", "min_count", "max_size")}
    tokenizer = build_tokenizer((join.join(words) for words in texts), **build, tokenised=tokenised)
    if own["max_tokens"] is not None:
        tokenizer.enable_truncation(own["max_tokens"], direction=SIDES[own["keep"]])
    return tokenizer


def _split(vocabulary: Mapping[str, int], read: _Read, labels: list[str]) -> Split:
    ids = [vocabulary.get(word, UNKNOWN_ID) for words in read.words for word in words]
    starts = np.cumsum([0, *map(len, read.words[:-1])])
    place = {label: index for index, label in enumerate(labels)}
    written = "".join(f"{word}\n" for words in read.words for word in (*words, "")).encode()
    arrays: dict[str, Any] = {
        "labels": np.array([place[label] for label in read.labels], dtype=np.int64),
        "written": np.frombuffer(written, dtype=np.uint8),
    }
    return Split(np.array(ids, dtype=np.uint16 if len(vocabulary) < 65536 else np.uint32), starts, arrays)


def _facts_of(split: Split, read: _Read) -> dict[str, Any]:
    return {
        "documents": len(split.documents),
        "tokens": len(split.tokens),
        "unknown_share": round(float((split.tokens == UNKNOWN_ID).mean()), 6),
        "cut_share": round(read.cut_share, 6),
    }
