"""A run directory read back, every byte checked; training/run_directory.py writes it and says what is in it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from unrolled.ground.checksums import json_of, load, read_sealed, sha256
from unrolled.ground.made_of import check_made_of
from unrolled.ground.registry import task_part
from unrolled.ground.resolved import RESOLVED, read_arm
from unrolled.ground.score import Sums
from unrolled.ground.start import SETTINGS, WEIGHTS
from unrolled.ground.task import Model, Task

if TYPE_CHECKING:  # whoever only talks to a network has no use for tables, nor for the 60 MB that pandas takes
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A run directory read back; its tables when they are asked for."""

    directory: Path
    settings: dict[str, Any]
    summary: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "Run":
        """Raises UserError naming the file that is missing or was altered, and how to get it again."""
        summary = read_sealed(directory, "summary.json")
        return cls(directory, load(directory, SETTINGS, json_of), summary)

    @classmethod
    def of_arm(cls, arm: str, workspace: Path = Path()) -> "Run":
        """The run of an arm; UserError as ``read``, and where it is another's, or its settings are not those of now."""
        run, wanted = cls.read(workspace / "runs" / arm), read_arm(arm, workspace / RESOLVED)
        stated = {key: run.settings.get(key) for key in wanted}
        check_made_of(run.directory, {"settings": stated}, {"settings": wanted})
        return run

    @cached_property
    def steps(self) -> "pd.DataFrame":
        import pandas as pd

        return load(self.directory, "steps.parquet", pd.read_parquet)

    @cached_property
    def epochs(self) -> "pd.DataFrame":
        return self._table("epochs")

    @cached_property
    def profile(self) -> "pd.DataFrame":
        return self._table("profile")

    @cached_property
    def lag_profile(self) -> "pd.DataFrame":
        return self._table("lag_profile")

    @cached_property
    def addends(self) -> "pd.DataFrame":
        return self._table("addends")

    @cached_property
    def spectra(self) -> "pd.DataFrame":
        return self._table("spectra")

    def _table(self, name: str) -> "pd.DataFrame":
        return load(self.directory, f"{name}.csv", read_table)

    @property
    def arm(self) -> str:
        return str(self.settings["arm"])

    @property
    def digest(self) -> str:
        """Of all its bytes, as summary.json vouches for the rest."""
        return sha256(self.directory / "summary.json")

    def check(self, corpus: str) -> None:
        """UserError where it was trained on another corpus than that of this digest."""
        check_made_of(self.directory, {"corpus": self.settings["corpus_digest"]}, {"corpus": corpus})

    @property
    def task(self) -> Task:
        task: Task = task_part(self.settings["task"], "model").Task(self.settings["train"])
        return task

    @property
    def main_stack(self) -> str:
        """The first of the stacks: of its lowest layer are the single figures of gradients and gates."""
        return str(next(iter(self.summary["stacks"])))

    def model(self) -> Model:
        """The trained network."""
        model = self.task.model(self.settings["sizes"], self.settings["network"])
        model.load_state_dict(load(self.directory, WEIGHTS, load_file))
        return model

    def valid(self) -> dict[str, Sums]:
        """The validation split's sums by score at the best epoch; empty where no epoch ended."""
        return {score: Sums(**sums) for score, sums in self.summary["valid"].items()}


def read_table(path: Path) -> "pd.DataFrame":
    """A csv whose number columns are numbers even where it has no rows: a run may diverge in its first epoch."""
    import pandas as pd

    frame = pd.read_csv(path)
    numbers = {name: float for name in frame if name not in ("stack", "weight", "gate")}
    return frame.astype(numbers) if frame.empty else frame
