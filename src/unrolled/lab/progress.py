"""What a person sees of a training while it runs: a moving line on a terminal, plain lines in a log."""

import statistics
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from unrolled.lab.fit import Epoch, Step
from unrolled.perplexity import perplexity
from unrolled.tasks.language_model import SCORES

LINE_EVERY = 30.0  # seconds between plain lines, where there is no terminal


def shown(records: Iterator[Step | Epoch], arm: str, first: int, total_steps: int) -> Iterator[Step | Epoch]:
    """Pass the records on, showing rate, time left, loss and norm; a line an epoch stays.

    ``first``: how many steps were made before, by a training that goes on from a checkpoint.
    """
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
                    tqdm.write(_epoch_line(arm, record, norms, tokens / (now - started)), file=sys.stderr)
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


def _epoch_line(arm: str, epoch: Epoch, norms: list[float], rate: float) -> str:
    scores = ", ".join(
        f"{SCORES[head].replace('_', ' ')} {perplexity(sums.nats, sums.tokens):,.4g}"
        for head, sums in epoch.valid.items()
    )
    return (
        f"{arm}: epoch {epoch.number}: valid {scores}; norm median {statistics.median(norms):.2g}, "
        f"max {max(norms):.2g}; learning rate {epoch.learning_rate:g}; {rate:,.0f} tokens/s"
    )
