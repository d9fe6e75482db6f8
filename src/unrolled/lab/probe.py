"""Probing a trained arm: what it remembers, what its gates do, how its gradients grow, and how it exploded.

probes/<arm>/
  probe.json      the figures that these tables come to; sha256 of the files below
  context.csv     perplexity when the forward head is given only so many tokens, beside what it reaches with all
  exponents.csv   the Lyapunov exponents of each stack along the test split, largest first
  gates.csv       a row a unit of each gate: its mean, and in what share of the time steps it was saturated
  cliff.csv       the loss of the first explosion's window, by distance down its gradient; empty where there was none
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled import gradient_norms, measures
from unrolled.corpus.folders import whole_folder
from unrolled.corpus.streams import Tokens, column_length
from unrolled.lab.cliff import cliff
from unrolled.lab.fit import Training
from unrolled.nets.exponents import lyapunov_exponents
from unrolled.nets.gates import SIGNED, gate_values_of_stack
from unrolled.nets.network import Network
from unrolled.perplexity import perplexity
from unrolled.sealed import seal
from unrolled.settings import Evaluate, Probe, Settings
from unrolled.tasks.context import context_nats

CLOSE = 1.05  # times the perplexity with all context: from there on, more context hardly helps
SATURATED = 0.1  # nearer than this to the end of its range (Karpathy, Johnson & Fei-Fei 2016, section 4.2)
DISTANCES = np.geomspace(1e-2, 1e3, 61).tolist()  # that the loss is measured at, down the exploding gradient
BLOCK = 10  # of the scored positions, which lie apart, drawn together in the bootstrap


def probe(
    directory: Path, network: Network, test: Tokens, nats: NDArray[np.float32], settings: Settings, eos: int,
    norms: pd.Series, replay: Callable[[], Training], tokens: Tokens,
) -> dict[str, Any]:  # fmt: skip
    """Probe ``network`` on the test split, write the directory and return its figures.

    ``nats`` [N]: of every test token by the forward head with all context before it; ``norms``: the gradient norm
    before clipping by step; ``replay`` makes the arm's training as it was before its first step, and ``tokens`` are
    the split that it was trained on.
    """
    of_context = _context(network, test, nats, settings.probe, settings.evaluate)
    exponents = _exponents(network, test, settings.probe)
    explosion, slope = _explosion(norms, replay, tokens, settings, eos)
    figures = {
        "arm": settings.arm,
        "context_needed": _needed(of_context),
        "lyapunov_exponent": _largest(exponents),
        "explosion": explosion,
    }
    with whole_folder(directory) as place:
        of_context.to_csv(place / "context.csv", index=False)
        exponents.to_csv(place / "exponents.csv", index=False)
        _gates(network, test, settings.probe).to_csv(place / "gates.csv", index=False)
        slope.to_csv(place / "cliff.csv", index=False)
        seal(place / "probe.json", figures)
    return figures


# ---- memory ------------------------------------------------------------------------------------------------------


def _context(
    network: Network, test: Tokens, nats: NDArray[np.float32], settings: Probe, resampling: Evaluate
) -> pd.DataFrame:
    """A row a context, and the last, context inf, with all of it; the ratios are to the last, on the same tokens."""
    contexts = [context for context in sorted(set(settings.contexts)) if context < len(test)]
    positions = np.unique(np.linspace(max(contexts, default=0), len(test) - 1, settings.positions, dtype=np.int64))
    given = context_nats(network, test, positions, contexts)
    whole = nats[positions]
    rows = []
    for context, own in [*((float(context), each.numpy()) for context, each in given.items()), (math.inf, whole)]:
        paired = measures.paired_bootstrap(
            own, whole, block=BLOCK,
            samples=resampling.bootstrap_samples, confidence=resampling.confidence, seed=resampling.seed,
        )  # fmt: skip
        mean = perplexity(float(own.astype(np.float64).sum()), len(own))
        rows.append([context, mean, paired.ratio, *paired.ratio_interval, len(own)])
    return pd.DataFrame(rows, columns=["context", "perplexity", "ratio", "ratio_low", "ratio_high", "tokens"])


def _needed(of_context: pd.DataFrame) -> float:
    """The shortest context from which on perplexity stays within 5 % of that with all of it; inf if none does."""
    if not np.isfinite(of_context["perplexity"]).all():
        return math.nan
    far = of_context["ratio"].to_numpy() > CLOSE
    return float(of_context["context"].iloc[int(np.flatnonzero(far)[-1]) + 1 if far.any() else 0])


# ---- gradients through time --------------------------------------------------------------------------------------


@torch.no_grad()
def _beginning(network: Network, test: Tokens, steps: int) -> Tensor:
    """The first tokens of the split, embedded: [T, 1, E]."""
    embedded: Tensor = network.embedding(torch.from_numpy(test[:steps].astype(np.int64))[:, None])
    return embedded


def _exponents(network: Network, test: Tokens, settings: Probe) -> pd.DataFrame:
    rows: list[tuple[str, int, float]] = []
    text = _beginning(network, test, settings.lyapunov_steps)
    for name, stack in network.stacks.items():
        read = text if name == "forward" else text.flip(0)
        found = lyapunov_exponents(
            stack, read, stack.initial_state(1), count=settings.lyapunov_exponents, settle=len(read) // 10
        )
        rows += [(name, index, exponent) for index, exponent in enumerate(found.tolist(), start=1)]
    return pd.DataFrame(rows, columns=["stack", "index", "exponent"])


def _largest(exponents: pd.DataFrame) -> float:
    return float(exponents.loc[exponents["stack"] == "forward", "exponent"].iloc[0])


def _gates(network: Network, test: Tokens, settings: Probe) -> pd.DataFrame:
    frames = []
    text = _beginning(network, test, settings.lyapunov_steps)
    for name, stack in network.stacks.items():
        for layer, values in enumerate(gate_values_of_stack(stack, text)):
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


# ---- the first explosion -----------------------------------------------------------------------------------------


def _explosion(
    norms: pd.Series, replay: Callable[[], Training], tokens: Tokens, settings: Settings, eos: int
) -> tuple[dict[str, Any] | None, pd.DataFrame]:
    """Which step it was, and what lies down its gradient; `landed` is 1 in the row of the distance that SGD went.

    Measured only in the first epoch, up to whose end no learning rate is annealed.
    """
    index = gradient_norms.first_explosion(norms)
    none = pd.DataFrame(columns=["distance", "loss", "landed"], dtype=float)
    if index is None:
        return None, none
    explosion = {"step": index + 1, "norm": float(norms[index])}
    train = settings.train
    if index >= math.ceil(column_length(tokens, train.columns) / train.window):
        return explosion, none
    landed = train.learning_rate * min(explosion["norm"], train.clip_norm or math.inf)
    known = train.optimiser == "sgd" and train.weight_decay == 0 and math.isfinite(landed)
    distances = sorted({*DISTANCES, landed}) if known else DISTANCES
    found = cliff(replay(), tokens, step=index + 1, distances=distances, eos=eos)
    table = pd.DataFrame({"distance": found.distances, "loss": found.losses})
    return explosion, table.assign(landed=(table["distance"] == landed).astype(int))
