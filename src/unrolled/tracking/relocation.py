"""A repository that was moved, or copied: its MLflow database still says where the artifacts lay.

MLflow keeps an absolute address for each experiment, run, model and version, and has no way to change them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from unrolled.ground.registry import has_part, task_names, task_part
from unrolled.shell.errors import UserError
from unrolled.shell.store import ARTIFACTS, Store, later

ADDRESSES = ("artifact_location", "artifact_uri", "storage_location", "source")  # columns of MLflow's tables
MEND = "the repository was moved or copied; `unrolled relocate` points the store here"


def check_place(store: Store) -> None:
    """UserError where the database of our experiments keeps its artifacts elsewhere than beside it."""
    for place in _elsewhere(store):
        raise UserError(elsewhere(store, place))


def elsewhere(store: Store, place: str) -> str:
    """What is to be said, and done, about a database that keeps its artifacts in another ``place``."""
    said = f"{store.database} keeps its artifacts in {place}"
    return f"{said}: {MEND if _was_beside(place) else f'it was made elsewhere; move it aside; {later()}'}"


def relocate(store: Store) -> int:
    """Put the place beside the database in that of the one that it names, wherever it does; how often that was.

    All or nothing. UserError where the store is no SQLite database or is not there, names a place that is none of a
    repository's, or the artifacts are not there.
    """
    if store.database is None or store.artifacts is None:
        raise UserError("the store of MLFLOW_TRACKING_URI is no SQLite database; a server's place is its own affair")
    store.check()
    if not store.database.exists():
        raise UserError(f"there is no {store.database}: nothing was published here; go to the repository that moved")
    places = list(_elsewhere(store))
    for place in places:
        if not _was_beside(place):
            raise UserError(elsewhere(store, place))
    if places and not store.artifacts.is_dir():
        raise UserError(f"{store.artifacts} is not there: move {_path(places[0])} to beside {store.database.name}")
    changed = 0
    with FileLock(store.lock), closing(sqlite3.connect(store.database)) as connection, connection:
        for place in places:
            # Artifacts are addressed by URI; MLflow's own experiment "Default" by a path in the folder above.
            old, new = _path(place).removesuffix(ARTIFACTS), f"{store.artifacts.parent}/"
            changed += _replace(connection, place, store.artifacts.as_uri()) + _replace(connection, old, new)
    return changed


def _elsewhere(store: Store) -> Iterator[str]:
    """The places other than the store's own that experiments of ours keep artifacts in."""
    if store.database is None or store.artifacts is None or not store.database.exists():
        return
    names = [task_part(task, "publishing").EXPERIMENT for task in task_names() if has_part(task, "publishing")]
    with closing(sqlite3.connect(store.database)) as connection:
        try:
            found = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
        except sqlite3.OperationalError:  # MLflow has made nothing in it yet
            return
    places = dict.fromkeys(str(place) for name, place in found if name in names)
    yield from (place for place in places if place != store.artifacts.as_uri())


def _was_beside(place: str) -> bool:
    return place.startswith("file:") and _path(place).endswith(f"/{ARTIFACTS}")


def _path(place: str) -> str:
    return unquote(urlsplit(place).path)


def _replace(connection: sqlite3.Connection, old: str, new: str) -> int:
    """In every address that begins with ``old`` as a folder; MLflow adds tables from version to version."""
    changed, begin = 0, old.rstrip("/")
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if column in ADDRESSES:
                changed += connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '
                    f'WHERE "{column}" = ? OR substr("{column}", 1, ?) = ?',
                    (new.rstrip("/"), len(begin) + 1, begin, len(begin) + 1, f"{begin}/"),
                ).rowcount
    return changed
