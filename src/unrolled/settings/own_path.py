"""Where the user's own data is: what is wrong with corpus.path that DVC would say in other words, or not at all."""

import os
import stat
from pathlib import Path

from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository


def check_path(path: str | None) -> None:
    """UserError for a path that DVC does not find though it is there, cannot list, or would wait on without end."""
    if path is None:
        return
    place = Path(path)
    try:
        home = place.expanduser()
    except RuntimeError:  # of a user that there is not
        home = place
    if home != place and not place.exists():
        raise UserError(f"corpus.path: DVC takes ~ for the name of a folder; write {home}")
    if place.exists():
        mode = place.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            what = "a pipe" if stat.S_ISFIFO(mode) else "no file"
            raise UserError(
                f"corpus.path: {path} is {what}, and text is read more than once; put it into a file: "
                f"cat {path} > text.txt"
            )
        if named := _without_utf8(place):
            raise UserError(f"corpus.path: the name of {named} is not UTF-8, and DVC lists no such file; rename it")
    elif there := where_dvc_was_called(path):
        raise UserError(
            f"corpus.path: DVC runs this in a copy of the repository, which lacks {path}, as git does not track it; "
            f"write its whole path: {there}"
        )


def _without_utf8(folder: Path) -> str | None:
    """The first file or folder below one whose name is no UTF-8, its bytes spelled out; None where there is none."""
    for above, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            try:
                name.encode()
            except UnicodeEncodeError:
                return os.fsencode(os.path.join(above, name)).decode(errors="backslashreplace")
    return None


def where_dvc_was_called(path: str) -> Path | None:
    """Of a relative path what it names in the user's repository, where this runs in a copy of it; None where nothing.

    `dvc exp run --temp` and `--queue` copy what git tracks to a folder below the .dvc of the user's repository.
    """
    here = Path.cwd()
    copy = repository(here, {})
    root = next((folder.parent for folder in copy.parents if folder.name == ".dvc"), None)
    if root is None or Path(path).is_absolute():
        return None
    there = root / here.relative_to(copy) / path
    return there if there.exists() else None
