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
from typing import Any

from ruamel.yaml import YAML

from unrolled.errors import UserError
from unrolled.lab.runs import Evaluation, Probes, Run
from unrolled.report.colours import run_colour
from unrolled.report.phenomena import phenomena
from unrolled.report.series import Point, curves, single_values
from unrolled.sealed import sha256
from unrolled.settings import Settings

SCHEMA = 2  # of what is published; raising it publishes every run anew
TOKENIZER = Path("data/encoded/tokenizer.json")
CORPUS_REPORT = Path("data/corpus.json")


@dataclass(frozen=True)
class Projection:
    """What is published of one arm. `key` names its content: the same key is never published twice."""

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
    model: tuple[Path, ...]
    heads: tuple[str, ...]
    seconds: float  # 0 where not known

    @property
    def experiment(self) -> str | None:
        return self.tags.get("dvc.exp")

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.arm, self.experiment)))


def project(workspace: Path, settings: Sequence[Settings], environ: Mapping[str, str] = os.environ) -> list[Projection]:
    """The projections of all arms, in the order of `settings`; reads everything before anything is published.

    Raises UserError naming the file, and the command that makes it anew, where a run is missing or corrupt.
    """
    lock = _locked_outputs(workspace / "dvc.lock")
    commit = environ.get("DVC_EXP_BASELINE_REV") or _head(workspace)
    report = _below(workspace / "report", "report")
    if (workspace / CORPUS_REPORT).is_file():
        report.append((workspace / CORPUS_REPORT, "report"))
    if not (workspace / TOKENIZER).is_file():
        raise UserError(f"{workspace / TOKENIZER} is missing; make it again with `dvc repro -f -s vocabulary`")
    rows = {axis: list(dict.fromkeys(getattr(each, axis) for each in settings)) for axis in ("arch", "clipping")}
    projections = []
    for each in settings:
        place = (rows["arch"].index(each.arch), rows["clipping"].index(each.clipping))
        context = {
            "git.commit": commit,
            "mlflow.source.git.commit": commit,
            "dvc.exp": environ.get("DVC_EXP_NAME"),
            "dvc.stage": f"train@{each.arm}",
            "dvc.md5.data": lock.get("data/encoded"),
            "dvc.md5.run": lock.get(f"runs/{each.arm}"),
            "dvc.md5.evaluation": lock.get(f"evaluation/{each.arm}"),
            "dvc.md5.probes": lock.get(f"probes/{each.arm}"),
            "mlflow.runColor": run_colour(*place, environ.get("DVC_EXP_NAME")),
            "mlflow.source.name": f"dvc repro train@{each.arm}",
            "mlflow.source.type": "LOCAL",
        }
        projections.append(_project(workspace, each, {k: v for k, v in context.items() if v}, report))
    return projections


def _project(
    workspace: Path, settings: Settings, context: dict[str, str], report: list[tuple[Path, str]]
) -> Projection:
    arm = str(settings.arm)
    run, evaluation = Run.read(workspace / "runs" / arm), Evaluation.read(workspace / "evaluation" / arm)
    probes = Probes.read(workspace / "probes" / arm)
    params = _params(settings, run)
    timing = _timing(workspace / "timings" / f"{arm}.json", run)
    values = single_values(run, evaluation)
    values |= {f"phenomena/{name}": float(value) for name, value in phenomena(run, probes).items() if value is not None}
    values |= {f"time/{name}": float(timing[name]) for name in ("seconds", "tokens_per_second") if name in timing}
    finals = {name: value for name, value in values.items() if math.isfinite(value)}
    left_out = {name: value for name, value in values.items() if name not in finals}
    files = _below(run.directory, "run") + _below(evaluation.directory, "evaluation")
    files += _below(workspace / "probes" / arm, "probes")
    key = _digest([SCHEMA, params, {f"{to}/{file.name}": sha256(file) for file, to in files}])
    digest = str(run.settings["corpus_digest"])
    tags = context | {
        "unrolled.key": key,
        "unrolled.corpus_digest": digest,
        "diverged": f"at step {run.summary['diverged_at_step']}" if values["diverged"] else "no",
        "mlflow.note.content": _note(arm, params, values, run.summary),
    }
    if "device" in timing:
        tags["device"] = str(timing["device"])
    if left_out:
        tags["not_finite"] = ", ".join(f"{name} = {value}" for name, value in left_out.items())
    return Projection(
        arm=arm,
        key=key,
        params=params,
        curves=curves(run, probes),
        finals=finals,
        tags=tags,
        dataset=_dataset(workspace / CORPUS_REPORT, settings.corpus.name, digest),
        artifacts=[(file, to) for file, to in files if file.name != "weights.safetensors"],  # the model has them
        report=report,
        report_digest=_digest({f"{to}/{file.name}": sha256(file) for file, to in report}),
        model=(run.directory / "weights.safetensors", run.directory / "settings.json", workspace / TOKENIZER),
        heads=tuple(evaluation.scores["heads"]),
        seconds=float(timing.get("seconds", 0.0)),
    )


def _params(settings: Settings, run: Run) -> dict[str, str]:
    """By their names in params.yaml; what the run directory states about itself goes before what the yaml says now."""
    sections = {name: getattr(settings, name).model_dump() for name in ("corpus", "vocabulary", "evaluate", "probe")}
    sections |= {name: run.settings[name] for name in ("network", "train")}
    flat = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    flat |= {"arch": settings.arch, "clipping": settings.clipping}
    return {
        name: "none" if value is None else value if isinstance(value, str) else json.dumps(value)
        for name, value in sorted(flat.items())
    }


def _note(arm: str, params: dict[str, str], values: dict[str, float], summary: dict[str, Any]) -> str:
    """Markdown for the run's page."""
    low, high = (values.get(f"forward_perplexity/test_{end}", math.nan) for end in ("low", "high"))
    lines = [
        f"Test perplexity **{values['forward_perplexity/test']:.4g}** (interval {low:.4g} to {high:.4g}), from the "
        f"weights of epoch {summary['best_epoch']}."
    ]
    if "pseudo_perplexity/test" in values:
        lines.append(
            f"Pseudo-perplexity {values['pseudo_perplexity/test']:.4g}: it sees both sides of its target and does not "
            "compare with a perplexity."
        )
    if "grad_norm/max" in values:
        lines.append(
            f"Gradient norm before clipping: median {values['grad_norm/median']:.4g}, largest "
            f"{values['grad_norm/max']:.4g}; {values['grad_norm/clipped_share']:.1%} of steps clipped, clip_norm "
            f"{params['train.clip_norm']} (loss and gradient: {summary['reduction']})."
        )
    if values["diverged"]:
        lines.append(f"**Diverged at step {summary['diverged_at_step']}.**")
    lines.append(
        f"Made by `dvc repro train@{arm} evaluate@{arm}`. Curves show windows of steps; every step is in "
        "`run/history.parquet`."
    )
    return "\n\n".join(lines)


def _dataset(report: Path, name: str, digest: str) -> dict[str, str]:
    """The corpus as MLflow's dataset: its report, a DVC metric, is the profile."""
    profile = report.read_text(encoding="utf-8") if report.is_file() else "{}"
    return {
        "name": name,
        "digest": digest[:8],  # stands beside the name; a tag has all of it
        "source_type": "dvc",
        "source": json.dumps({"path": TOKENIZER.parent.as_posix()}),
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
