"""A user's mistake, and how it ends a command: with one line."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")


class UserError(Exception):
    """A mistake of the user's: its message is one line that says what is wrong, where, and the mend."""


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a user's mistake into one line on stderr and exit status 1; a defect of ours keeps its traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (UserError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(1) from None

    return wrapped
