"""The resolved settings that stages read: each file vouches for itself and its name; see `settings/resolve.py`."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from unrolled.ground.checksums import json_of, load
from unrolled.shell.errors import UserError

RESOLVED = Path("resolved")
AGAIN = "make it again with: dvc repro -f -s resolve"


def read_resolved(name: str, folder: Path = RESOLVED) -> dict[str, Any]:
    """The settings in ``folder``/<name>.json, as "evaluate" or "arms/lstm-clipped".

    UserError where the file is missing, for an arm naming the nearest, was altered since it was written, or is that of
    another name.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise UserError(_missing(path))
    content = load(folder, f"{name}.json", json_of)
    if content.pop("sha256", None) != _digest(content):
        raise UserError(f"{path} was altered since it was written; edit params.yaml instead, and {AGAIN}")
    if (own := content.pop("file", None)) != name:
        raise UserError(f"{path} holds the settings of {own}; edit params.yaml instead, and {AGAIN}")
    return content


def read_arm(arm: str, folder: Path = RESOLVED) -> dict[str, Any]:
    """The resolved settings of one arm; UserError as ``read_resolved``."""
    return read_resolved(f"arms/{arm}", folder)


def arm_named(name: str, folder: Path = RESOLVED) -> str:
    """The arm that is meant: of a grid with one seed, `lstm-clipped` is `lstm-clipped-1`."""
    return seeded(name, (path.stem for path in (folder / "arms").glob("*.json")))


def seeded(name: str, there: Iterable[str]) -> str:
    """The one of the arms ``there`` that is ``name`` with a seed; the name itself where there is none.

    UserError where there are several.
    """
    arms = set(there)
    seeds = sorted(int(arm.rpartition("-")[2]) for arm in arms if re.fullmatch(rf"{re.escape(name)}-\d+", arm))
    if name in arms or not seeds:
        return name
    if len(seeds) > 1:
        raise UserError(f"{name} has the seeds {', '.join(map(str, seeds))}: name one, as {name}-{seeds[0]}")
    return f"{name}-{seeds[0]}"


def write_resolved(name: str, content: Mapping[str, Any], folder: Path = RESOLVED) -> str:
    """Write ``folder``/<name>.json, with its name in it and a digest over all; return that digest."""
    path, named = folder / f"{name}.json", {"file": name, **content}
    digest = _digest(named)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**named, "sha256": digest}, indent=2) + "\n", encoding="utf-8")
    return digest


def check_together(folder: Path = RESOLVED) -> None:
    """UserError naming a file that was not written together with the others, as params.json has their digests."""
    for name, digest in read_resolved("params", folder)["files"].items():
        path = folder / f"{name}.json"
        if path.is_file() and load(path.parent, path.name, json_of).get("sha256") != digest:
            read_resolved(name, folder)  # it may be of another name, or altered by hand
            raise UserError(f"{path} was made from another params.yaml than the files beside it; {AGAIN}")


def digest_of_params(path: Path) -> str:
    """Of what params.yaml says: neither comments nor the order of keys change it."""
    return _digest(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"{path} is missing; `dvc repro resolve` makes it from params.yaml"
    there = sorted(each.stem for each in path.parent.glob("*.json"))
    close = get_close_matches(path.stem, there, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(there)}"
    return f"{path} is missing ({hint}); `dvc repro resolve` makes it from params.yaml"
