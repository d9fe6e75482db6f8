"""What a tagger is scored by. Accuracy is in percent, so that a difference of two is in percentage points."""

from unrolled.ground.score import Score


def _mean(total: float, words: int) -> float:
    return total / words


# The first is what arms are compared by. Of an accuracy a word adds 100 or 0.
SCORES = (
    Score("accuracy", "accuracy, %", "word", _mean, lower_is_better=False, most=100.0),
    Score("cross_entropy", "cross-entropy, nats", "word", _mean, note="of each word's tag by itself"),
)
