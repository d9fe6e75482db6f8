"""Labelled texts -> data/text: {train,valid,test}.jsonl, a text a line with its label, fold and place.

Ten folds, each label spread evenly over them: the fold that the settings name is the test split, the next one (after
the last, the first) the validation split, the other eight are trained on. So with each of the ten named in turn, every
text is tested once. A publisher's folds are kept; others are drawn by the seed, and stored with the texts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import SPLITS
from unrolled.shell.errors import UserError
from unrolled.tasks.classification.corpus.labelled import LabelledText

FOLDS = 10
FEWEST = 3  # texts of a label: one to train on, wherever the other two fall


def write_folds(texts: Iterable[LabelledText], folder: Path, *, fold: int, seed: int, facts: Mapping[str, Any]) -> None:
    """Write the splits of ``fold`` (0 to 9) and ``facts``; the folder appears whole or not at all.

    UserError for fewer than two labels, a label of fewer than three texts, and a split that comes out empty.
    """
    every = list(texts)
    _check_labels(every)
    folds = _folds(every, seed)
    splits = [split_of(each, fold) for each in folds]
    counts = Counter(splits)
    if empty := [split for split in SPLITS if not counts[split]]:
        raise UserError(f"{len(every)} texts are too few for {FOLDS} folds: none falls into {' and '.join(empty)}")
    with whole_folder(folder) as place:
        for name in SPLITS:
            rows = [
                {"label": text.label, "fold": number, "place": text.place, "text": text.text}
                for text, number, split in zip(every, folds, splits, strict=True)
                if split == name
            ]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (place / f"{name}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        how = (
            "the publisher's folds" if every[0].fold is not None else f"{FOLDS} folds stratified by label, seed {seed}"
        )
        labels = dict(sorted(Counter(text.label for text in every).items()))
        report = {**facts, "split": f"{how}; fold {fold} is the test split, the next one the validation split"}
        seal(place / "documents.json", {**report, "labels": labels, **{s: {"documents": counts[s]} for s in SPLITS}})


def split_of(fold: int, test: int) -> str:
    """The split of a text of ``fold`` where fold ``test`` is tested."""
    return {test: "test", (test + 1) % FOLDS: "valid"}.get(fold, "train")


def _check_labels(texts: list[LabelledText]) -> None:
    counts = Counter(text.label for text in texts)
    if len(counts) < 2:
        found = f"all {len(texts):,} texts have the label {texts[0].label!r}" if texts else "there are no texts"
        raise UserError(f"{found}{f' (from {texts[0].place} on)' if texts else ''}; there must be two labels at least")
    for text in texts:
        if counts[text.label] < FEWEST:
            times = {1: "once", 2: "twice"}[counts[text.label]]
            raise UserError(
                f"{text.place}: the label {text.label!r} occurs {times}; it takes {FEWEST} texts to train and test on"
            )


def _folds(texts: list[LabelledText], seed: int) -> list[int]:
    """Of each text; drawn where none is published: the texts of a label in random order get 0, 1, ..., 9, 0, ..."""
    if texts[0].fold is not None:
        return [int(text.fold or 0) for text in texts]
    random, folds, dealt = np.random.default_rng(seed), np.zeros(len(texts), dtype=np.int64), 0
    of_labels = np.array([text.label for text in texts])
    for label in sorted(set(of_labels.tolist())):  # the next label goes on where this one ends, so folds stay even
        own = random.permutation(np.flatnonzero(of_labels == label))
        folds[own] = (dealt + np.arange(len(own))) % FOLDS
        dealt += len(own)
    return [int(each) for each in folds]
