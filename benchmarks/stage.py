"""The part `stage`: training as `stages/train.py` runs it, beside the loop of PyTorch's word_language_model.

Each in a process of its own, for both set up memory and threads for the whole of it; they take turns of a few steps.
"""

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from ruamel.yaml import YAML

from benchmarks.contestants import Shape, plain_step
from benchmarks.page import against, columns, paragraph, row
from benchmarks.timing import CLOCKS, Conditions
from unrolled.ground.corpus import Split
from unrolled.settings.recipes import applied
from unrolled.shell.malloc import keep_freed_memory
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.processes import Processes
from unrolled.training.training import Training

ROOT = Path(__file__).parents[1]
RECIPE, ARM = "ptb-lstm-tied", "lstm-clipped-1"
SHAPE = Shape(35, 20, 200, 2, 10_000)  # the recipe's
TOKENS = 929_589  # of the Penn Treebank's training split
TARGET = 1.4
TURN = 5  # steps
CONTESTANTS = "ours", "plain"

W = TypeVar("W", bound=Hashable)


class Case(NamedTuple):
    tied: bool
    dropout: float


CASES = [Case(False, 0.0), Case(True, 0.0), Case(True, 0.2)]


def stage_section(conditions: Conditions) -> Iterator[str]:
    yield paragraph(
        conditions.sentence(conditions.few),
        f"An LSTM of {SHAPE.layers} x {SHAPE.hidden} over {SHAPE.words:,} words, the last line the recipe `{RECIPE}`;",
        f"ms a step, in turns of {TURN}. Ours: windows read, profile, clipping, norms, history and checkpoint, in the",
        "environment that dvc.yaml gives the stage. Plain: PyTorch's word_language_model, in its own.",
    )
    yield from columns("tied", "dropout", "ours ms", "plain ms", "plain / ours", "target", "met", text=2)
    for case in CASES:
        taken = turns(case, conditions)
        ours, plain = (statistics.median(taken[who]) for who in CONTESTANTS)
        tied = "yes" if case.tied else "no"
        yield row(tied, case.dropout, f"{ours * 1e3:.1f}", f"{plain * 1e3:.1f}", against(plain / ours, TARGET))


def turns(case: Case, conditions: Conditions) -> dict[str, list[float]]:
    """Seconds of a step in each turn; the first, a warm-up, is not among them."""
    with ExitStack() as stack:
        running = {who: stack.enter_context(start(who, case, conditions)) for who in CONTESTANTS}
        answers = answers_in_turn(running, conditions.few)
    return {who: [seconds for (seconds,) in taken] for who, taken in answers.items()}


def answers_in_turn(running: Mapping[W, subprocess.Popen[str]], rounds: int) -> dict[W, list[list[float]]]:
    """The numbers that each process answers a line with, asked in turn; what the first round gives is a warm-up."""
    answers: dict[W, list[list[float]]] = {who: [] for who in running}
    for turn in range(rounds + 1):
        for who in running if turn % 2 else reversed([*running]):
            question, answer = running[who].stdin, running[who].stdout
            assert question is not None
            assert answer is not None
            print(file=question, flush=True)
            numbers = [float(number) for number in answer.readline().split()]
            if turn:
                answers[who].append(numbers)
    return answers


def start(who: str, case: Case, conditions: Conditions) -> subprocess.Popen[str]:
    words = who, conditions.threads, conditions.clock, "tied" if case.tied else "", case.dropout
    return start_module("benchmarks.stage", *words, environ=environment() if who == "ours" else {})


def start_module(name: str, *words: object, environ: dict[str, str]) -> subprocess.Popen[str]:
    """A module as a process that can be asked, with what OpenMP is told by ``environ`` alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    return subprocess.Popen(
        [sys.executable, "-m", name, *map(str, words)], cwd=ROOT, text=True, env=kept | environ,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def environment() -> dict[str, str]:
    """What dvc.yaml sets before the command of the stage `train`."""
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    words = takewhile(lambda word: "=" in word, shlex.split(stages["train"]["cmd"]))
    return dict(word.split("=", 1) for word in words)


def our_training(case: Case, place: Path, processes: Processes | None = None) -> Iterator[object]:
    """What `stages/train.py` does, record by record, with random words in the corpus' place."""
    keep_freed_memory()
    yield from training_of(arm_with(network=case._asdict()), place, processes=processes)


def arm_with(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's arm, of each section named the keys that are given changed."""
    arm = applied(RECIPE, ROOT / "params.yaml", ROOT / "recipes")[1].arms[ARM]
    return {**arm, **{section: arm[section] | changed for section, changed in changes.items()}}


def training_of(
    arm: Mapping[str, Any], place: Path, *, processes: Processes | None = None, device: torch.device | None = None
) -> Iterator[object]:
    """The records of an arm's training on random words; its checkpoints go to ``place``."""
    words = np.random.default_rng(1).integers(0, SHAPE.words, TOKENS, dtype=np.uint32)
    train, valid = (Split(each, np.zeros(1, dtype=np.int64)) for each in (words, words[: SHAPE.words]))
    training = Training.of(arm, {"vocabulary": SHAPE.words}, device)
    training.processes = processes
    history = History(training)
    checkpoint = Checkpoint(place, training, history, arm, "random words")
    for record in checkpoint.kept(fit(training, train, valid)):
        history.add(record)
        yield record


def plain_training(case: Case, place: Path) -> Iterator[object]:
    step = plain_step("lstm", SHAPE, tied=case.tied, dropout=case.dropout)
    while True:
        yield step()


def answer_turns(who: str, clock: str, case: Case) -> None:
    """For each line that comes in, make a turn and print the seconds of one of its steps."""
    with tempfile.TemporaryDirectory() as place:
        training = {"ours": our_training, "plain": plain_training}[who](case, Path(place))
        for _ in sys.stdin:
            begun = CLOCKS[clock]()
            for _ in range(TURN):
                next(training)
            print((CLOCKS[clock]() - begun) / TURN, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    answer_turns(sys.argv[1], sys.argv[3], Case(bool(sys.argv[4]), float(sys.argv[5])))
