"""What a recipe's arms reached where they were trained: recipes/<name>.json, read off their files, never by hand."""

import datetime
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unrolled.ground.atomic import whole_text
from unrolled.ground.checksums import json_of, sha256
from unrolled.ground.corpus import read_report
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.registry import has_part, task_part
from unrolled.ground.run import Run
from unrolled.ground.score import Score
from unrolled.report.series import by_epoch
from unrolled.report.wording import Wording
from unrolled.settings.loader import PARAMS
from unrolled.settings.recipes import CONFIDENCE, RECIPES, Measurement, applied, measured, read
from unrolled.settings.stated import stated, stated_vocabulary
from unrolled.shell.errors import UserError

SAID = 3  # reasons of one message
MEASURED_ONLY = {"profile_every": 1}  # of the section train: says what is measured; and what it is by default


def keep(name: str, workspace: Path = Path()) -> list[str]:
    """Note what stands in runs/, evaluation/ and baselines/ as what the recipe measured; the arms and baselines noted.

    What was noted before of other arms stays. UserError where the recipe makes no rung of a ladder, where no
    run is one of its, with the reason, or something stands here that was made of another corpus or with other settings.
    """
    folder = workspace / RECIPES
    _, params = applied(name, workspace / PARAMS, folder)
    _check_ladder(name, params.task, folder)
    corpus = read_report(workspace / "data")
    if other := _difference(_of_corpus(corpus["settings"]), _of_corpus(params.sections)):
        raise UserError(f"the corpus here was made with {other}: nothing to keep of recipe '{name}'")
    if (confidence := params.sections["evaluate"]["confidence"]) != CONFIDENCE:
        raise UserError(f"the ladder has {CONFIDENCE:.0%} intervals, and evaluate.confidence is {confidence}")
    now = {"corpus": corpus["digest"], "settings": params.sections["evaluate"]}
    task, noted, reasons = params.task, {}, []
    for arm, wanted in params.arms.items():
        run = workspace / "runs" / arm
        if not (run / "summary.json").is_file() or not (workspace / "evaluation" / arm / "scores.json").is_file():
            reasons.append(f"{arm} is not trained and scored here")
            continue
        read_back = Run.read(run)
        trained = {key: value for key, value in wanted["train"].items() if key not in MEASURED_ONLY}
        if other := _difference(read_back.settings, {"network": wanted["network"], "train": trained}):
            reasons.append(f"{arm} was trained with {other}")
            continue
        read_back.check(corpus["digest"])
        evaluation = Evaluation.read(workspace / "evaluation" / arm)
        evaluation.check(now | {"run": read_back.digest})
        noted[arm] = _of_run(read_back, evaluation, _timing(workspace, arm, run)) | {
            "made_with": _digest_of(read_back, evaluation)
        }
    if not noted:
        more = f"; and {len(reasons) - SAID} more likewise" if len(reasons) > SAID else ""
        said = "; ".join(reasons[:SAID]) + more
        raise UserError(f"nothing to keep of recipe '{name}': {said}; use it and run dvc repro first")
    for baseline in dict.fromkeys(
        arm for rung in read(name, folder).rungs for arm in rung.arms if arm not in params.arms
    ):
        evaluation = Evaluation.read(workspace / "baselines" / baseline)
        evaluation.check(now)
        noted[baseline] = _of_baseline(task, evaluation, _timing(workspace, baseline, None))
    before = measured(name, folder)
    _check_alike(before | noted, folder / f"{name}.json")
    everything = dict(sorted((before | noted).items()))
    whole_text(folder / f"{name}.json", json.dumps(everything, indent=1) + "\n")
    return list(noted)


def _check_ladder(name: str, task: str, folder: Path) -> None:
    if not has_part(task, "ladder"):
        raise UserError(f"there is no ladder of {task} to keep recipe '{name}' for; what it reached stands in report/")
    if not read(name, folder).rungs:
        raise UserError(
            f"recipe '{name}' is an experiment: it has no rungs, so nothing of it would stand in a ladder; what it "
            "reached stands in report/"
        )


def _digest_of(run: Run, evaluation: Evaluation) -> str:
    """Of corpus and settings, but for the seed: figures of one configuration may be averaged where it is the same."""
    network, train = run.settings["network"], {**run.settings["train"], "seed": None, **MEASURED_ONLY}
    content = [run.settings["corpus_digest"], network, train, evaluation.made_of["settings"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _check_alike(noted: Mapping[str, Measurement], path: Path) -> None:
    """UserError where the seeds of a configuration were not all made with the same settings and corpus."""
    first: dict[str, tuple[str, str]] = {}
    for arm, note in noted.items():
        if "made_with" in note:  # notes of before it was noted have none
            other, digest = first.setdefault(arm.rpartition("-")[0], (arm, note["made_with"]))
            if digest != note["made_with"]:
                raise UserError(
                    f"{path} has {other} and {arm}, which were made with different settings or on different corpora; "
                    "take out the one that is no longer the recipe's"
                )


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first setting of the sections ``wanted`` that was another."""
    for section, keys in wanted.items():
        for key, value in keys.items():
            if (has := found[section].get(key)) != value:
                return f"{section}.{key} {has}, not {value}"
    return None


def _of_corpus(sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections that make a corpus; of a public one it does not matter where the user's own text would lie."""
    corpus, public = stated(sections["corpus"]), sections["corpus"]["name"] != "text"
    own = {key: value for key, value in corpus.items() if not (public and key in ("path", "pattern"))}
    return {"corpus": own, "vocabulary": stated_vocabulary(sections["vocabulary"])}


def _of_run(run: Run, evaluation: Evaluation, timing: Measurement) -> Measurement:
    task, train, summary = run.settings["task"], run.settings["train"], run.summary
    main: Score = task_part(task, "scores").SCORES[0]
    curve = zip(run.epochs["epoch"].tolist(), by_epoch(run, main).tolist(), strict=True)
    valid = run.valid()
    return {
        "seed": train["seed"],
        "epochs": train["epochs"],
        "clip_norm": train["clip_norm"],
        "parameters": summary["parameters"],
        "status": summary["status"],
        "diverged_at_step": summary["diverged_at_step"],
        task_part(task, "ladder").VALID: main.of(valid[main.name]) if valid else None,
        "valid_by_epoch": [[int(epoch), value] for epoch, value in curve],
        "scores": _numbers(task, evaluation, evaluation.details),
        **timing,
        **_circumstances(),
    }


def _of_baseline(task: str, evaluation: Evaluation, timing: Measurement) -> Measurement:
    main: Score = task_part(task, "scores").SCORES[0]
    return {
        task_part(task, "ladder").VALID: main.of(evaluation.valid[main.name]),
        "scores": _numbers(task, evaluation, {}),
        **timing,
        **_circumstances(),
    }


def _numbers(task: str, evaluation: Evaluation, chosen: Mapping[str, Any]) -> Measurement:
    """Scores with their intervals, the measures of baselines and variants, and what was ``chosen`` to reach them."""
    main: Score = task_part(task, "scores").SCORES[0]
    wording: Wording = task_part(task, "report").WORDING
    numbers: Measurement = {}
    for name, value in evaluation.values.items():
        numbers |= {name: value, f"{name}_interval": list(evaluation.intervals[name])}
    shown = (*wording.measured.values(), *wording.measures)
    numbers |= {name: value for name, value in evaluation.measures.items() if name in shown}
    return numbers | {**chosen, f"{main.unit}s": evaluation.sums[main.name].terms}


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
