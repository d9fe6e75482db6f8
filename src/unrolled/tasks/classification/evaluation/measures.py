"""Numbers in, numbers out: what the probabilities of a split's texts come to, by label, by length, and text by text.

probabilities [D, L], labels int64 [D]. A row that is not finite, of a network that diverged, predicts nothing: it is
wrong, its nats are infinite, and each of its probabilities counts as 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from unrolled.scoring.measures import calibration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUARTERS = 4


def units_of(probabilities: Floats, labels: Ints) -> dict[str, NDArray[Any]]:
    """By score, what each text adds to it: 1 where it is right, -log p of its label, and the Brier score (1950)."""
    finite = np.isfinite(probabilities.sum(1))
    known = np.where(finite[:, None], probabilities, 0.0)
    own = known[np.arange(len(labels)), labels]
    with np.errstate(divide="ignore"):
        nats = -np.log(own)
    truth = np.eye(probabilities.shape[1])[labels]
    return {
        "accuracy": (finite & (predicted(probabilities) == labels)).astype(np.float32),
        "cross_entropy": np.maximum(nats, 0.0),  # and no -0.0
        "brier": np.square(known - truth).sum(1),
    }


def predicted(probabilities: Floats) -> Ints:
    """The likeliest label of each text [D]; of equals the first."""
    return np.nan_to_num(probabilities, nan=-1.0).argmax(1)


def most_frequent_accuracy(train: Ints, labels: Ints) -> float:
    """Of the one label that training has most often; of equals the first."""
    return float((labels == np.bincount(train).argmax()).mean())


def summary(probabilities: Floats, labels: Ints) -> dict[str, float]:
    """Macro F1, ROC-AUC and the calibration error of the first choice.

    ROC-AUC is the mean over labels of each against all others; with two labels both are the same. Labels that no text
    of the split has, or all have, are left out; nan where no label is left.
    """
    known = np.nan_to_num(probabilities)
    present = [label for label in range(known.shape[1]) if 0 < (labels == label).sum() < len(labels)]
    areas = [float(roc_auc_score(labels == label, known[:, label])) for label in present]
    *_, f1, support = precision_recall_fscore_support(
        labels, predicted(probabilities), labels=range(known.shape[1]), zero_division=0
    )
    found = calibration(probabilities.max(1), predicted(probabilities) == labels)
    return {
        "macro_f1": float(f1[support > 0].mean()),
        "roc_auc": float(np.mean(areas)) if areas else float("nan"),
        "calibration_error": found.error,
    }


def reliability(probabilities: Floats, labels: Ints) -> pd.DataFrame:
    """How often the first choice is right, by how sure it was: a row a bin that holds texts."""
    found = calibration(probabilities.max(1), predicted(probabilities) == labels)
    return pd.DataFrame({"confidence": found.confidence, "accuracy": found.accuracy, "texts": found.tokens})


def by_label(probabilities: Floats, labels: Ints, names: Sequence[str]) -> pd.DataFrame:
    """Precision, recall, F1 and texts of each label; 0 where nothing was found."""
    found = precision_recall_fscore_support(labels, predicted(probabilities), labels=range(len(names)), zero_division=0)
    return pd.DataFrame(dict(zip(("label", "precision", "recall", "f1", "texts"), (names, *found), strict=True)))


def confusion(probabilities: Floats, labels: Ints, names: Sequence[str]) -> pd.DataFrame:
    """How many texts of each label were taken for which, the zeros left out."""
    table = confusion_matrix(labels, predicted(probabilities), labels=range(len(names)))
    rows = [(names[true], names[taken], int(table[true, taken])) for true, taken in np.argwhere(table).tolist()]
    return pd.DataFrame(rows, columns=["label", "predicted", "texts"])


def by_length(lengths: Ints, right: NDArray[Any]) -> pd.DataFrame:
    """Accuracy by quarter of the texts, the shortest first; texts of the same length stay together."""
    edges = np.unique(np.quantile(lengths, np.arange(1, QUARTERS) / QUARTERS, method="higher"))
    quarter = np.searchsorted(edges, lengths, side="right")
    rows = []
    for each in np.unique(quarter).tolist():
        own = lengths[quarter == each]
        rows.append((int(own.min()), int(own.max()), len(own), float(right[quarter == each].mean())))
    return pd.DataFrame(rows, columns=["shortest", "longest", "texts", "accuracy"])


def quoted(
    probabilities: Floats, labels: Ints, names: Sequence[str], texts: Sequence[str], most: int
) -> dict[str, pd.DataFrame]:
    """The ``most`` wrong texts whose own label got the least probability, and those least sure of their label."""
    chosen, known = predicted(probabilities), np.nan_to_num(probabilities)
    own = known[np.arange(len(labels)), labels]
    wrong = [index for index in np.argsort(own, kind="stable").tolist() if chosen[index] != labels[index]]
    unsure = np.argsort(known.max(1), kind="stable").tolist()

    def rows(which: Sequence[int]) -> pd.DataFrame:
        table = [
            (names[labels[index]], names[chosen[index]], round(float(known[index, chosen[index]]), 4), texts[index])
            for index in which[:most]
        ]
        return pd.DataFrame(table, columns=["label", "predicted", "probability", "text"])

    return {"most_wrong": rows(wrong), "least_sure": rows(unsure)}
