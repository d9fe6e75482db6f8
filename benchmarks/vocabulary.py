"""The part `vocabulary`: a training step over many types, with the full softmax and with the adaptive one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import Shape, our_step
from benchmarks.memory import peak_after
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import Conditions, race

ROOT = Path(__file__).parents[1]
SHAPE = Shape(35, 20, 200, 2)
TYPES = {33_000: 1.0, 100_000: 3.0, 268_000: 3.0}  # and how many times as fast the adaptive one is to be
MEMORY = 2.0  # times as much memory as the adaptive one, the full one takes, of what its step adds to torch's own
SOFTMAXES: dict[str, dict[str, Any]] = {
    "full": {},
    "adaptive": {"softmax": "adaptive", "cutoffs": (4_000, 20_000)},  # those of params.yaml
}


def vocabulary_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        conditions.sentence(conditions.few),
        "A whole step of an LSTM, 2 x 200, untied, over 35 x 20 words as frequent as in text; memory is the peak of a",
        "process of its own, less what the interpreter and torch take.",
    )
    names = "full ms", "adaptive ms", "full / adaptive", "target", "met"
    yield from columns("types", *names, "full MB", "adaptive MB", "full / adaptive", "target", "met")
    for types, target in TYPES.items():
        shape = SHAPE._replace(words=types)
        taken = race(
            {name: our_step("lstm", shape, **softmax) for name, softmax in SOFTMAXES.items()},
            rounds=conditions.few, clock=conditions.clock,
        )  # fmt: skip
        full, adaptive = (taken[name].median for name in SOFTMAXES)
        none, *peaks = (_peak_of_another(name, types, conditions.threads) for name in ("none", *SOFTMAXES))
        full_memory, adaptive_memory = (each - none for each in peaks)
        yield row(
            f"{types:,}", f"{full * 1e3:.1f}", f"{adaptive * 1e3:.1f}", against(full / adaptive, target),
            f"{full_memory / 1024:.0f}", f"{adaptive_memory / 1024:.0f}",
            against(full_memory / adaptive_memory, MEMORY),
        )  # fmt: skip


def _peak_of_another(name: str, types: int, threads: int) -> int:
    command = [sys.executable, "-m", "benchmarks.vocabulary", name, str(types), str(threads)]
    return int(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    if sys.argv[1] == "none":
        print(peak_after(our_step("lstm", SHAPE._replace(words=100))))
    else:
        print(peak_after(our_step("lstm", SHAPE._replace(words=int(sys.argv[2])), **SOFTMAXES[sys.argv[1]])))
