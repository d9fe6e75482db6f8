"""What training and scoring left, read back: the directories that ledger.py and evaluate.py write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from unrolled.nets.network import Network
from unrolled.sealed import json_of, load, read_sealed

TABLES = ("epochs", "profile", "lag_profile", "addends", "spectra")  # of a run directory


@dataclass(frozen=True)
class Run:
    """A run directory read back."""

    directory: Path
    settings: dict[str, Any]
    summary: dict[str, Any]
    history: pd.DataFrame
    epochs: pd.DataFrame
    profile: pd.DataFrame
    lag_profile: pd.DataFrame
    addends: pd.DataFrame
    spectra: pd.DataFrame

    @classmethod
    def read(cls, directory: Path) -> "Run":
        """Raises UserError naming the file that is missing or was altered, and how to get it again."""
        summary = read_sealed(directory, "summary.json")
        return cls(
            directory,
            load(directory, "settings.json", json_of),
            summary,
            load(directory, "history.parquet", pd.read_parquet),
            *(load(directory, f"{name}.csv", _table) for name in TABLES),
        )

    def network(self) -> Network:
        """The trained network."""
        network = Network(self.settings["vocabulary_size"], **self.settings["network"])
        network.load_state_dict(load(self.directory, "weights.safetensors", load_file))
        return network


@dataclass(frozen=True)
class Evaluation:
    """An evaluation directory read back: scores, nats by token of each head, and the tables.

    ``valid_nats``: the forward head's, of the validation split.
    """

    directory: Path
    scores: dict[str, Any]
    nats: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]
    valid_nats: np.ndarray[tuple[int], np.dtype[np.float32]]
    bands: pd.DataFrame
    calibration: pd.DataFrame

    @classmethod
    def read(cls, directory: Path) -> "Evaluation":
        """Raises UserError naming the file that is missing or was altered, and how to get it again."""
        scores = read_sealed(directory, "scores.json")
        nats = load(directory, "nats.safetensors", load_file)
        return cls(
            directory,
            scores,
            {head: tensor.numpy() for head, tensor in nats.items()},
            load(directory, "valid_nats.safetensors", lambda path: load_file(path)["forward"]).numpy(),
            *(load(directory, name, pd.read_csv) for name in ("bands.csv", "calibration.csv")),
        )


@dataclass(frozen=True)
class Probes:
    """A directory of probes read back: its figures and its tables."""

    figures: dict[str, Any]
    context: pd.DataFrame
    exponents: pd.DataFrame
    gates: pd.DataFrame
    cliff: pd.DataFrame

    @classmethod
    def read(cls, directory: Path) -> "Probes":
        """Raises UserError naming the file that is missing or was altered, and how to get it again."""
        tables = ("context", "exponents", "gates", "cliff")
        figures = read_sealed(directory, "probe.json")
        return cls(figures, *(load(directory, f"{name}.csv", _table) for name in tables))


def _table(path: Path) -> pd.DataFrame:
    """A csv whose number columns are numbers even where it has no rows: a run may diverge in its first epoch."""
    frame = pd.read_csv(path)
    numbers = {name: float for name in frame if name not in ("stack", "weight", "gate")}
    return frame.astype(numbers) if frame.empty else frame
