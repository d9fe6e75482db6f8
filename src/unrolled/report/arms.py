"""The arms of the grid and the baselines beside them read back, and refused where they are not made of each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unrolled.ground.evaluation import Evaluation
from unrolled.ground.registry import task_part
from unrolled.ground.resolved import RESOLVED, read_resolved
from unrolled.ground.run import Run
from unrolled.probing.probe import Probes
from unrolled.report.wording import Wording


@dataclass(frozen=True)
class Arm:
    """One cell of the grid with its directories.

    Arms of one arch and clipping make a configuration: they differ by their seed alone.
    """

    run: Run
    evaluation: Evaluation
    probes: Probes

    @classmethod
    def read(cls, name: str, workspace: Path = Path()) -> "Arm":
        """Raises UserError naming the file that is missing or damaged, and how to get it again.

        So too where they are not made of each other, or with other settings than are resolved now.
        """
        run, evaluation = Run.of_arm(name, workspace), Evaluation.read(workspace / "evaluation" / name)
        probes, settings = Probes.read(workspace / "probes" / name), read_resolved("probe", workspace / RESOLVED)
        made_of = {"corpus": run.settings["corpus_digest"], "run": run.digest}
        evaluation.check(made_of | {"settings": settings["evaluate"]})
        probes.check(made_of | {"evaluation": evaluation.digest, "settings": settings["probe"]})
        return cls(run, evaluation, probes)

    @property
    def name(self) -> str:
        return self.run.arm

    @property
    def arch(self) -> str:
        return str(self.run.settings["arch"])

    @property
    def clipping(self) -> str:
        return str(self.run.settings["clipping"])

    @property
    def configuration(self) -> str:
        return f"{self.arch}-{self.clipping}"

    @property
    def seed(self) -> int:
        return int(self.run.settings["train"]["seed"])

    @property
    def clip_norm(self) -> float | None:
        clip_norm: float | None = self.run.settings["train"]["clip_norm"]
        return clip_norm


def read_grid(grid: Sequence[Mapping[str, str]]) -> tuple[list[Arm], dict[str, str]]:
    """The arms that are there, and of each that is not, the stages that would make it.

    UserError where none is there, or a file of one is missing or damaged.
    """
    made = {"train": "runs", "evaluate": "evaluation", "probe": "probes"}
    names, missing = [each["arm"] for each in grid], {}
    for arm in names:
        stages = [f"{stage}@{arm}" for stage, folder in made.items() if not Path(folder, arm).is_dir()]
        if stages:
            missing[arm] = " ".join(stages)
    there = [arm for arm in names if arm not in missing]
    return [Arm.read(arm) for arm in there or names], missing


def read_baselines(task: str) -> dict[str, Evaluation]:
    """By name, those that were scored beside the arms; UserError where one is missing or damaged."""
    wording: Wording = task_part(task, "report").WORDING
    return {
        name: Evaluation.read(Path("baselines", name)) for name in wording.baselines if name not in wording.measured
    }


def evaluated(arms: Sequence[Arm], name: str) -> pd.DataFrame:
    """The table of that name of each arm's evaluation, as ``stacked``."""
    return stacked(arms, lambda arm: arm.evaluation.tables[name])


def stacked(arms: Sequence[Arm], table: Callable[[Arm], pd.DataFrame]) -> pd.DataFrame:
    """A table of each arm, one below the other, with a column `arm`."""
    frames = [table(arm) for arm in arms]
    named = [frame.assign(arm=arm.name)[["arm", *frame]] for arm, frame in zip(arms, frames, strict=True)]
    # The tables of a run that diverged in its first epoch are empty, and pandas reads those as objects, not numbers.
    return pd.concat([frame for frame in named if len(frame)] or named[:1], ignore_index=True)
