"""What a language model is scored by. Perplexity: the effective branching factor, exp(nats / tokens)."""

import math
from functools import partial

from unrolled.ground.perplexity import perplexity
from unrolled.ground.score import Score

RESET = "reset_perplexity"  # the forward head's, the state zero at the start of each sentence

_perplexity = partial(Score, unit="token", value=perplexity, summed="nats", ratio="perplexity ratio")
_variant = partial(_perplexity, column="variant")  # the forward head's score in other ways

# Of made-up text alone: nats beyond the floor under each token; a text may be kinder than the mean, so below 0 too.
_excess = partial(
    Score, unit="token", value=lambda total, terms: total / terms, least=-math.inf, summed="nats", column="floor"
)

# The first is what arms are compared by.
SCORES = (
    _perplexity("forward_perplexity", "perplexity", note="left to right"),
    _perplexity("backward_perplexity", "backward perplexity", note="right to left"),
    _perplexity("pseudo_perplexity", "pseudo-perplexity", note="both sides; not a language model"),
    _variant(
        RESET,
        "state reset at each sentence",
        note="the hidden state is zero at the start of each sentence; in the first table it is carried over, as in the "
        "literature",
    ),
    _variant(
        "interpolated_perplexity",
        "interpolated with n-grams",
        note="w times the probability of the Kneser-Ney model plus 1 - w times that of the arm, with w chosen on the "
        "validation split",
    ),
    _variant(
        "temperature_perplexity",
        "at the best temperature",
        note="the softmax at the temperature that is best on the validation split, of those that were tried; all other "
        "figures are at 1",
    ),
    _variant(
        "cache_perplexity",
        "with a neural cache",
        note="words that occurred recently, in a similar state of the network, become more likely",
    ),
    _variant(
        "dynamic_perplexity",
        "with dynamic evaluation",
        note="the weights keep learning from the text that has been scored",
    ),
    _excess("forward_excess", "left to right"),
    _excess("backward_excess", "right to left"),
    _excess("joined_excess", "both sides"),
    _excess("reset_excess", "left to right, state reset at each sentence"),
)

# What an arm says of its own: which figures of own_sentences.csv, and which columns of own_lines.csv at temperature 1,
# stand among its measures; and the kinds of rows of the latter.
OF_SENTENCES = (
    "own_words_nats", "forward_kl", "reverse_kl", "grammatical", "prefix_price", "own_agreement", "finish_accuracy",
)  # fmt: skip
OF_LINES = ("perplexity", "self_bleu", "copied")
OWN, TEXT = "own lines", "test text"
