"""What a served model is asked: rows of a table, each answered for itself, so that a bad one harms no other."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from unrolled.shell.errors import UserError

T = TypeVar("T")


def rows_of(asked: Any, column: str) -> list[Any]:
    """Those of a column of a table, or of what is no table.

    MLflow reads a null in a column of type string as the text "None". So our columns are of any type; and such a
    one that holds strings alone it hands on as a single row with a list in it.
    """
    return asked[column].explode().tolist() if hasattr(asked, "columns") else list(asked)


def text_in(row: object) -> str:
    """A row's text; UserError where it is null, which tables spell None or not-a-number, or of another kind."""
    if isinstance(row, str):
        return row
    missing = row is None or type(row).__name__ == "NAType" or (isinstance(row, float) and row != row)
    raise UserError(f"{'null' if missing else type(row).__name__} is no text")


def read_each(rows: Iterable[object], read: Callable[[str], T]) -> tuple[list[T | None], list[str | None]]:
    """What ``read`` makes of each row, None where it is none; and what is said of it then, in one line."""
    found: list[T | None] = []
    errors: list[str | None] = []
    for row in rows:
        try:
            found.append(read(text_in(row)))
            errors.append(None)
        except (UserError, ValueError) as error:
            found.append(None)
            errors.append(" ".join(str(error).split()))
    return found, errors
