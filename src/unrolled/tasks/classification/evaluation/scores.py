"""What a text classifier is scored by; each text is one unit."""

from functools import partial

from unrolled.ground.score import Score


def _mean(total: float, texts: int) -> float:
    return total / texts


_of_texts = partial(Score, unit="text", value=_mean)

# The first is what arms are compared by.
SCORES = (
    _of_texts("accuracy", "accuracy", lower_is_better=False, most=1.0),
    _of_texts("cross_entropy", "cross-entropy", note="nats a text"),
    _of_texts("brier", "Brier score", most=2.0, note="squared error of the probabilities, summed over the labels"),
)
