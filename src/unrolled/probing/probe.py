"""Probing a trained arm: what it remembers, what its gates do, how its gradients grow, and how it exploded.

probes/<arm>/
  probe.json      what they were made of, the figures that they come to, some with intervals; sha256 of the files below
  context.csv     the main score when only so many inputs are given, beside what it is with all; empty for a task
                  that has no such probe
  exponents.csv   the Lyapunov exponents of each stack along the test split, largest first
  gates.csv       a row a unit of each gate: its mean, and in what share of the time steps it was saturated
  targets.csv     norms of dL/dh, and dL/dc, by distance back from the targets that need their context most; empty for a
                  task that has no such probe
  arrival.csv     of made-up text, which share of a target's gradient arrives at what it hangs on, by the distance
  cliff.csv       the loss of the first explosion's batch, by distance down its gradient; empty where there was none
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import load, read_sealed, seal, sha256
from unrolled.ground.corpus import Corpus, Split
from unrolled.ground.evaluation import Evaluation, Resampling
from unrolled.ground.made_of import check_made_of
from unrolled.ground.registry import task_part
from unrolled.ground.run import Run, read_table
from unrolled.probing.cliff import cliff
from unrolled.probing.context import by_context, context_needed
from unrolled.probing.exponents import lyapunov_exponents
from unrolled.probing.gates import SIGNED, gate_values_of_stack
from unrolled.probing.gradient_norms import first_explosion
from unrolled.probing.lags import lags_of_stretches, reaches
from unrolled.probing.targets import NO_ARRIVAL, NO_TARGETS
from unrolled.recurrence.stack import Stack
from unrolled.training.training import Training

CLOSE_REPLAY = 1e-3  # of a gradient's norm and its loss: more than summing in another order, less than another path
SATURATED = 0.1  # nearer than this to the end of its range (Karpathy, Johnson & Fei-Fei 2016, section 4.2)
DISTANCES = np.geomspace(1e-2, 1e3, 61).tolist()  # that the loss is measured at, down the exploding gradient

Stacks = Mapping[str, tuple[Stack, Tensor]]  # by name, with what it reads at the test split's beginning, [T, 1, E]


@dataclass(frozen=True)
class Probes:
    """A directory of probes read back: its figures and its tables. ``made_of``: see `ground/made_of.py`."""

    directory: Path
    made_of: dict[str, Any]
    figures: dict[str, Any]
    context: pd.DataFrame
    exponents: pd.DataFrame
    gates: pd.DataFrame
    targets: pd.DataFrame
    arrival: pd.DataFrame
    cliff: pd.DataFrame

    @classmethod
    def read(cls, directory: Path) -> "Probes":
        """Raises UserError naming the file that is missing or was altered, and how to get it again."""
        tables = ("context", "exponents", "gates", "targets", "arrival", "cliff")
        figures = read_sealed(directory, "probe.json")
        return cls(
            directory,
            figures.get("made_of", {}),
            figures,
            *(load(directory, f"{name}.csv", read_table) for name in tables),
        )

    @property
    def digest(self) -> str:
        """Of all its bytes, and so of the run and the evaluation that they state."""
        return sha256(self.directory / "probe.json")

    def check(self, now: Mapping[str, Any]) -> None:
        """UserError where they were made of something else than there is ``now``."""
        check_made_of(self.directory, self.made_of, now)


def probe(directory: Path, run: Run, evaluation: Evaluation, corpus: Corpus, settings: Mapping[str, Any]) -> None:
    """Probe a run's network on the test split and write the directory.

    ``settings``: the sections ``probe`` and ``evaluate``. UserError where run, evaluation, corpus and settings are not
    of each other.
    """
    run.check(corpus.digest)
    evaluation.check({"corpus": corpus.digest, "run": run.digest, "settings": settings["evaluate"]})
    own, resampling = settings["probe"], Resampling.of(settings["evaluate"])
    model, task = run.model(), task_part(run.settings["task"], "probes")
    given = task.context(model, corpus.test, evaluation.units, own)
    main = task_part(run.settings["task"], "scores").SCORES[0]
    layer = f"{run.main_stack}.0"
    measured = reaches(lags_of_stretches(model, run.task, corpus.train, layer), resampling)
    measured["context_needed"] = context_needed(given, main, resampling)
    read: Stacks = task.stacks(model, corpus.test, own["lyapunov_steps"])
    exponents = _exponents(read, own["lyapunov_exponents"])
    lags = task.targets(model, corpus.test, given, own)
    explosion, slope = _explosion(run, corpus.train)
    figures = {
        "arm": run.arm,
        "made_of": {
            "corpus": corpus.digest,
            "run": run.digest,
            "evaluation": evaluation.digest,
            "settings": dict(own),
        },
        **{name: value for name, (value, _) in measured.items()},
        "intervals": {name: interval for name, (_, interval) in measured.items()},
        "lyapunov_exponent": float(exponents["exponent"].iloc[0]),
        "explosion": explosion,
    }
    with whole_folder(directory) as place:
        by_context(given, main, resampling).to_csv(place / "context.csv", index=False)
        exponents.to_csv(place / "exponents.csv", index=False)
        _gates(read).to_csv(place / "gates.csv", index=False)
        for name, empty in {"targets": NO_TARGETS, "arrival": NO_ARRIVAL}.items():
            lags.get(name, empty).to_csv(place / f"{name}.csv", index=False)
        slope.to_csv(place / "cliff.csv", index=False)
        seal(place / "probe.json", figures)


def _exponents(stacks: Stacks, count: int) -> pd.DataFrame:
    rows: list[tuple[str, int, float]] = []
    for name, (stack, text) in stacks.items():
        read = text.flip(0) if stack.layers[0].reverse else text
        found = lyapunov_exponents(stack, read, stack.initial_state(1), count=count, settle=len(read) // 10)
        rows += [(name, index, exponent) for index, exponent in enumerate(found.tolist(), start=1)]
    return pd.DataFrame(rows, columns=["stack", "index", "exponent"])


def _gates(stacks: Stacks) -> pd.DataFrame:
    frames = []
    for name, (stack, read) in stacks.items():
        for layer, values in enumerate(gate_values_of_stack(stack, read)):
            for gate, each in values.items():
                low, high = (-1.0, 1.0) if gate in SIGNED else (0.0, 1.0)
                room = SATURATED * (high - low)
                units = each.flatten(0, 1)
                columns = {
                    "unit": range(units.shape[1]),
                    "mean": units.mean(0),
                    "low_share": (units < low + room).double().mean(0),
                    "high_share": (units > high - room).double().mean(0),
                }
                frame = pd.DataFrame({key: np.asarray(value) for key, value in columns.items()})
                frames.append(frame.assign(stack=name, layer=layer, gate=gate))
    order = ["stack", "layer", "gate", "unit", "mean", "low_share", "high_share"]
    return pd.concat(frames, ignore_index=True)[order]


def _explosion(run: Run, train: Split) -> tuple[dict[str, Any] | None, pd.DataFrame]:
    """Which step it was, and what lies down its gradient; `landed` is 1 in the row of the distance that SGD went.

    Measured only in the first epoch, up to whose end no learning rate is annealed; and only where training, repeated
    here, meets the gradient that was recorded (`replayed`): on another machine its roundings may lead elsewhere.
    """
    norms = run.steps["grad_norm"]
    index = first_explosion(norms, run.steps["loss"])
    none = pd.DataFrame(columns=["distance", "loss", "landed"], dtype=float)
    if index is None:
        return None, none
    norm = float(norms[index])
    explosion: dict[str, Any] = {"step": index + 1, "norm": norm, "replayed": None}
    if int(run.steps["epoch"].iloc[index]) > 1:
        return explosion, none
    training = Training.of(run.settings, run.settings["sizes"])
    options, rate = training.options, float(run.steps["learning_rate"].iloc[index])  # the step's, as windows may vary
    landed = rate * min(norm, options.clip_norm or math.inf)
    known = options.optimiser == "sgd" and options.weight_decay == 0 and math.isfinite(landed)
    distances = sorted({*DISTANCES, landed}) if known else DISTANCES
    found = cliff(training, train, step=index + 1, distances=distances)
    recorded = [norm, float(run.steps["loss"].iloc[index])]
    replayed = [found.norm, found.losses[0]]
    explosion["replayed"] = np.allclose(replayed, recorded, rtol=CLOSE_REPLAY, atol=0, equal_nan=True)
    if not explosion["replayed"]:
        return explosion, none
    table = pd.DataFrame({"distance": found.distances, "loss": found.losses})
    return explosion, table.assign(landed=(table["distance"] == landed).astype(int))
