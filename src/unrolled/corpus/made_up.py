"""Made-up text: sentences drawn from a source, as a publisher's splits, and the floors of the test split's tokens.

test.causal.npy      -log p(x_t | x_<t), float64 [N]: the least that a model can expect to pay that reads forward
test.backward.npy    the same of one that reads backward
test.smoothing.npy   the same of one that sees both sides
test.reset.npy       the same of one that reads forward and starts anew at each sentence
test.ngrams.npy      the same of an n-gram model, float64 [N, NGRAMS], from n = 1 on
test.roles.npy       of agreement: which `Role` each token is
test.distances.npy   of agreement: of a verb, how many words stand between it and its subject

And the source itself, as its sentences are that stand alone, for who holds sentences of a model's own against it:

source.start.npy           p(state) where a sentence starts, float64 [S]
source.transitions.npy     rows (state, next state, probability), float64 [N, 3], for what is not 0
source.emissions.npy       rows (state, word, probability), float64 [N, 3]
source.words.npy           its words, in their order
source.own_words_nats.npy  see `HiddenMarkov.own_words_nats`, float64 [1]
source.roles.npy           of agreement: the role of each word, int64 [W]
source.classes.npy         of agreement: which subject or verb each word is, int64 [W]; 0 for others
source.sentence_nats.npy   of agreement: the entropy of a sentence, and of its subject, float64 [2]
source.agreement.npy       of agreement: how likely a verb agrees with its subject, float64 [1]
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array

from unrolled.corpus.files.text_files import Document
from unrolled.corpus.sources.agreement import Agreement
from unrolled.corpus.sources.brackets import Brackets
from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.corpus.sources.source_file import read_source
from unrolled.corpus.sources.topics import topics
from unrolled.corpus.vocabulary import END, UNKNOWN
from unrolled.ground.corpus import SOURCE, SPLITS
from unrolled.shell.errors import UserError

NGRAMS = 8  # the longest whose floor is computed
SENTENCES = 20  # in a document: what intervals resample together

Array = np.ndarray[Any, np.dtype[Any]]
Source = Agreement | HiddenMarkov


def source_of(corpus: Mapping[str, Any]) -> Source:
    """What ``corpus.source`` says; UserError for what is no source, or one that ends no sentence."""
    keys = {name: value for name, value in corpus["source"].items() if name != "tokens"}
    name = corpus["name"]
    if name == "agreement":
        return Agreement(**keys | {"distances": tuple(keys["distances"])})
    if name == "topics":
        return topics(states=keys.pop("topics"), **keys)
    if name == "brackets":
        return Brackets(**keys).hidden_markov()
    source = read_source(Path(corpus["path"]))
    try:
        _check_own(source)
    except UserError as error:
        raise UserError(f"{corpus['path']}: {error}") from None
    return source


def _check_own(source: HiddenMarkov) -> None:
    """UserError for one that does not say sentence after sentence, of words that a vocabulary can tell apart."""
    if END not in source.words:
        raise UserError(f"no word is {END}, which ends a sentence")
    if UNKNOWN in source.words:
        raise UserError(f"the word {UNKNOWN} stands for words that the vocabulary lacks; call it by another name")
    if len(source.words) == 1:
        raise UserError(f"its only word is {END}; a sentence needs another")
    # What is left for ever has no share in a text without end, which the floors of n-grams and of a start anew are of.
    left = np.flatnonzero(source.stationary == 0)
    if len(left):
        raise UserError(
            f"transitions: the text leaves state {left[0]} and never comes back, so that its sentences are not drawn "
            "alike; let a way lead back to it, or take it out"
        )
    # Else the first sentence may be one that the floor of a start anew knows to be impossible.
    other = np.flatnonzero((source.start > 0) & (source.anew(source.words.index(END)) == 0))
    if len(other):
        raise UserError(
            f"start: the text may begin in state {other[0]}, and behind {END} no sentence does; let its start be 0, or "
            f"a state that says {END} lead to it"
        )


def made_up(corpus: Mapping[str, Any]) -> tuple[list[Document], dict[str, Array]]:
    """The documents of all splits, and of the test split the arrays that are named above, without their suffix."""
    source, tokens = source_of(corpus), corpus["source"]["tokens"]
    shares = {"valid": corpus["valid_share"], "test": corpus["test_share"]}
    shares["train"] = 1 - sum(shares.values())
    texts = {
        split: _drawn(source, round(tokens * shares[split]), np.random.default_rng([corpus["seed"], number]))
        for number, split in enumerate(SPLITS)
    }
    documents = [each for split in SPLITS for each in _documents(split, texts[split], source.words)]
    known = {f"test.{name}": array for name, array in floors(source, texts["test"]).items()}
    return documents, known | {f"{SOURCE}.{name}": array for name, array in tables_of(source).items()}


def floors(source: Source, text: Array) -> dict[str, Array]:
    """What each token of a text costs at the least, by name as above."""
    chain = source.hidden_markov() if isinstance(source, Agreement) else source
    found: dict[str, Array] = {
        "backward": chain.backward_nats(text),
        "reset": chain.reset_nats(text, source.words.index(END)),
        "ngrams": np.stack([chain.ngram_nats(text, n) for n in range(1, NGRAMS + 1)], axis=1),
    }
    if isinstance(source, Agreement):
        return found | source.costs(text)._asdict()
    return found | {"causal": chain.causal_nats(text), "smoothing": chain.smoothing_nats(text)}


def tables_of(source: Source) -> dict[str, Array]:
    """The source as arrays, by name as above."""
    chain = source.hidden_markov() if isinstance(source, Agreement) else source
    end = chain.words.index(END)
    found: dict[str, Array] = {
        "start": chain.anew(end),
        "transitions": _entries(chain.transitions),
        "emissions": _entries(chain.emissions),
        "words": np.array(chain.words),
        "own_words_nats": np.array([chain.own_words_nats(end)]),
    }
    return found | (source.of_words() if isinstance(source, Agreement) else {})


def _entries(matrix: Any) -> Array:
    """Rows (row, column, value)."""
    found = coo_array(matrix)
    return np.stack([*found.coords, found.data], axis=1).astype(np.float64)


def _drawn(source: Source, tokens: int, generator: np.random.Generator) -> Array:
    """About so many tokens, in whole sentences; UserError where there is none."""
    if isinstance(source, Agreement):
        return source.draw(max(1, round(tokens / source.tokens_a_sentence)), generator)
    text = source.sample(tokens, generator)
    ends = np.flatnonzero(text == source.words.index(END))
    if not len(ends):
        raise UserError(f"no sentence ends within {tokens:,} tokens; raise corpus.source.tokens or its share")
    return text[: int(ends[-1]) + 1]


def _documents(split: str, text: Array, words: list[str]) -> Iterator[Document]:
    """Of SENTENCES each."""
    sentences = np.split(text, np.flatnonzero(text == words.index(END)) + 1)[:-1]
    for number, first in enumerate(range(0, len(sentences), SENTENCES)):
        yield Document(f"{split} {number}", partial(_lines, sentences[first : first + SENTENCES], words), split)


def _lines(sentences: list[Array], words: list[str]) -> Iterator[str]:
    for sentence in sentences:
        yield " ".join(words[token] for token in sentence[:-1].tolist())
