"""What a person sees of a training while it runs: a moving line on a terminal, plain lines in a log."""

import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tqdm import tqdm

from unrolled.ground.corpus import Corpus
from unrolled.ground.registry import task_part
from unrolled.ground.score import Score, by_name
from unrolled.report.markdown import or_bounded
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.training import Training

LINE_EVERY = 30.0  # seconds between plain lines, where there is no terminal
COUNTED = 100  # epochs, where their numbers of steps are drawn: those of a million would take minutes to draw


def shown(
    records: Iterator[Step | Epoch], training: Training, corpus: Corpus, settings: Mapping[str, Any]
) -> Iterator[Step | Epoch]:
    """Pass the records on, showing rate, time left, loss and norm; a line an epoch stays.

    ``training`` may go on from a checkpoint; ``settings``: the arm's.
    """
    arm, scores = settings["arm"], by_name(task_part(settings["task"], "scores").SCORES)
    first, total_steps = training.step, _total_steps(training, corpus)
    terminal = sys.stderr.isatty()
    started = last_line = time.monotonic()
    tokens = 0
    norms: list[float] = []
    with tqdm(total=total_steps, initial=first, unit="step", disable=not terminal, leave=False, mininterval=0.5) as bar:
        for record in records:
            yield record
            now = time.monotonic()
            if isinstance(record, Epoch):
                if record.number == 0:  # the untrained network was scored; now the clock starts
                    started = now
                if norms:
                    tqdm.write(_epoch_line(arm, record, scores, norms, tokens / (now - started)), file=sys.stderr)
                norms = []
                continue
            tokens += record.tokens
            norms.append(record.norms.before)
            rate = tokens / (now - started)
            bar.set_description_str(f"{arm} epoch {record.epoch}", refresh=False)
            state = f"{rate:,.0f} tokens/s, loss {record.loss:.2f}, norm {record.norms.before:.2g}"
            bar.set_postfix_str(state, refresh=False)
            bar.update()
            if record.diverged:
                tqdm.write(f"{arm}: diverged at step {record.number}", file=sys.stderr)
            elif not terminal and now - last_line > LINE_EVERY:
                last_line = now
                left = (total_steps - record.number) * (now - started) / (record.number - first)
                print(
                    f"{arm}: step {record.number}/{total_steps}, {rate:,.0f} tokens/s, {left:.0f} s left, "
                    f"loss {record.loss:.2f}, norm {record.norms.before:.2g}",
                    file=sys.stderr,
                    flush=True,
                )


def _total_steps(training: Training, corpus: Corpus) -> int:
    """Where lengths of windows are drawn, of epochs behind the first COUNTED as if each had these epochs' mean."""
    task, epochs = training.task, training.options.epochs
    counted = 1 if training.nominal_steps is None else min(epochs, COUNTED)
    return sum(task.steps(corpus.train, epoch) for epoch in range(1, counted + 1)) * epochs // counted


def _epoch_line(arm: str, epoch: Epoch, scores: Mapping[str, Score], norms: list[float], rate: float) -> str:
    said = or_bounded("{:,.4g}".format)
    known = [(scores[name], sums) for name, sums in epoch.valid.items() if name in scores]
    valid = ", ".join(f"{score.label} {said(score.of(sums))}" for score, sums in known)
    return (
        f"{arm}: epoch {epoch.number}: valid {valid or f'loss {epoch.valid_loss:,.4g}'}; gradient norm median "
        f"{statistics.median(norms):.2g}, max {max(norms):.2g}; learning rate {epoch.learning_rate:g}; "
        f"{rate:,.0f} tokens/s"
    )
