"""What a model of speech is scored by; each word of the reference is one unit."""

from functools import partial

from unrolled.ground.score import Score


def _mean(total: float, words: int) -> float:
    return total / words


_of_words = partial(Score, unit="word", value=_mean)

# The first is what arms are compared by.
SCORES = (
    _of_words("word_error_rate", "word error rate", note="the model writes the text itself"),
    _of_words("forced_error", "forced error", most=1.0, note="words wrong where the true ones before are read"),
    _of_words("cross_entropy", "cross-entropy", note="nats a word, where the true ones before are read"),
)
