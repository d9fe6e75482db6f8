"""An evaluation directory read back, every byte checked; scoring/evaluation.py writes it and says what is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file

from unrolled.ground.bootstrap import Interval
from unrolled.ground.checksums import load, read_sealed, sha256
from unrolled.ground.made_of import check_made_of
from unrolled.ground.score import Sums

Units = NDArray[Any]  # float32 or float64 [N]


class Resampling(NamedTuple):
    """How intervals are made; see `ground/bootstrap.py`."""

    block: int
    samples: int
    confidence: float
    seed: int

    @classmethod
    def of(cls, evaluate: Mapping[str, Any]) -> "Resampling":
        """From the section ``evaluate``."""
        names = {"block": "bootstrap_block", "samples": "bootstrap_samples"}
        return cls(**{name: evaluate[names.get(name, name)] for name in cls._fields})


@dataclass(frozen=True)
class Evaluation:
    """An evaluation directory read back. ``made_of``: see `ground/made_of.py`."""

    directory: Path
    made_of: dict[str, Any]
    sums: dict[str, Sums]  # by score
    values: dict[str, float]
    intervals: dict[str, Interval]
    valid: dict[str, Sums]  # of the validation split, as far as it was scored
    measures: dict[str, float]
    details: dict[str, Any]
    confidence: float
    units: dict[str, Units]
    valid_units: dict[str, Units]
    clusters: NDArray[np.int64]
    tables: dict[str, pd.DataFrame]

    @classmethod
    def read(cls, directory: Path) -> "Evaluation":
        """Raises UserError naming the file that is missing or was altered, and how to get it again."""
        content = read_sealed(directory, "scores.json")
        scores = content["scores"]
        tables = [name.removesuffix(".csv") for name in content["files"] if name.endswith(".csv")]
        text = content.get("text_columns", {})
        return cls(
            directory,
            content.get("made_of", {}),
            {name: Sums(each["sum"], each["terms"]) for name, each in scores.items()},
            {name: each["value"] for name, each in scores.items()},
            {name: Interval(*each["interval"]) for name, each in scores.items()},
            {name: Sums(**each) for name, each in content["valid"].items()},
            content["measures"],
            content["details"],
            content["confidence"],
            load(directory, "units.safetensors", _arrays),
            load(directory, "valid_units.safetensors", _arrays),
            load(directory, "clusters.npy", lambda path: np.load(path, allow_pickle=False)),
            {name: load(directory, f"{name}.csv", partial(_table, text.get(name, []))) for name in tables},
        )

    @property
    def digest(self) -> str:
        """Of all its bytes, as scores.json vouches for the rest."""
        return sha256(self.directory / "scores.json")

    def check(self, now: Mapping[str, Any]) -> None:
        """UserError where it was made of something else than there is ``now``."""
        check_made_of(self.directory, self.made_of, now)


def sums_of(units: Units) -> Sums:
    """Summed in double precision."""
    return Sums(float(units.astype(np.float64).sum()), len(units))


def _table(text: list[str], path: Path) -> pd.DataFrame:
    """Its columns ``text`` as they stand: "NA" and "null" are words, a label "01" is no number, no words are a text."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(text, str))
    return table.assign(**{column: table[column].fillna("") for column in text})


def _arrays(path: Path) -> dict[str, Units]:
    return {name: tensor.numpy() for name, tensor in load_file(path).items()}
