"""Models to measure a network by: one that is told nothing, one that guesses, one that knows where each word is.

unheard    the language model alone, of the network's kind, trained on the texts: what can be known without listening
random     words drawn from the training texts, in texts as long as these are: what guessing gives
isolated   each word cut out where it is known to be, ten pieces of equal length, and a support vector machine: the
           ceiling of hearing, for nothing is left to align
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.special_tokens import END_ID
from unrolled.scoring.evaluation import Scored
from unrolled.tasks.speech.evaluation import measures
from unrolled.tasks.speech.evaluation.reading import forced, found_in
from unrolled.tasks.speech.model.batches import utterances
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.task import Task
from unrolled.tasks.speech.model.transcripts import texts_of
from unrolled.training.fit import Step, fit
from unrolled.training.history import History
from unrolled.training.training import Training

PIECES = 10  # that an isolated word is cut into, the mean of each taken
# Texts are few, and none of the test split's is among those of training: a model that learns by heart which of them end
# where is wrong about all others. But one to whom too much drops out does not learn which word may follow which.
DROPOUTS = (0.2, 0.8)
NETWORK = {
    "conditioning": "none", "cell": "lstm", "bidirectional": False, "hidden": 1, "layers": 1, "frames_per_step": 1,
    "pyramid": False, "attention": 1, "filters": 0, "filter_width": 1, "ctc": False, "decoder": "lstm",
    "decoder_embedding": 16, "decoder_hidden": 128,
}  # fmt: skip
TRAIN = {
    "optimiser": "adam", "learning_rate": 0.01, "anneal_factor": 1.0, "anneal_after": None, "average_after": 0,
    "weight_decay": 0.0, "profile_every": 1, "clip_norm": 1.0, "utterances": 32, "ctc_weight": 0.0, "tempo": 0.0,
    "vocal_tract": 0.0, "noise": 0.0, "masks": 0,
}  # fmt: skip


def unheard(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """Trained until its epochs are over; the best one by the validation texts is scored."""
    network = unheard_network(corpus, settings["seed"], settings["unheard_epochs"])
    found = found_in(network, corpus.test, beam=settings["beam"], ctc_share=0.0)
    read = measures.reading(corpus.test, [each.words for each in found], forced(network, corpus.test))
    return _scored(corpus, read)


def unheard_network(corpus: Corpus, seed: int, epochs: int) -> Network:
    """The language model alone, trained on the training texts; the best of DROPOUTS by the validation texts."""
    found = [_trained(corpus, seed, epochs, dropout) for dropout in DROPOUTS]
    return min(found, key=lambda each: each[0])[1]


def _trained(corpus: Corpus, seed: int, epochs: int, dropout: float) -> tuple[float, Network]:
    """Its validation loss at its best epoch, and the network of that."""
    train = {**TRAIN, "seed": seed, "epochs": epochs}
    arm = {"task": "speech", "arm": "unheard", "network": {**NETWORK, "dropout": dropout}, "train": train}
    training = Training.of(arm, Task(train).sizes(corpus))
    history = History(training)
    for record in fit(training, corpus.train, corpus.valid):
        if not isinstance(record, Step):
            history.add(record)
    network = training.model
    network.load_state_dict(history.weights)
    assert isinstance(network, Network)
    return history.best.valid_loss if history.best else math.inf, network


def random(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """The words by how often training says them, the lengths those of the training texts."""
    draw, train = np.random.default_rng(settings["seed"]), corpus.train
    lengths = [len(text) for text in texts_of(train)]
    words = np.asarray(train.tokens)[np.asarray(train.tokens) != END_ID]
    found = [draw.choice(words, draw.choice(lengths)).tolist() for _ in corpus.test.documents]
    return _scored(corpus, measures.reading(corpus.test, found))


def isolated(corpus: Corpus, settings: Mapping[str, Any]) -> Scored:
    """Undefined where nobody knows where the words are."""
    if (np.asarray(corpus.train.arrays["spoken"])[np.asarray(corpus.train.tokens) != END_ID] < 0).any():
        every = texts_of(corpus.test)
        read = measures.reading(corpus.test, every)
        # No measures either: texts that were not written are not without errors.
        nothing = read.errors._replace(of_words=np.full(read.words, math.nan))
        return Scored(measures.units_of(corpus.test, read._replace(errors=nothing)), read.text_of_words)
    heard, said = _cut_out(corpus.train)
    if len(np.unique(said)) == 1:  # nothing to tell apart
        found: Iterator[int] = itertools.repeat(int(said[0]))
    else:
        classifier = SVC(C=10.0, random_state=settings["seed"]).fit(heard, said)
        found = iter(classifier.predict(_cut_out(corpus.test)[0]).tolist())
    texts = [[next(found) for _ in text] for text in texts_of(corpus.test)]
    return _scored(corpus, measures.reading(corpus.test, texts))


def _cut_out(split: Split) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Of each word its pieces, [words, PIECES * features], and its id; the same recording twice is taken twice."""
    rows, said = [], []
    for each in utterances(split):
        for word, (first, last) in zip(each.words.tolist(), each.spoken.tolist(), strict=True):
            if word != END_ID:
                sound = each.sound[first : last + 1]
                places = np.linspace(0, len(sound) - 1, 2 * PIECES).round().astype(np.int64)
                rows.append(sound[places].reshape(PIECES, 2, -1).mean(1).ravel())
                said.append(word)
    return np.stack(rows), np.array(said)


def _scored(corpus: Corpus, read: measures.Reading) -> Scored:
    units = measures.units_of(corpus.test, read)
    return Scored(units, read.text_of_words, {}, measures.figures(corpus.test, read))


BASELINES: Mapping[str, Callable[[Corpus, Mapping[str, Any]], Scored]] = {
    "unheard": unheard,
    "random": random,
    "isolated": isolated,
}
