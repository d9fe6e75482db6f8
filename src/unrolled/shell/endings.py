"""How a command ends that a user's mistake, a full disk or a request to stop has ended: with one line."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import NoReturn, ParamSpec

from unrolled.shell.errors import UserError
from unrolled.shell.redaction import without_credentials

P = ParamSpec("P")

# What a machine refuses, whoever asks: rights, room, a limit, a broken device, the network.
REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE}
REFUSALS |= {errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENETDOWN}
REFUSALS |= {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRINUSE, errno.EADDRNOTAVAIL}
# What is the user's where the error names the file; where it names none, no user can mend it.
OF_A_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
# Libraries in C, Rust and C++ have errors of their own for a full disk.
FULL = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")
ANEW = "the same command begins anew, and no file is half-written"
ANSWERED = "what stands above is all of the answer, and no file was changed"


class _Terminated(BaseException):
    """SIGTERM came: the clean-up of a Ctrl-C, under a status of its own."""


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what is no defect of ours into one line on stderr; a defect keeps its traceback.

    A user's mistake and a full disk end with exit status 1, Ctrl-C with 130, SIGTERM with 143, as a shell has it.
    UNROLLED_DEBUG=1 shows the traceback of every error.
    """
    return ending(ANEW)(command)


def ending(stopped: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """As `one_line_errors`, for a command of which something else is true once it was ``stopped``."""

    def ended(command: Callable[P, None]) -> Callable[P, None]:
        @wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            signal.signal(signal.SIGTERM, _terminate)
            try:
                command(*args, **kwargs)
            except KeyboardInterrupt:
                _end(f"stopped: {stopped}", 130)
            except _Terminated:
                _end(f"stopped: {stopped}", 143)
            except BrokenPipeError:  # `head` has seen enough: click ends such a command without a word
                raise
            except Exception as error:
                if os.environ.get("UNROLLED_DEBUG", "0") not in ("", "0"):
                    raise
                if FULL.search(str(error)):
                    _end(f"error: {error}; make room: {stopped}", 1)
                if not is_no_defect(error):
                    raise
                _end(f"error: {error}", 1)

        return wrapped

    return ended


def is_no_defect(error: Exception) -> bool:
    """Whether the user or the machine is to mend it: a mistake, a refusal, a file that is missing or no file.

    Another OSError, such as of a descriptor that is closed, or one that names no file, is a defect like any other.
    """
    if not isinstance(error, OSError):
        return isinstance(error, UserError)
    refused = isinstance(error, ConnectionError | TimeoutError) or error.errno in REFUSALS
    return refused or (error.errno in OF_A_FILE and bool(error.filename))


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _end(line: str, status: int) -> NoReturn:
    print(without_credentials(" ".join(line.split())), file=sys.stderr)
    raise SystemExit(status) from None
