"""`train.start_from` while params.yaml is resolved: the run is found, copied and pinned by its digest."""

import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from unrolled.ground.atomic import whole_folder
from unrolled.ground.checksums import json_of, load, read_sealed, sha256
from unrolled.ground.corpus import MANIFEST, corpus_digest
from unrolled.ground.start import SETTINGS, VOCABULARY, WEIGHTS, Start, digest_of
from unrolled.settings.messages import shown
from unrolled.settings.own_path import where_dvc_was_called
from unrolled.shell.errors import UserError
from unrolled.shell.redaction import redact
from unrolled.shell.store import Store

LONGEST = 1000  # characters of an address
OF_MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")

Arm = Mapping[str, Any]
Download = Callable[[str], Path]


def pinned(arms: Mapping[str, Arm]) -> dict[str, dict[str, Any]]:
    """The arms as they are resolved: with ``start_from`` pinned by a digest, or without it where it says nothing.

    UserError where there is no run at that place, or it is of another task or diverged.
    """
    with TemporaryDirectory() as folder:
        download = cache(partial(_downloaded, folder=folder))  # a model is fetched once, and is the same for all arms
        return {name: _pinned(arm, download) for name, arm in arms.items()}


def _pinned(arm: Arm, download: Download) -> dict[str, Any]:
    train = dict(arm["train"])
    if (address := train.pop("start_from")) is not None:
        train["start_from"] = _copied(address, arm, _found(address, arm["arm"], download)).stated
    return {**arm, "train": train}


def _copied(address: str, arm: Arm, run: Path) -> Start:
    settings = load(run, SETTINGS, json_of)
    if settings.get("task") != arm["task"]:
        raise UserError(f"train.start_from: {address} is of the task {settings.get('task')}, not {arm['task']}")
    if (before := _before(address, run, arm["arm"], settings)) is not None:
        return before
    logged = any((run / name).is_file() for name in VOCABULARY)  # a model of MLflow, of fewer files
    if not logged and read_sealed(run, "summary.json")["status"] == "diverged":
        raise UserError(f"train.start_from: {run} diverged: there is nothing to go on from")
    start = Start(address, digest_of(run))
    vocabulary = _vocabulary(run, settings["corpus_digest"])
    if not _holds(start, run) or (vocabulary and not (start.folder / "vocabulary").is_dir()):
        with whole_folder(start.folder) as place:
            shutil.copytree(run, place / "run")
            if vocabulary:
                (place / "vocabulary").mkdir()
            for file in vocabulary:
                shutil.copyfile(file, place / "vocabulary" / file.name)
    return start


def _holds(start: Start, run: Path) -> bool:
    """Whether the copy of a run is there, and as that is."""
    copies = {file: start.run / file.name for file in run.iterdir() if file.is_file()}
    return all(copy.is_file() and sha256(copy) == sha256(file) for file, copy in copies.items())


def _before(address: str, run: Path, arm: str, settings: Mapping[str, Any]) -> Start | None:
    """What the arm's own run has started from at this address: the run that stands there now is what came of it."""
    stated = settings["train"].get("start_from")
    if stated is None or run.resolve() != Path("runs", arm).resolve() or Start.of(stated).address != address:
        return None
    before = Start.of(stated)
    if not before.whole():
        raise UserError(
            f"train.start_from: {run} has itself started from {address} as it was, and {before.folder}, the copy of "
            f"that, is gone or altered; copy {run} to another place and start from there"
        )
    return before


def _found(address: str, arm: str, download: Download) -> Path:
    """The folder that holds the run's weights and settings."""
    if not address.isprintable() or len(address) > LONGEST:
        raise UserError(f"train.start_from: {shown(address)} can be no path; a run directory is due")
    if address.startswith(OF_MLFLOW):
        return download(address)
    try:
        place = Path(address).expanduser()
        if not place.exists() and (there := where_dvc_was_called(address)):
            place = there  # what DVC keeps is not always in the copy that it runs an experiment in
        found = next((each for each in (place, place / arm) if (each / SETTINGS).is_file()), None)
    except (OSError, ValueError, RuntimeError):  # part of it too long, or of a user that there is not
        raise UserError(f"train.start_from: {shown(address)} can be no path; a run directory is due") from None
    if found is None:
        raise UserError(f"train.start_from: {_why_not(address, place, arm)}")
    if not (found / WEIGHTS).is_file():
        raise UserError(f"train.start_from: {found} has no {WEIGHTS}; get it back with: dvc checkout")
    return found


def _why_not(address: str, place: Path, arm: str) -> str:
    if Path("recipes", f"{address}.yaml").is_file():
        return (
            f"of recipe {address} figures are kept, and no weights; train it (unrolled use {address}, dvc repro) and "
            "name its run, as runs/lstm-clipped-1"
        )
    if not place.exists():
        return f"{address} is not there; a run directory is due, a folder of them, or a model of MLflow (models:/...)"
    if place.is_file():
        return f"{address} is a file; name the folder that holds it, a run directory"
    runs = sorted(each.parent.name for each in place.glob(f"*/{SETTINGS}"))
    if not runs:
        return f"{address} holds no run of {arm}: it has no {SETTINGS}; a run directory is due, as runs/lstm-clipped-1"
    return f"{address} holds no run of {arm}, but of {', '.join(runs)}; name one, as {address.rstrip('/')}/{runs[0]}"


def _downloaded(address: str, folder: str) -> Path:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # or a log is full of it
    from mlflow.artifacts import download_artifacts  # 2 s that nobody else shall wait for
    from mlflow.exceptions import MlflowException

    store = Store.locate(Path())
    store.check()
    try:
        place = Path(download_artifacts(address, dst_path=mkdtemp(dir=folder), tracking_uri=store.uri))
    except (MlflowException, OSError) as error:
        said = redact(str(error).partition("\n")[0])[:300]
        raise UserError(f"train.start_from: no {address} at {redact(store.uri)}: {said}") from None
    found = next(iter(sorted(place.rglob(SETTINGS))), None)
    if found is None:
        raise UserError(f"train.start_from: {address} is no model of this project: it has no {SETTINGS}")
    return found.parent


def _vocabulary(run: Path, corpus: str) -> list[Path]:
    """The files that say what the run's ids stand for: beside it in a logged model, else in data/encoded as it is."""
    if any((run / name).is_file() for name in VOCABULARY):
        return [run / name for name in VOCABULARY if (run / name).is_file()]
    encoded = run.resolve().parent.parent / "data" / "encoded"
    if not (encoded / MANIFEST).is_file() or corpus_digest(load(encoded, MANIFEST, json_of)["files"]) != corpus:
        return []
    return [encoded / name for name in VOCABULARY if (encoded / name).is_file()]
