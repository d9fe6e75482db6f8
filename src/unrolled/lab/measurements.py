"""What a recipe's arms reached where they were trained: recipes/<name>.json, read off their files, never by hand."""

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from unrolled.corpus.folders import whole_text
from unrolled.errors import UserError
from unrolled.lab.recipes import PEER, RECIPES, Measurement, applied, measured, read
from unrolled.lab.runs import Evaluation, Run
from unrolled.perplexity import perplexity
from unrolled.sealed import json_of, sha256
from unrolled.settings import PARAMS, Settings


def keep(name: str, workspace: Path = Path()) -> list[str]:
    """Note what stands in runs/ and evaluation/ as what the recipe measured; the arms noted.

    What was noted before of other arms stays. UserError where no run is one of the recipe's, with the reason.
    """
    folder = workspace / RECIPES
    _, arms = applied(name, workspace / PARAMS, folder)
    noted, reasons = {}, []
    for arm, wanted in arms.items():
        run = workspace / "runs" / arm
        if not (run / "summary.json").is_file() or not (workspace / "evaluation" / arm / "scores.json").is_file():
            reasons.append(f"{arm} is not trained and scored here")
            continue
        read_back = Run.read(run)
        if other := _difference(read_back.settings, wanted):
            reasons.append(f"{arm} was trained with {other}")
            continue
        noted[arm] = _of_run(read_back, Evaluation.read(workspace / "evaluation" / arm), _timing(workspace, arm, run))
    if not noted:
        raise UserError(f"nothing to keep of recipe '{name}': {'; '.join(reasons)}; use it, and run dvc repro, first")
    if any(PEER in rung.arms for rung in read(name, folder).rungs):
        noted[PEER] = _of_peer(Evaluation.read(workspace / "evaluation" / PEER), _timing(workspace, PEER, None))
    everything = dict(sorted((measured(name, folder) | noted).items()))
    whole_text(folder / f"{name}.json", json.dumps(everything, indent=1) + "\n")
    return list(noted)


def _difference(found: dict[str, Any], wanted: Settings) -> str | None:
    """The first setting in which a run is not the recipe's; an option that its code did not have was off."""
    for section in ("network", "train"):
        for key, value in getattr(wanted, section).model_dump().items():
            has = found[section].get(key)
            if has != value and (key in found[section] or value):
                return f"{section}.{key} {has}, not {value}"
    return None


def _of_run(run: Run, evaluation: Evaluation, timing: Measurement) -> Measurement:
    summary = run.summary
    curve = run.epochs[["epoch", "valid_forward_perplexity"]]
    valid = summary["valid"].get("forward")
    return {
        "seed": run.settings["train"]["seed"],
        "epochs": run.settings["train"]["epochs"],
        "clip_norm": run.settings["train"]["clip_norm"],
        "parameters": summary["parameters"],
        "status": summary["status"],
        "diverged_at_step": summary["diverged_at_step"],
        "valid_perplexity": perplexity(**valid) if valid else None,
        "valid_by_epoch": [[int(epoch), float(value)] for epoch, value in curve.itertuples(index=False)],
        "scores": _numbers(evaluation),
        **timing,
        **_circumstances(),
    }


def _of_peer(evaluation: Evaluation, timing: Measurement) -> Measurement:
    valid = perplexity(**evaluation.scores["valid"])
    return {"valid_perplexity": valid, "scores": _numbers(evaluation), **timing, **_circumstances()}


def _numbers(evaluation: Evaluation) -> Measurement:
    """Perplexities with their intervals, and what was chosen to reach them."""
    known = ("perplexity", "perplexity_interval", "_weight")
    scores = evaluation.scores
    numbers = {name: value for name, value in scores.items() if name.endswith(known)}
    chosen = {name: scores[name] for name in ("cache", "dynamic") if name in scores}
    return numbers | chosen | {"tokens": scores["heads"]["forward"]["tokens"]}


def _timing(workspace: Path, arm: str, run: Path | None) -> Measurement:
    """How long it took; nothing where that is not known of this very run."""
    path = workspace / "timings" / f"{arm}.json"
    timing = json_of(path) if path.is_file() else {}
    if run is not None and timing.get("run") != sha256(run / "summary.json"):
        return {}
    return {name: timing[name] for name in ("seconds", "tokens_per_second", "threads", "device") if name in timing}


def _circumstances() -> Measurement:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
