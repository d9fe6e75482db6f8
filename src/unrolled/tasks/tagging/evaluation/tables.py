"""What a tagger's answers come to: by tag, by pair of tags that it confuses, by where in the sentence a word stands.

Tables: parts.csv, accuracy of the words of one part each, with its interval over sentences; per_tag.csv; confusion.csv,
a row a pair of right and predicted tag that differ, with a word as example; chunks.csv where the tags read as chunks.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.evaluation import Resampling
from unrolled.tasks.tagging.evaluation.chunks import are_chunks, chunk_table, f1_interval

Ints = np.ndarray[Any, np.dtype[np.int64]]
# Lower ends of the bands.
RIGHT, POSITION, FREQUENCY = (0, 1, 2, 3), (1, 2, 3, 4, 6, 11, 21), (0, 1, 2, 10, 100, 1000)
LENGTH = (1, 6, 11, 21, 31, 51)


def sentence_of_words(split: Split) -> Ints:
    """The number of the sentence that each word stands in, from 0: [N]."""
    return np.searchsorted(split.arrays["sentences"], np.arange(len(split.tokens)), side="right") - 1


def form_counts(corpus: Corpus, split: Split) -> Ints:
    """How often training shows the form of each word: [N]; 0 is an unknown one."""
    return np.asarray(corpus.arrays["form_counts"])[np.asarray(split.arrays["forms"], dtype=np.int64)]


def parts(corpus: Corpus, split: Split, right: Ints, resampling: Resampling) -> pd.DataFrame:
    """``right`` [N], 0 or 1. Accuracies in percent; of the row "sentence", whole ones right, words are sentences."""
    sentence = sentence_of_words(split)
    sizes = np.bincount(sentence)
    place = np.arange(len(sentence)) - np.asarray(split.arrays["sentences"])[sentence]
    counts = form_counts(corpus, split)
    rows = []

    def add(by: str, part: str, mine: "np.ndarray[Any, Any]", clusters: Ints) -> None:
        interval = bootstrap_interval(100.0 * mine, clusters, **resampling._asdict())
        rows.append([by, part, len(mine), int(mine.sum()), 100 * float(mine.mean()), *interval])

    by_part: dict[str, list[tuple[str, Any]]] = {"word": [("known", counts > 0), ("unknown", counts == 0)]}
    by_part["right"] = list(bands(sizes[sentence] - 1 - place, RIGHT))
    by_part["position"] = list(bands(place + 1, POSITION))
    by_part["frequency"] = list(bands(counts, FREQUENCY))
    by_part["length"] = list(bands(sizes[sentence], LENGTH))
    add("sentence", "whole", np.bincount(sentence, weights=right) == sizes, np.arange(len(sizes)))
    for by, masks in by_part.items():
        for part, mask in masks:
            if mask.any():
                add(by, part, right[mask], sentence[mask])
    return pd.DataFrame(rows, columns=["by", "part", "words", "right", "accuracy", "low", "high"])


def bands(values: Ints, edges: Sequence[int]) -> Iterator[tuple[str, "np.ndarray[Any, np.dtype[np.bool_]]"]]:
    """Each band by its name, as "4-5" or "21+", and which values lie in it; ``edges``: where each begins."""
    for low, end in zip(edges, [*edges[1:], None], strict=True):
        name = f"{low}+" if end is None else str(low) if end == low + 1 else f"{low}-{end - 1}"
        yield name, (values >= low) & (values < (np.inf if end is None else end))


def per_tag(names: Sequence[str], gold: Ints, predicted: Ints) -> pd.DataFrame:
    """Precision, recall and F1 in percent of each tag that stands in the right answers or was predicted."""
    ids = sorted({*gold.tolist(), *predicted.tolist()})
    figures = precision_recall_fscore_support(gold, predicted, labels=ids, zero_division=0)
    columns = {name: 100 * each for name, each in zip(("precision", "recall", "f1"), figures, strict=False)}
    table = pd.DataFrame({"tag": [names[each] for each in ids], **columns, "support": figures[3]})
    return table.sort_values(["support", "tag"], ascending=[False, True], ignore_index=True)


def confusion(corpus: Corpus, split: Split, predicted: Ints) -> pd.DataFrame:
    """The pairs that differ, the most frequent first; ``example``: the word that it happens to most often."""
    gold, tags = np.asarray(split.arrays["tags"], dtype=np.int64), corpus.names["tags"]
    wrong = np.flatnonzero(gold != predicted)
    forms = np.asarray(split.arrays["forms"])[wrong]
    frame = pd.DataFrame({"gold": gold[wrong], "predicted": predicted[wrong], "form": forms})
    rows = []
    for _, group in frame.groupby(["gold", "predicted"]):
        right, said = group["gold"].iloc[0], group["predicted"].iloc[0]
        often = group["form"].value_counts()
        example = int(often[often == often.max()].index.min())
        rows.append([tags[right], tags[said], len(group), corpus.names["forms"][example]])
    table = pd.DataFrame(rows, columns=["gold", "predicted", "words", "example"])
    return table.sort_values(["words", "gold", "predicted"], ascending=[False, True, True], ignore_index=True)


def in_sentences(split: Split, tags: Ints, names: Sequence[str]) -> list[list[str]]:
    """The names of tags [N] as sentences."""
    return [[names[tag] for tag in each.tolist()] for each in np.split(tags, split.arrays["sentences"][1:])]


def chunked(
    corpus: Corpus, split: Split, predicted: Ints, resampling: Resampling
) -> tuple[pd.DataFrame, tuple[float, float]] | None:
    """The table of chunks and the interval of their F1; None where the tags read as something else."""
    names = corpus.names["tags"]
    if not are_chunks(names):
        return None
    gold, said = (in_sentences(split, each, names) for each in (split.arrays["tags"].astype(np.int64), predicted))
    return chunk_table(gold, said), f1_interval(gold, said, resampling)
