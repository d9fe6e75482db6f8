"""Files that vouch for each other: written together, read back with every byte checked, damage named with its mend."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from unrolled.shell.errors import UserError

T = TypeVar("T")

# Who writes which folder; in the second kind each arm, or baseline, has one of its own.
STAGES = {
    "text": "preprocess",
    "encoded": "vocabulary",
    "data": "vocabulary",
    "resolved": "resolve",
    "report": "compare",
}
STAGES_OF_ARMS = {"runs": "train", "evaluation": "evaluate", "baselines": "baseline", "probes": "probe"}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Indented, keys in the order given; infinities as Python's json writes them."""
    path.write_text(_text_of(content), encoding="utf-8")


def seal(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` with the sha256 of every file beside it, and one over itself."""
    content = content | {"files": {beside.name: sha256(beside) for beside in sorted(path.parent.iterdir())}}
    write_json(path, content | {"seal": _seal_of(content)})


def read_sealed(directory: Path, name: str) -> dict[str, Any]:
    """What ``seal`` wrote; UserError where it or a file beside it is missing, has other bytes or came later."""
    content = load(directory, name, json_of)
    same = (directory / name).read_bytes() == _text_of(content).encode()  # its blanks too
    if content.pop("seal", None) != _seal_of(content) or not same:
        raise UserError(f"{directory / name} was altered since it was written; {_mend(directory)}")
    for beside in sorted(directory.iterdir()):
        if beside.name not in (name, *content["files"]) and not beside.name.startswith("."):
            raise UserError(f"{beside} was added after {name} was written; remove it, or {_mend(directory)}")
    for beside, digest in content["files"].items():
        if not (directory / beside).is_file():
            raise UserError(f"{directory / beside} is missing; {_mend(directory)}")
        if sha256(directory / beside) != digest:
            raise UserError(f"{directory / beside} was altered since it was written; {_mend(directory)}")
    return content


def _text_of(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _seal_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(directory: Path, name: str, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of a file; UserError with the mend where it is missing or damaged."""
    try:
        return read(directory / name)
    except FileNotFoundError:
        raise UserError(f"{directory / name} is missing; {_mend(directory)}") from None
    except Exception as error:  # whatever a reader makes of foreign bytes
        raise UserError(f"{directory / name} is damaged ({type(error).__name__}); {_mend(directory)}") from error


def json_of(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return content


def stage_of(directory: Path) -> str:
    """The stage that writes a folder of results, as DVC names it."""
    name = directory.absolute().name
    parent = directory.absolute().parent.name
    return STAGES.get(name) or STAGES.get(parent) or f"{STAGES_OF_ARMS.get(parent, 'train')}@{name}"


def _mend(directory: Path) -> str:
    return f"make it again with: dvc repro -f -s {stage_of(directory)}"
