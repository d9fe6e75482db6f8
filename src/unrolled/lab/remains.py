"""What a DVC that was killed leaves half-written, and what then stops every later one (seen in 3.67).

.dvc/tmp/rwlock               the list of readers and writers, written in place: empty or cut off
.dvc/cache/runs/XX/KEY/       an entry of the run cache: a folder without a file in it, or with one of another name
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML

LOCK, RWLOCK, RUNS = Path("dvc.lock"), Path(".dvc/tmp/rwlock"), Path(".dvc/cache/runs")
SECONDS = 1.0  # what a living DVC may be writing right now is whole after that


def half_written() -> list[Path]:
    """Files and folders of the repository in the working directory that no DVC will finish, the innermost first."""
    found = set(_half_written())
    if found:
        time.sleep(SECONDS)
        found &= set(_half_written())
    return sorted(found, reverse=True)


def take_away(remains: list[Path]) -> None:
    """Remove what ``half_written`` found; a result was never in it."""
    for path in remains:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _half_written() -> Iterator[Path]:
    for path, whole in ((LOCK, _whole_lock), (RWLOCK, json.loads)):
        try:
            whole(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except Exception:  # whatever readers make of half a file
            yield path
    for entry in RUNS.glob("*/*"):
        files = list(entry.iterdir())
        partial = [file for file in files if file.name.startswith(".") or not file.stat().st_size]
        yield from partial
        if len(partial) == len(files):
            yield entry


def _whole_lock(text: str) -> None:
    """An error where DVC would refuse it; a stage that is only missing comes back from the run cache."""
    COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
