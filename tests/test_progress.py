"""What is said of a training's length before it starts."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from miniature import SIZES, arm_of, split_of, text_of
from unrolled.shell.progress import _total_steps
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
