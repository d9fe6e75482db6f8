"""`unrolled ...`: what a person does outside the pipeline."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from unrolled.settings import UserError

P = ParamSpec("P")


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
