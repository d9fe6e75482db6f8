"""data/text -> data/encoded and the corpus report: words, letters and tags as ids.

<split>.npy             the id of each word in the vocabulary, [N]; 0 is `<unk>`
<split>.documents.npy   where each document begins
<split>.sentences.npy   where each sentence begins
<split>.tags.npy        the id of each word's tag
<split>.forms.npy       which of the forms each word is: what is written, case kept
<split>.counts.npy      how often training shows the word that is looked up
<split>.given.npy       where corpus.given names a column: the id of what stands there of each word; 0 is `<unk>`
letters.npy             the letters of all forms, one form after the other; 0 is an unknown letter
letter_starts.npy       where the letters of each form begin, and the end
form_counts.npy         how often training shows each form; a form that it never shows is unknown
tag_counts.npy          how often training shows each tag; those that it never shows stand last
names.json              the words, letters, tags and forms, and what is given

A word is looked up in lower case where the settings say so; its letters keep their case. All is counted on the training
split alone, but for the table of forms, which is no more than how the text is stored.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import click
import numpy as np

from unrolled.corpus.encoded import write_encoded
from unrolled.ground.atomic import whole_text
from unrolled.ground.corpus import SPLITS, Split
from unrolled.ground.special_tokens import UNKNOWN_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.tagging.corpus.sentences import Sentence, read_text

UNKNOWN = "<unk>"
RARE_LETTER = 1  # letters that training shows so often are unknown there, or the unknown one would never be trained
NAMED = 10  # tags that training lacks; data/corpus.json has them all

Ids = dict[str, int]


def encode(settings: Mapping[str, Any], text: Path, encoded: Path, report: Path) -> None:
    """Build the vocabulary from the training split and encode all three; folder and report appear whole or not."""
    sentences, facts = read_text(text)
    vocabulary = settings["vocabulary"]
    fold = str.lower if vocabulary["lowercase"] else str
    forms = _counted(sentences["train"])
    looked_up: Counter[str] = Counter()
    for form, count in forms.items():
        looked_up[fold(form)] += count
    words = [UNKNOWN, *_ranked(looked_up, vocabulary["min_count"])]
    if len(words) == 1:
        raise UserError("the vocabulary comes out empty: lower vocabulary.min_count or give more text")
    letters = Counter(chain.from_iterable(form * count for form, count in forms.items()))
    tags = _tags(sentences)
    every_form = list(forms) + sorted({*_counted(sentences["valid"]), *_counted(sentences["test"])} - forms.keys())
    names = {
        "words": words, "letters": [UNKNOWN, *_ranked(letters, RARE_LETTER + 1)], "tags": list(tags),
        "forms": every_form, "given": _given(sentences["train"]),
    }  # fmt: skip
    ids = {kind: {name: index for index, name in enumerate(each)} for kind, each in names.items()}
    word_counts = np.array([0, *(looked_up[word] for word in words[1:])], dtype=np.int64)
    word_counts[UNKNOWN_ID] = sum(looked_up.values()) - word_counts.sum()
    of_form = np.array([ids["words"].get(fold(form), UNKNOWN_ID) for form in every_form], dtype=np.uint32)
    splits = {split: _split(sentences[split], ids, of_form, word_counts) for split in SPLITS}
    stated = {"corpus": facts["settings"], "vocabulary": vocabulary}
    digest = write_encoded(
        encoded,
        splits,
        word_counts,
        names=names,
        settings=stated,
        arrays={
            "letters": np.array([ids["letters"].get(each, 0) for form in every_form for each in form], dtype=np.uint16),
            "letter_starts": np.array([0, *accumulate(map(len, every_form))], dtype=np.int64),
            "form_counts": np.array([forms[form] for form in every_form], dtype=np.int64),
            "tag_counts": np.array(list(tags.values()), dtype=np.int64),
        },
    )
    unseen = [tag for tag, count in tags.items() if not count]
    if unseen:
        named = " ".join(unseen[:NAMED]) + (f" and {len(unseen) - NAMED:,} more" if len(unseen) > NAMED else "")
        click.echo(f"warning: training lacks the tags {named}; a word of them counts as an error", err=True)
    written = {
        "digest": digest,
        "settings": stated,
        "corpus": facts["corpus"],
        "split": facts["split"],
        "unit": "word",
        "types": len(words),
        "tags": len(tags) - len(unseen),
        "tags_unknown_to_training": " ".join(unseen) or "none",
        **{split: _report(sentences, split, forms, facts) for split in SPLITS},
    }
    whole_text(report, json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def _counted(sentences: Sequence[Sentence]) -> Counter[str]:
    return Counter(chain.from_iterable(sentence.words for sentence in sentences))


def _given(train: Sequence[Sentence]) -> list[str]:
    """What may be given of a word; empty where the corpus is read without."""
    counts = Counter(chain.from_iterable(each.given or () for each in train))
    return [UNKNOWN, *_ranked(counts, 1)] if counts else []


def _ranked(counts: Counter[str], min_count: int) -> list[str]:
    """By falling count, ties by text."""
    kept = (name for name, count in counts.items() if count >= min_count)
    return sorted(kept, key=lambda name: (-counts[name], name))


def _tags(sentences: Mapping[str, Sequence[Sentence]]) -> dict[str, int]:
    """The count of each tag in training, in alphabetical order; then those that only the other splits have."""
    counts = {split: Counter(chain.from_iterable(each.tags for each in sentences[split])) for split in SPLITS}
    train = counts["train"]
    return {tag: train[tag] for tag in [*sorted(train), *sorted({*counts["valid"], *counts["test"]} - train.keys())]}


def _split(
    sentences: Sequence[Sentence],
    ids: Mapping[str, Ids],
    of_form: "np.ndarray[Any, Any]",
    counts: "np.ndarray[Any, Any]",
) -> Split:
    forms = np.array([ids["forms"][word] for each in sentences for word in each.words], dtype=np.uint32)
    starts = np.array([0, *accumulate(len(each.words) for each in sentences)], dtype=np.int64)[:-1]
    begins = [index == 0 or each.document != sentences[index - 1].document for index, each in enumerate(sentences)]
    words = of_form[forms]
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "sentences": starts,
        "forms": forms,
        "tags": np.array([ids["tags"][tag] for each in sentences for tag in each.tags], dtype=np.uint16),
        "counts": np.where(words == UNKNOWN_ID, 0, counts[words]),
    }
    if ids["given"]:
        given = (ids["given"].get(tag, UNKNOWN_ID) for each in sentences for tag in each.given or ())
        arrays["given"] = np.fromiter(given, dtype=np.uint16)
    return Split(words, starts[np.array(begins)], arrays)


def _report(
    sentences: Mapping[str, Sequence[Sentence]], split: str, forms: Counter[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """unknown_share: of the words whose form training lacks; sentences_in_train: that stand there word for word."""
    own = sentences[split]
    words = [word for each in own for word in each.words]
    counts = {"documents": facts[split]["documents"], "sentences": len(own), "tokens": len(words)}
    if split == "train":
        return counts
    train = {tuple(each.words) for each in sentences["train"]}
    return counts | {
        "unknown_share": round(sum(word not in forms for word in words) / len(words), 6),
        "sentences_in_train": round(sum(tuple(each.words) in train for each in own) / len(own), 6),
    }
