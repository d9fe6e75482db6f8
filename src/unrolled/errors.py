"""A user's mistake, a full disk, a request to stop: how each ends a command, with one line."""

import re
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType, TracebackType
from typing import NoReturn, ParamSpec

P = ParamSpec("P")

GOES_ON = "the same command goes on from here, a training from its last checkpoint"


class UserError(Exception):
    """A mistake of the user's: its message is one line that says what is wrong, where, and the mend."""


class _Terminated(BaseException):
    """SIGTERM came: the clean-up of a Ctrl-C, under a status of its own."""


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what is no defect of ours into one line on stderr; a defect keeps its traceback.

    A user's mistake and a full disk end with exit status 1, Ctrl-C with 130, SIGTERM with 143, as a shell has it.
    """

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, _terminate)
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            _end(f"stopped: {GOES_ON}", 130)
        except _Terminated:
            _end(f"stopped: {GOES_ON}", 143)
        except BrokenPipeError:  # `head` has seen enough: click ends such a command without a word
            raise
        except Exception as error:
            if "No space left on device" in str(error):  # libraries in Rust and C++ have errors of their own for it
                _end(f"error: {error}; make room: {GOES_ON}", 1)
            if not isinstance(error, (UserError, OSError)):
                raise
            _end(f"error: {error}", 1)

    return wrapped


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """What Python does with an error that nobody caught; Ctrl-C while torch is still being imported is no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"stopped: {GOES_ON}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _hook


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def without_credentials(text: str) -> str:
    """The addresses in ``text`` without the user and password that they may carry."""
    return re.sub(r"://[^/\s]+@", "://***@", text)


def _end(line: str, status: int) -> NoReturn:
    print(without_credentials(" ".join(line.split())), file=sys.stderr)
    raise SystemExit(status) from None
