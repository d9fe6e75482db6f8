"""What a DVC that was killed leaves half-written, and what then stops every later one (seen in 3.67).

dvc.lock                      the results, written in place: cut off
.dvc/tmp/rwlock               the list of readers and writers, written in place: empty or cut off
.dvc/cache/runs/XX/KEY/       an entry of the run cache: a folder without a file in it, or with one of another name
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.lock import Lock, LockError
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML

from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

LOCK = Path("dvc.lock")  # of the pipeline in the working directory; the others lie at the repository's root
RWLOCK, RUNS = Path(".dvc/tmp/rwlock"), Path(".dvc/cache/runs")
CONFLICT = b"\n>>>>>>> "  # how git marks the end of what two sides of a merge have changed
WRITING = Path(".dvc/tmp/lock")  # held by a DVC that lives, whenever it writes one of these


def half_written() -> list[Path]:
    """Files and folders of the repository in the working directory that no DVC will finish, the innermost first.

    UserError, as of `take_away`, where git has written both sides of a merge into the results: one is to be chosen.
    """
    with _nobody_writes() as rest:
        return _found() if rest else []


def take_away() -> list[Path]:
    """Remove what is half-written, and name it; a result was never in it."""
    with _nobody_writes() as rest:
        remains = _found() if rest else []
        for path in remains:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
    return remains


@contextmanager
def _nobody_writes() -> Iterator[bool]:
    """Hold DVC's lock; false where another holds on to it for three seconds."""
    writing = repository(Path()) / WRITING
    if not writing.parent.is_dir():  # no DVC ever ran here
        yield True
        return
    lock = Lock(str(writing))
    try:
        lock.lock()
    except LockError:
        yield False
        return
    try:
        yield True
    finally:
        lock.unlock()


def _found() -> list[Path]:
    return sorted(_half_written(), reverse=True)


def _half_written() -> Iterator[Path]:
    root = repository(Path())
    if LOCK.is_file() and CONFLICT in LOCK.read_bytes():
        raise UserError(
            f"git has merged two versions of {LOCK} into one that DVC cannot read; choose one, as with: "
            f"git checkout --theirs {LOCK}"
        )
    for path, whole in ((LOCK, _whole_lock), (root / RWLOCK, json.loads)):
        try:
            whole(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except Exception:  # whatever readers make of half a file
            yield path
    for entry in (root / RUNS).glob("*/*"):
        files = list(entry.iterdir())
        partial = [file for file in files if file.name.startswith(".") or not file.stat().st_size]
        yield from partial
        if len(partial) == len(files):
            yield entry


def _whole_lock(text: str) -> None:
    """An error where DVC would refuse it; a stage that is only missing comes back from the run cache."""
    COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
