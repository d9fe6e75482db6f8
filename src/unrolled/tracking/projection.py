"""One arm as MLflow will show it, read from its files alone: parameters, metrics, tags, artifacts; mlflow-free.

runs/<arm>/  evaluation/<arm>/  probes/<arm>/  timings/<arm>.json  data/corpus.json  report/  dvc.lock   ->   Projection
"""

import hashlib
import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from unrolled.ground.checksums import json_of, load, sha256
from unrolled.ground.corpus import read_report
from unrolled.ground.made_of import check_made_of
from unrolled.ground.registry import task_part
from unrolled.ground.run import Run
from unrolled.ground.score import Score
from unrolled.ground.start import SETTINGS, WEIGHTS
from unrolled.report.arms import Arm
from unrolled.report.colours import run_colour
from unrolled.report.phenomena import phenomena
from unrolled.report.series import Point, curves, single_values
from unrolled.tracking.saved_view import CONFIGURATION, CORPUS

SCHEMA = 4  # of what is published; raising it publishes every run anew
ENCODED = Path("data/encoded")
CORPUS_REPORT = Path("data/corpus.json")
WARNINGS = "unrolled.warnings"  # a tag: why the figures of this corpus mislead


class Served(NamedTuple):
    """The model that is logged with a run: what MLflow loads it by, from which files, and what it answers."""

    loader: str
    files: tuple[Path, ...]
    packages: tuple[str, ...]
    inputs: list[dict[str, Any]]  # the signature's columns, as MLflow spells them in JSON
    outputs: list[dict[str, Any]]
    may_be_champion: bool


@dataclass(frozen=True)
class Projection:
    """What is published of one arm. `key` names its content: the same key is never published twice."""

    task: str
    arm: str
    key: str
    params: dict[str, str]
    curves: dict[str, list[Point]]
    finals: dict[str, float]  # finite ones; a tag names the others
    tags: dict[str, str]
    dataset: dict[str, str]
    artifacts: list[tuple[Path, str]]  # file, and the folder that it goes to
    report: list[tuple[Path, str]]
    report_digest: str
    over_seeds: str  # what the arms of its configuration reached together; empty where it is the only one
    served: Served | None
    seconds: float  # 0 where not known

    @property
    def experiment(self) -> str | None:
        """DVC's, not MLflow's."""
        return self.tags.get("dvc.exp")

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.arm, self.experiment)))


def project(workspace: Path, grid: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> list[Projection]:
    """The projections of the arms of ``grid``, as resolved/grid.json has it; reads everything before it returns any.

    Raises UserError naming the file, and the command that makes it anew, where a run is missing or corrupt.
    """
    lock = _locked_outputs(workspace / "dvc.lock")
    commit = environ.get("DVC_EXP_BASELINE_REV") or _head(workspace)
    report = _below(workspace / "report", "report")
    report.append((workspace / CORPUS_REPORT, "report"))
    rows = {axis: list(dict.fromkeys(each[axis] for each in grid["arms"])) for axis in ("arch", "clipping")}
    corpus = read_report(workspace / CORPUS_REPORT.parent)
    arms = [Arm.read(each["arm"], workspace) for each in grid["arms"]]
    for arm in arms:
        arm.run.check(corpus["digest"])
    compared = _comparison(workspace, arms)
    projections = []
    for each, read in zip(grid["arms"], arms, strict=True):
        arm, place = each["arm"], (rows["arch"].index(each["arch"]), rows["clipping"].index(each["clipping"]))
        context = {
            "git.commit": commit,
            "mlflow.source.git.commit": commit,
            "dvc.exp": environ.get("DVC_EXP_NAME"),
            "dvc.stage": f"train@{arm}",
            WARNINGS: "; ".join(corpus.get("warnings", {}).values()),
            "dvc.md5.data": lock.get(ENCODED.as_posix()),
            "dvc.md5.run": lock.get(f"runs/{arm}"),
            "dvc.md5.evaluation": lock.get(f"evaluation/{arm}"),
            "dvc.md5.probes": lock.get(f"probes/{arm}"),
            "mlflow.runColor": run_colour(*place, environ.get("DVC_EXP_NAME")),
            "mlflow.source.name": f"dvc repro train@{arm}",
            "mlflow.source.type": "LOCAL",
        }
        stated = {k: v for k, v in context.items() if v}
        projections.append(_project(workspace, read, corpus["settings"], stated, report, compared))
    return projections


def _comparison(workspace: Path, arms: Sequence[Arm]) -> dict[str, Any]:
    """report/comparison.json, empty where nothing was compared; UserError where it is of other arms than these."""
    file = workspace / "report" / "comparison.json"
    if not file.is_file():
        return {}
    found = load(file.parent, file.name, json_of)
    check_made_of(file.parent, found.get("made_of", {}), {"probes": {arm.name: arm.probes.digest for arm in arms}})
    return found


def _project(
    workspace: Path,
    arm: Arm,
    of_corpus: dict[str, dict[str, Any]],
    context: dict[str, str],
    report: list[tuple[Path, str]],
    compared: Mapping[str, Any],
) -> Projection:
    run, evaluation, probes = arm.run, arm.evaluation, arm.probes
    task = str(run.settings["task"])
    scores, about = task_part(task, "scores").SCORES, task_part(task, "publishing")
    params = _params(arm, of_corpus)
    timing = _timing(workspace / "timings" / f"{arm.name}.json", run)
    values = single_values(run, evaluation, scores)
    values |= {f"phenomena/{name}": float(value) for name, value in phenomena(run, probes).items() if value is not None}
    values |= {f"time/{name}": float(timing[name]) for name in ("seconds", "tokens_per_second") if name in timing}
    finals = {name: value for name, value in values.items() if math.isfinite(value)}
    left_out = {name: value for name, value in values.items() if name not in finals}
    files = _below(run.directory, "run") + _below(evaluation.directory, "evaluation")
    files += _below(probes.directory, "probes")
    key = _digest([SCHEMA, params, {f"{to}/{file.name}": sha256(file) for file, to in files}])
    digest = str(run.settings["corpus_digest"])
    served = _served(workspace, run, about, of_corpus["corpus"])
    tags = context | {
        "unrolled.key": key,
        CORPUS: digest,
        CONFIGURATION: group_of(params, arm.configuration),
        "diverged": f"at step {run.summary['diverged_at_step']}" if values["diverged"] else "no",
        "mlflow.note.content": "\n\n".join(_note(run, values, scores[0], about.note(values))),
    }
    if "device" in timing:
        tags["device"] = str(timing["device"])
    if left_out:
        tags["not_finite"] = ", ".join(f"{name} = {value}" for name, value in left_out.items())
    return Projection(
        task=task,
        arm=arm.name,
        key=key,
        params=params,
        curves=curves(run, probes, scores),
        finals=finals,
        tags=tags,
        dataset=_dataset(workspace / CORPUS_REPORT, params["corpus.name"], digest),
        artifacts=[(file, to) for file, to in files if served is None or file.name != WEIGHTS],  # the model has them
        report=report,
        report_digest=_digest({f"{to}/{file.name}": sha256(file) for file, to in report}),
        over_seeds=_over_seeds(compared.get("configurations", {}).get(arm.configuration), scores[0]),
        served=served,
        seconds=float(timing.get("seconds", 0.0)),
    )


def _params(arm: Arm, of_corpus: dict[str, dict[str, Any]]) -> dict[str, str]:
    """By their names in params.yaml, as each result states what it was made with."""
    settings = arm.run.settings
    sections = of_corpus | {name: settings[name] for name in ("network", "train")}
    sections |= {"evaluate": arm.evaluation.made_of["settings"], "probe": arm.probes.made_of["settings"]}
    flat = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    flat |= {axis: settings[axis] for axis in ("arch", "clipping")}
    return {name: as_param(value) for name, value in sorted(flat.items())}


def group_of(params: Mapping[str, str], configuration: str) -> str:
    """By which MLflow groups runs: those that differ by their seed alone, as an average over others is nobody's."""
    return f"{configuration} {_digest({**params, 'train.seed': None})[:6]}"


def as_param(value: Any) -> str:
    """A setting as MLflow shows it: as in params.yaml, but for null, which MLflow has no word for."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _served(workspace: Path, run: Run, about: Any, corpus: Mapping[str, Any]) -> Served | None:
    if about.LOADER is None:
        return None
    beside = [workspace / name for name in about.FILES]
    for file in beside:
        load(file.parent, file.name, sha256)  # or an error that says how to make it again
    network = run.settings["network"]
    files = (run.directory / WEIGHTS, run.directory / SETTINGS, *beside)
    return Served(
        about.LOADER, files, about.PACKAGES, about.inputs(run.settings), about.outputs(network),
        about.may_be_champion(network, corpus),
    )  # fmt: skip


def _note(run: Run, values: Mapping[str, float], score: Score, of_task: list[str]) -> list[str]:
    """Paragraphs of Markdown for the run's page; ``score``: the one that arms are compared by."""
    value, low, high = (values[f"{score.name}/{name}"] for name in ("test", "test_low", "test_high"))
    summary, clip_norm = run.summary, run.settings["train"]["clip_norm"]
    said = "**above 1e6**" if value > 1e6 else f"**{value:.4g}** (interval {low:.4g} to {high:.4g})"
    epoch = f"from the weights of epoch {summary['best_epoch']}" if summary["best_epoch"] else "no epoch was completed"
    lines = [f"Test {score.label} {said}, {epoch}.", *of_task]
    if "grad_norm/max" in values:
        lines.append(
            f"Gradient norm before clipping: median {values['grad_norm/median']:.4g}, largest "
            f"{values['grad_norm/max']:.4g}; {values['grad_norm/clipped_share']:.1%} of steps clipped, clip_norm "
            f"{as_param(clip_norm)} (loss and gradient: {summary['reduction']})."
        )
    if values["diverged"]:
        lines.append(f"**Diverged at step {summary['diverged_at_step']}.**")
    return [
        *lines,
        f"Made by `dvc repro train@{run.arm} evaluate@{run.arm}`. Curves show windows of steps; every step is in "
        "`run/steps.parquet`.",
    ]


def _over_seeds(row: Mapping[str, Any] | None, score: Score) -> str:
    """As "90.7 ± 0.6 [78.9, 102], 5 of 5 seeds survived"; empty of one seed, or where nothing was compared."""
    if row is None or row["seeds"] < 2:
        return ""
    survived = f"{row['survived']} of {row['seeds']} seeds survived"
    known = [row[f"{score.name}{of}"] for of in ("", "_seeds", "_low", "_high")]
    if not row["survived"] or not all(each is not None and math.isfinite(each) for each in known):
        return survived
    value, spread, low, high = (f"{each:.4g}" for each in known)
    return f"{value} ± {spread} [{low}, {high}], {survived}"


def _dataset(report: Path, name: str, digest: str) -> dict[str, str]:
    """The corpus as MLflow's dataset: its report, a DVC metric, is the profile."""
    profile = report.read_text(encoding="utf-8") if report.is_file() else "{}"
    return {
        "name": name,
        "digest": digest[:8],  # stands beside the name; a tag has all of it
        "source_type": "dvc",
        "source": json.dumps({"path": ENCODED.as_posix()}),
        "profile": profile,
    }


def _timing(path: Path, run: Run) -> dict[str, Any]:
    """How long this very run took; empty where that is not known, as for one that DVC restored from its cache."""
    try:
        timing = json.loads(path.read_text(encoding="utf-8"))
        return timing if timing["run"] == sha256(run.directory / "summary.json") else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


# ---- the identity of what is published --------------------------------------------------------------------------


def _locked_outputs(path: Path) -> dict[str, str]:
    """Output path -> md5, as dvc.lock holds them; empty outside DVC."""
    if not path.is_file():
        return {}
    lock = YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
    outputs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outputs if "md5" in out}


def _head(workspace: Path) -> str | None:
    command = ["git", "-C", str(workspace), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _below(folder: Path, to: str) -> list[tuple[Path, str]]:
    """All files below `folder`, sorted, each with the artifact folder it goes to; without DVC's .gitignore."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [(file, (Path(to) / file.relative_to(folder).parent).as_posix()) for file in files]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
