"""Taggers without recurrence: most frequent tag, hidden Markov model, perceptron and conditional random field.

Each learns from the training split and answers with the tag of every word of the test split, int64 [N].
"""

import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pycrfsuite
from nltk.tag.perceptron import PerceptronTagger
from nltk.tag.tnt import TnT

from unrolled.ground.corpus import Corpus, Split

Ints = np.ndarray[Any, np.dtype[np.int64]]
Tagged = list[tuple[str, str]]

AFFIX = 4  # letters of the longest prefix and suffix that the conditional random field looks at
PAIR_SECONDS = 2e-9  # that its training takes for a word and two tags, in each iteration


def most_frequent(corpus: Corpus, settings: Mapping[str, Any]) -> Ints:
    """The tag that training gives the form most often; of an unknown form, the commonest among those seen once.

    Ties go to the tag that the form was seen with first; of an unknown form, to the first by name.
    """
    forms = np.asarray(corpus.train.arrays["forms"], dtype=np.int64)
    tags = np.asarray(corpus.train.arrays["tags"], dtype=np.int64)
    counts = np.asarray(corpus.arrays["form_counts"])
    table = np.zeros((len(counts), int(tags.max()) + 1))
    np.add.at(table, (forms, tags), 1)
    once = counts == 1
    of_unknown = (table[once] if once.any() else table).sum(0).argmax()
    pairs, first = np.unique(np.stack((forms, tags)), axis=1, return_index=True)
    table[*pairs] -= first / len(forms)  # less than one word
    best = np.where(counts > 0, table.argmax(1), of_unknown)
    return np.asarray(best[np.asarray(corpus.test.arrays["forms"], dtype=np.int64)], dtype=np.int64)


def tnt(corpus: Corpus, settings: Mapping[str, Any]) -> Ints:
    """Trigrams 'n' Tags (Brants 2000), as NLTK has it: a second-order hidden Markov model with a model of suffixes."""
    tagger = TnT()
    tagger.train(sentences(corpus, corpus.train))
    return _ids(corpus, (tagger.tag(words) for words in words_of(corpus, corpus.test)))


def perceptron(corpus: Corpus, settings: Mapping[str, Any]) -> Ints:
    """NLTK's averaged perceptron, five times over the training sentences in an order that ``settings`` seed."""
    tagger = PerceptronTagger(load=False)
    with _seeded(settings["seed"]):
        tagger.train(sentences(corpus, corpus.train), nr_iter=5)
    return _ids(corpus, (tagger.tag(words) for words in words_of(corpus, corpus.test)))


def crf(corpus: Corpus, settings: Mapping[str, Any]) -> Ints:
    """A linear-chain conditional random field by CRFsuite: words, their affixes and shapes, and the words around.

    What the networks are given beside the words, it is given too.
    """
    _warn_of_hours(len(corpus.train.tokens), len(corpus.names["tags"]), settings["crf_iterations"])
    trainer = pycrfsuite.Trainer(verbose=False)
    told = (told_of(corpus, split) for split in (corpus.train, corpus.test))
    for sentence, own in zip(sentences(corpus, corpus.train), next(told), strict=True):
        trainer.append(own, [tag for _, tag in sentence])
    trainer.set_params({"c1": 0.1, "c2": 0.1, "max_iterations": settings["crf_iterations"]})
    with TemporaryDirectory() as folder:
        model = str(Path(folder) / "model.crfsuite")
        trainer.train(model)
        tagger = pycrfsuite.Tagger()
        tagger.open(model)
        of_test = zip(words_of(corpus, corpus.test), next(told), strict=True)
        tagged = [[*zip(words, tagger.tag(own), strict=True)] for words, own in of_test]
        tagger.close()
    return _ids(corpus, tagged)


def _warn_of_hours(words: int, tags: int, iterations: int) -> None:
    """CRFsuite says nothing until it is done, and each iteration takes as long as all words with all pairs of tags."""
    minutes = iterations * words * tags**2 * PAIR_SECONDS / 60
    if minutes > 10:
        print(
            f"warning: with {tags:,} tags the conditional random field takes about {minutes:,.0f} minutes; "
            "fewer evaluate.crf_iterations take less",
            file=sys.stderr,
        )


def told_of(corpus: Corpus, split: Split) -> Iterator[list[list[str]]]:
    """Of each sentence, what the conditional random field is told of its words."""
    names, every = corpus.names["given"], words_of(corpus, split)
    if not names:
        yield from map(features, every)
        return
    for words, ids in zip(every, _in_sentences(split, "given"), strict=True):
        given = [names[index] for index in ids.tolist()]
        beside = around(given)
        yield [[*own, *more] for own, more in zip(features(words), beside, strict=True)]


def around(given: Sequence[str]) -> list[list[str]]:
    """Of each place what is given there and up to two places away, alone and in pairs of neighbours."""
    padded = ["none", "none", *given, "none", "none"]
    return [
        [f"{away}g={padded[place + away + 2]}" for away in range(-2, 3)]
        + [f"{away}gg={padded[place + away + 2]} {padded[place + away + 3]}" for away in range(-2, 2)]
        for place in range(len(given))
    ]


def features(words: Sequence[str]) -> list[list[str]]:
    """Of each word of a sentence, what the conditional random field is told."""
    return [_features(words, place) for place in range(len(words))]


def _features(words: Sequence[str], place: int) -> list[str]:
    word = words[place]
    told = ["bias", f"w={word}", f"l={word.lower()}", f"s={shape(word)}"]
    told += ["capital"] if word[0].isupper() and place else []
    for size in range(1, AFFIX + 1):
        told += [f"p{size}={word[:size].lower()}", f"x{size}={word[-size:].lower()}"]
    for away in (-2, -1, 1, 2):
        there = 0 <= place + away < len(words)
        told.append(f"{away}l={words[place + away].lower()}" if there else f"{away}=none")
    for away in (-1, 1):
        if 0 <= place + away < len(words):
            told += [f"{away}x={words[place + away][-3:].lower()}", f"{away}s={shape(words[place + away])}"]
    return told


def shape(word: str) -> str:
    """Xx, d and the like: each run of capitals, small letters and digits as one sign, all else as it is."""
    signs = ("X" if each.isupper() else "x" if each.islower() else "d" if each.isdigit() else each for each in word)
    drawn = ""
    for sign in signs:
        drawn += sign if drawn[-1:] != sign else ""
    return drawn


def words_of(corpus: Corpus, split: Split) -> list[list[str]]:
    """The forms of each sentence."""
    forms = corpus.names["forms"]
    return [[forms[index] for index in each.tolist()] for each in _in_sentences(split, "forms")]


def sentences(corpus: Corpus, split: Split) -> list[Tagged]:
    """The forms of each sentence with their tags."""
    tags = corpus.names["tags"]
    named = ([tags[index] for index in each.tolist()] for each in _in_sentences(split, "tags"))
    return [[*zip(words, own, strict=True)] for words, own in zip(words_of(corpus, split), named, strict=True)]


def _in_sentences(split: Split, array: str) -> list[Any]:
    return np.split(np.asarray(split.arrays[array], dtype=np.int64), split.arrays["sentences"][1:])


def _ids(corpus: Corpus, tagged: Iterable[Tagged]) -> Ints:
    """The ids of predicted tags."""
    ids = {name: index for index, name in enumerate(corpus.names["tags"])}
    return np.array([ids[tag] for sentence in tagged for _, tag in sentence], dtype=np.int64)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's own random numbers, which NLTK shuffles by, from ``seed`` on; afterwards as they were."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
