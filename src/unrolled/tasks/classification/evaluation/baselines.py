"""Models without recurrence, fitted to the training split: what a network has to beat.

They count words and pairs of neighbours, of characters up to four in a row; those too that the vocabulary has no place
for. All by scikit-learn.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from unrolled.ground.corpus import Corpus
from unrolled.scoring.evaluation import Scored
from unrolled.tasks.classification.evaluation.measures import most_frequent_accuracy, summary, units_of
from unrolled.tasks.classification.evaluation.words import words_of

LONGEST = {"word": 2, "character": 4}  # n-grams that are counted
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C, the inverse of regularisation, that linear models choose from
WEIGHT = 0.25  # of the weights as they are, beside their mean size (beta of Wang and Manning 2012, section 2.4)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Counted(NamedTuple):
    """Which n-grams each text holds [D, features], and its label [D]."""

    grams: csr_matrix
    labels: Ints


def naive_bayes(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """Multinomial naive Bayes on which n-grams a text holds, add-one smoothed."""
    train, _, test = _counted(corpus)
    return _scored(corpus, MultinomialNB().fit(*train).predict_proba(test.grams))


def logistic_regression(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """Logistic regression on tf-idf, as strongly regularised as is best for the validation split."""
    train, valid, test = _counted(corpus)
    weights = TfidfTransformer().fit(train.grams)
    models = [
        LogisticRegression(C=strength, max_iter=1000).fit(weights.transform(train.grams), train.labels)
        for strength in STRENGTHS
    ]
    best = max(models, key=lambda model: model.score(weights.transform(valid.grams), valid.labels))
    return _scored(corpus, best.predict_proba(weights.transform(test.grams)), {"C": best.C})


def nb_svm(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """A linear SVM on naive Bayes' log-count ratios (Wang and Manning 2012), one label against the others each.

    Regularised as the logistic regression. It gives no probabilities, so it is scored by accuracy alone.
    """
    train, valid, test = _counted(corpus)
    count = len(corpus.names["labels"])
    found = [
        [_margins(train, label, strength, valid.grams, test.grams) for label in _apart(count)] for strength in STRENGTHS
    ]
    chosen = [[_chosen([of_label[split] for of_label in each]) for split in (0, 1)] for each in found]
    on_valid = [float((of_valid == valid.labels).mean()) for of_valid, _ in chosen]
    best = int(np.argmax(on_valid))
    right = (chosen[best][1] == test.labels).astype(np.float32)
    return Scored({"accuracy": right}, np.arange(len(right)), details={"C": STRENGTHS[best]})


BASELINES: dict[str, Callable[[Corpus, Mapping[str, Any]], Scored]] = {
    "naive_bayes": naive_bayes,
    "logistic_regression": logistic_regression,
    "nb_svm": nb_svm,
}


def _apart(labels: int) -> list[int]:
    """The labels that a linear model is fitted to tell from all others: of two, one."""
    return [1] if labels == 2 else list(range(labels))


def _margins(train: _Counted, label: int, strength: float, *texts: csr_matrix) -> list[Floats]:
    """How far on the label's side each text lies, [D] of each of ``texts``."""
    own = train.labels == label
    if not own.any():
        return [np.full(each.shape[0], -np.inf) for each in texts]
    positive, negative = (1 + np.asarray(train.grams[rows].sum(0)).ravel() for rows in (own, ~own))
    ratio = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    model = LinearSVC(C=strength, random_state=0, max_iter=20_000).fit(train.grams.multiply(ratio).tocsr(), own)
    weights = model.coef_.ravel()
    weights = (1 - WEIGHT) * np.abs(weights).mean() + WEIGHT * weights
    return [each.multiply(ratio).tocsr() @ weights + model.intercept_[0] for each in texts]


def _chosen(margins: list[Floats]) -> Ints:
    """The label with the largest margin; of two, by the sign of the only one."""
    return (margins[0] > 0).astype(np.int64) if len(margins) == 1 else np.stack(margins).argmax(0)


def _counted(corpus: Corpus) -> tuple[_Counted, _Counted, _Counted]:
    """Train, valid and test, by the n-grams of training."""
    counter = CountVectorizer(
        analyzer=partial(_grams, longest=LONGEST[corpus.names["unit"][0]]), binary=True, dtype=np.float64
    )
    counter.fit(words_of(corpus.train))
    train, valid, test = (
        _Counted(counter.transform(words_of(split)), np.asarray(split.arrays["labels"])) for split in corpus[:3]
    )
    return train, valid, test


def _grams(words: list[str], longest: int) -> list[str]:
    """All n-grams of up to ``longest`` words; no word holds a line end, which joins them."""
    return ["\n".join(words[at : at + n]) for n in range(1, longest + 1) for at in range(len(words) - n + 1)]


def _scored(corpus: Corpus, probabilities: Floats, details: Mapping[str, Any] | None = None) -> Scored:
    labels, train = (np.asarray(split.arrays["labels"]) for split in (corpus.test, corpus.train))
    measures = summary(probabilities, labels) | {"most_frequent_accuracy": most_frequent_accuracy(train, labels)}
    return Scored(units_of(probabilities, labels), np.arange(len(labels)), measures=measures, details=details or {})
