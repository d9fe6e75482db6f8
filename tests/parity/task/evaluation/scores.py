"""What the parity task is scored by."""

from unrolled.ground.score import Score

SCORES = (
    Score("accuracy", "accuracy", "bit", lambda right, bits: right / bits, lower_is_better=False),
    Score("cross_entropy", "cross entropy, nats", "bit", lambda nats, bits: nats / bits),
)
