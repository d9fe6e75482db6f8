"""What scoring leaves: the sums of every unit with its cluster, what they come to, and their intervals.

evaluation/<arm>/    and baselines/<name>/, by the same measures
  scores.json             what it was made of; sum, terms, value and interval of each score; single measures; sha256 of
                          the files below, and which columns of the tables are text
  units.safetensors       what each unit of the test split adds to each score, [N]; what paired comparisons are made of
  valid_units.safetensors the same of the validation split, as far as it was scored
  clusters.npy            the number of the document, or other cluster, that each unit of the test split stands in, [N]
  <table>.csv             the task's own tables
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from safetensors.torch import save_file

from unrolled.ground.atomic import whole_folder
from unrolled.ground.bootstrap import bootstrap_interval
from unrolled.ground.checksums import seal
from unrolled.ground.evaluation import Resampling, Units, sums_of
from unrolled.ground.score import Score, by_name


@dataclass(frozen=True)
class Scored:
    """A split as a task scored it. ``units``: by score, what each unit adds to its sum, [N]."""

    units: Mapping[str, Units]
    clusters: NDArray[np.int64]
    valid_units: Mapping[str, Units] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)  # single numbers beside the scores
    details: Mapping[str, Any] = field(default_factory=dict)  # what was chosen to reach them, as JSON takes it
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def write_evaluation(
    directory: Path, name: str, scored: Scored, declared: Sequence[Score], made_of: Mapping[str, Any]
) -> None:
    """Write the evaluation directory of an arm or baseline, whole or not at all.

    ``made_of``: see `ground/made_of.py`; its settings are the section ``evaluate``.
    """
    scores, resampling = by_name(declared), Resampling.of(made_of["settings"])
    content = {
        "name": name,
        "made_of": dict(made_of),
        "scores": {
            each: _figure(scores[each], units, scored.clusters, resampling) for each, units in scored.units.items()
        },
        "valid": {each: sums_of(units)._asdict() for each, units in scored.valid_units.items()},
        "measures": dict(scored.measures),
        "details": dict(scored.details),
        "confidence": resampling.confidence,
        "text_columns": {table: _text_columns(frame) for table, frame in scored.tables.items()},
    }
    with whole_folder(directory) as place:
        _save(place / "units.safetensors", scored.units.items())
        _save(place / "valid_units.safetensors", scored.valid_units.items())
        np.save(place / "clusters.npy", scored.clusters)
        for table, frame in scored.tables.items():
            frame.to_csv(place / f"{table}.csv", index=False)
        seal(place / "scores.json", content)


def _figure(score: Score, units: Units, clusters: NDArray[np.int64], resampling: Resampling) -> dict[str, Any]:
    sums = sums_of(units)
    interval = bootstrap_interval(units, clusters, **resampling._asdict(), value=lambda mean: score.value(mean, 1))
    return {"sum": sums.sum, "terms": sums.terms, "value": score.of(sums), "interval": interval}


def _text_columns(frame: pd.DataFrame) -> list[str]:
    """Those that are read back as they stand: a label "01" is no number."""
    return [str(name) for name, column in frame.items() if not is_numeric_dtype(column)]


def _save(path: Path, arrays: Iterable[tuple[str, Units]]) -> None:
    save_file({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays}, path)
