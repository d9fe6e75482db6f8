"""What is said of a training: its length before it starts, and how far it has come."""

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from miniature import SIZES, arm_of, split_of, text_of
from unrolled.ground.score import Sums, by_name
from unrolled.shell.progress import _epoch_line, _total_steps
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.training.diagnostics import Epoch
from unrolled.training.training import Training

CORPUS: Any = SimpleNamespace(train=split_of(text_of(600)))


def total_of(**changes: Any) -> tuple[Training, int]:
    training = Training.of(arm_of("lstm-clipped-1", **changes), SIZES)
    return training, _total_steps(training, CORPUS)


@pytest.mark.parametrize("window_varies", [False, True])
def test_it_is_counted_where_there_are_few_epochs(window_varies: bool) -> None:
    training, total = total_of(epochs=7, window_varies=window_varies)
    assert total == sum(len([*training.task.batches(CORPUS.train, epoch=epoch)]) for epoch in range(1, 8))


def test_of_as_many_epochs_as_may_be_set_it_is_known_at_once() -> None:
    training, known = total_of(epochs=100, window_varies=True)
    started = time.process_time()
    assert total_of(epochs=10**9, window_varies=True)[1] == known * 10**7
    assert time.process_time() - started < 1
    exact = sum(training.task.steps(CORPUS.train, epoch) for epoch in range(1, 1001))
    assert total_of(epochs=1000, window_varies=True)[1] == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    ("nats", "said"),
    [(46.0, "99.48"), (1e3, "above 1e6"), (math.inf, "above 1e6"), (math.nan, "undefined")],
)
def test_a_perplexity_beyond_all_reason_is_said_in_words(nats: float, said: str) -> None:
    epoch = Epoch(3, 0.5, {"forward_perplexity": Sums(nats, 10)}, {}, {}, {}, {})
    line = _epoch_line("lstm-clipped-1", epoch, by_name(SCORES), [1.0], 10.0)
    assert f"epoch 3: valid forward perplexity {said}; gradient norm" in line
