"""Whether all that a training needs is there, found out in seconds: each finding with its mend."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import requests
from dvc.config import Config
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
from packaging.requirements import InvalidRequirement, Requirement
from ruamel.yaml import YAML

from unrolled.corpus.catalogue import PublicFile
from unrolled.corpus.fetch import check, mirror_within
from unrolled.corpus.of_task import data_of
from unrolled.ground.checksums import json_of, load
from unrolled.ground.corpus import MANIFEST, read_corpus
from unrolled.ground.registry import task_part
from unrolled.recurrence.compiled.kernel_cache import own_folder
from unrolled.settings.loader import PARAMS, load_params
from unrolled.settings.own_path import check_path
from unrolled.shell.device import CPU, describe, find_device
from unrolled.shell.dvc_leftovers import half_written
from unrolled.shell.endings import is_no_defect
from unrolled.shell.errors import UserError
from unrolled.shell.redaction import redact, without_credentials
from unrolled.shell.store import Store
from unrolled.shell.workspace import repository
from unrolled.tracking.environment import ignored
from unrolled.tracking.relocation import check_place

RAW, ENCODED = Path("data/raw"), Path("data/encoded")
SECONDS = 3.0  # that an address may take to answer
COPIES = 8  # of a network's weights that may lie on the disk: run, best, optimiser, checkpoints, DVC's cache, MLflow's
ROOM = 1 << 29  # bytes for all else


class Finding(NamedTuple):
    """What was looked at and what was seen; ``well`` False where it must be mended first."""

    about: str
    well: bool
    said: str


def examine() -> Iterator[Finding]:
    """Look at the set-up in the working directory, one thing after the other; nothing is changed."""
    for about, look in LOOKS.items():
        try:
            yield Finding(about, True, look())
        except Exception as error:
            if not is_no_defect(error):
                raise
            yield Finding(about, False, without_credentials(" ".join(str(error).split())))


def _versions() -> str:
    lock = repository(Path()) / "requirements.lock"
    if not lock.is_file():
        raise UserError(f"{lock.absolute()} does not exist; run this in a clone, or `git checkout {lock.name}`")
    pinned = _pinned(lock.read_text())
    found = {name: _version(name) for name in pinned}
    if other := [f"{name} {found[name]} ({pinned[name]})" for name in pinned if found[name] != pinned[name]]:
        said = f"{len(other)} packages differ from requirements.lock: {', '.join(other[:3])}"
        raise UserError(f"{said}{' ...' * (len(other) > 3)}; `make ready` installs those that results were made with")
    return f"Python {sys.version.split()[0]}, {len(pinned)} packages as requirements.lock pins them"


def _pinned(lock: str) -> dict[str, str]:
    """The version of each package that a lock names for this platform; hashes stand in indented lines below it."""
    lines = [line.rstrip(" \\") for line in lock.splitlines() if line[:1].isalnum()]
    try:
        needed = [Requirement(line) for line in lines]
    except InvalidRequirement as error:
        raise UserError(f"requirements.lock: {error}; `git checkout requirements.lock` restores it") from None
    here = [each for each in needed if each.marker is None or each.marker.evaluate()]
    return {each.name: str(each.specifier).removeprefix("==") for each in here}


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]  # the build of torch is the machine's affair
    except PackageNotFoundError:
        return "missing"


def _settings() -> str:
    params = load_params(PARAMS)
    return f"{PARAMS}: {len(params.arms)} arms on the corpus {params.sections['corpus']['name']}"


def _threads() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > cores:
        raise UserError(f"OMP_NUM_THREADS={wanted} threads on {cores} cores wait for each other; unset it")
    return f"{cores} cores, {wanted or cores} threads"


def _device() -> str:
    device = find_device(os.environ.get("UNROLLED_DEVICE") or "cpu")
    return f"trains on {device}" + (f", {describe(device)}" if device != CPU else "")


def _writable() -> str:
    root = repository(Path())
    folders = (Path(), Path("data"), Path("runs"), root, root / ".dvc", root / ".dvc/cache")
    for folder in filter(Path.is_dir, folders):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(f"{folder.absolute()} cannot be written to ({error.strerror}); own it, or clone") from None
    return f"{Path.cwd()} can be written to"


def _dvc() -> str:
    if shutil.which("dvc") is None:
        raise UserError("dvc is not on the PATH; `. .venv/bin/activate` puts it there, `make ready` installs it")
    root = repository(Path())
    for place, mark, mend in (
        (root, ".git", "git init, or clone the repository again"),
        (root, ".dvc/config", "clone the repository again"),
        (Path(), "dvc.yaml", "clone the repository again"),
    ):
        if not (place / mark).exists():
            raise UserError(f"{mark} is missing: DVC works in a clone; {mend}")
    _readable(root)
    done = subprocess.run(["git", "rev-parse", "--verify", "-q", "HEAD"], capture_output=True)
    if done.returncode:
        raise UserError("git has no commit here, and `dvc exp` needs one; commit first")
    if remains := half_written():
        raise UserError(f"{remains[0]} was half-written when DVC was killed; `unrolled check` removes it")
    return "a git repository with DVC in it"


def _readable(root: Path) -> None:
    """UserError where DVC would refuse its settings or the stages, of which it tells at length."""
    looks: dict[Path, Callable[[], object]] = {
        root / ".dvc/config": lambda: Config(str(root / ".dvc")),  # and the user's own, beside it and at home
        Path("dvc.yaml"): lambda: COMPILED_MULTI_STAGE_SCHEMA(YAML(typ="safe").load(Path("dvc.yaml"))),
    }
    for path, read in looks.items():
        try:
            read()
        except Exception as error:  # whatever readers make of any file
            name = os.path.relpath(path)
            raise UserError(f"DVC cannot read {name}: {error}; mend it, or `git checkout {name}`") from None


def _mlflow() -> str:
    store = Store.locate(Path())
    store.check()
    check_place(store)
    said = f"{redact(store.uri)} {'answers' if store.remote else 'can be written to'}"
    return "; ".join(filter(None, (said, ignored())))


def _corpus() -> str:
    params = load_params(PARAMS)
    corpus = params.sections["corpus"]
    check_path(corpus.get("path"))
    source = data_of(params.task).CATALOGUE[name := corpus["name"]]
    if source.own and not Path(corpus["path"]).exists():
        raise UserError(f"corpus.path: {corpus['path']} does not exist; name a file or a folder")
    files, mirror = source.files, mirror_within(os.environ.get("DVC_ROOT"))
    for file in files:
        if (RAW / file.name).is_file():
            _check_raw(RAW / file.name, file)
        else:
            _obtainable(file, mirror)
    if not ENCODED.exists():
        return f"{name}: available, not encoded yet"
    read, of = read_corpus(ENCODED), _encoded_of() or name
    if of != name:
        return f"{name}: available, not encoded yet: {ENCODED} is of {of}, until `dvc repro` makes it anew"
    return f"{name}: {len(read.train.tokens):,} training tokens, every digest right"


def _encoded_of() -> str | None:
    """The name of the corpus in ENCODED, whose digests `read_corpus` has checked, where it states one."""
    settings = load(ENCODED, MANIFEST, json_of).get("settings") or {}
    return (settings.get("corpus") or {}).get("name")


def _check_raw(path: Path, file: PublicFile) -> None:
    try:
        check(path, file, str(path))
    except UserError as error:
        raise UserError(f"{error}; `dvc repro -f -s fetch` downloads it again") from None


def _obtainable(file: PublicFile, mirror: str | None) -> None:
    place = file.address if mirror is None else f"{mirror.rstrip('/')}/{file.name}"
    if "://" not in place:
        if not Path(place).is_file():
            raise UserError(f"{place} does not exist; let UNROLLED_MIRROR name the folder that holds {file.name}")
        return
    try:
        requests.head(place, timeout=SECONDS, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"{file.name} cannot be downloaded from {place} ({type(error).__name__}); is there a network? "
            "UNROLLED_MIRROR names another place"
        ) from None


def _kernels() -> str:
    try:
        return f"compiled once, and kept in {own_folder()}"
    except OSError as error:
        return f"compiled anew by each process, which takes it seconds: {error}"


def _disk() -> str:
    free = shutil.disk_usage(Path()).free
    if not ENCODED.exists():
        return f"{free / 1e9:.1f} GB free; what is needed is known once the vocabulary is built"
    params, corpus, needed = load_params(PARAMS), read_corpus(ENCODED), ROOM
    parameters, task = task_part(params.task, "settings").parameters, task_part(params.task, "model").Task
    for arm in params.arms.values():
        needed += COPIES * 4 * parameters(arm["network"], task(arm["train"]).sizes(corpus))
    if free < needed:
        raise UserError(f"{free / 1e9:.1f} GB are free, and this grid may need {needed / 1e9:.1f}; make room")
    return f"{free / 1e9:.1f} GB free, of which this grid may need {needed / 1e9:.1f}"


LOOKS: dict[str, Callable[[], str]] = {
    "versions": _versions,
    "settings": _settings,
    "threads": _threads,
    "device": _device,
    "write access": _writable,
    "DVC": _dvc,
    "MLflow": _mlflow,
    "corpus": _corpus,
    "kernels": _kernels,
    "disk": _disk,
}
