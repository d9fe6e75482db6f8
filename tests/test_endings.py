"""How a command ends: a mistake in one line, a request to stop with its own status, a defect with its traceback."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from miniature import environment
from unrolled.shell.endings import ANEW, ending, one_line_errors
from unrolled.shell.entry import main
from unrolled.shell.errors import UserError, laboratory_missing

PROGRAM = """
import os, signal
from unrolled.shell.endings import one_line_errors
from unrolled.shell.errors import UserError

@one_line_errors
def main():
    {body}

main()
"""


def ended(body: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, as it is started from a shell."""
    words = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.run(words, env=environment(**environ), capture_output=True, text=True)


def raising(error: BaseException) -> Callable[[], None]:
    @one_line_errors
    def command() -> NoReturn:
        raise error

    return command


@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_mistake_is_one_line(value: str | None) -> None:
    done = ended('raise UserError("what is wrong; its mend")', **({} if value is None else {"UNROLLED_DEBUG": value}))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: what is wrong; its mend\n")


def test_with_debugging_it_has_its_traceback() -> None:
    done = ended('raise UserError("what is wrong; its mend")', UNROLLED_DEBUG="1")
    assert done.returncode == 1 and done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("UserError: what is wrong; its mend\n") and "in main" in done.stderr


def test_a_defect_keeps_its_traceback() -> None:
    done = ended('{}["key"]')
    assert done.returncode == 1 and "Traceback" in done.stderr and done.stderr.endswith("KeyError: 'key'\n")


@pytest.mark.parametrize(("body", "status"), [
    ("raise KeyboardInterrupt", 130), ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 143),
])  # fmt: skip
@pytest.mark.parametrize("debug", ["0", "1"])
def test_a_request_to_stop_has_the_status_that_a_shell_gives_it(body: str, status: int, debug: str) -> None:
    done = ended(body, UNROLLED_DEBUG=debug)
    assert (done.returncode, done.stderr) == (status, f"stopped: {ANEW}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_is_said_of_a_command_that_was_stopped_is_its_own(
    error: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNROLLED_DEBUG", raising=False)

    @ending("the store is as it was")
    def command() -> NoReturn:
        raise error

    with pytest.raises(SystemExit):
        command()
    assert capsys.readouterr().err.endswith(": the store is as it was\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("over\nseveral\n  lines"), "error: over several lines"),
        (UserError("no answer from https://me:secret@host/x"), "error: no answer from https://***@host/x"),
        (PermissionError(13, "Permission denied", "runs"), "error: [Errno 13] Permission denied: 'runs'"),
        (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device; make room: the same"),
        (RuntimeError("(os error 28): No space left on device"), "error: (os error 28): No space left on device; make"),
        (OSError("4096 requested and 512 written"), "error: 4096 requested and 512 written; make room"),  # numpy's
        (OSError(30, "Read-only file system", "runs"), "error: [Errno 30] Read-only file system: 'runs'"),
        (OSError(5, "Input/output error"), "error: [Errno 5] Input/output error"),
        (FileNotFoundError(2, "No such file or directory", "git"), "error: [Errno 2] No such file or directory: 'git'"),
        (ConnectionResetError("the server is gone"), "error: the server is gone"),
        (TimeoutError("timed out"), "error: timed out"),
    ],
)
def test_what_is_no_defect_of_ours_is_one_line(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNROLLED_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ending:
        raising(error)()
    said = capsys.readouterr().err
    assert ending.value.code == 1 and said.startswith(line) and said.count("\n") == 1
    monkeypatch.setenv("UNROLLED_DEBUG", "1")
    with pytest.raises(type(error)) as raised:
        raising(error)()
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        OSError("no number, no name"),
        OSError(9, "Bad file descriptor"),
        OSError(22, "Invalid argument", "runs"),
        FileNotFoundError(2, "No such file or directory"),
        FileNotFoundError(2, "No such file or directory", ""),
        ChildProcessError(10, "No child processes"),
        io.UnsupportedOperation("not writable"),
        shutil.SameFileError("one file"),
    ],
)
def test_an_error_of_the_system_that_is_a_defect_of_ours_keeps_its_traceback(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNROLLED_DEBUG", raising=False)
    with pytest.raises(type(error)) as raised:
        raising(error)()
    assert raised.value is error


def test_a_reader_that_has_seen_enough_is_clicks_affair() -> None:
    with pytest.raises(BrokenPipeError):
        raising(BrokenPipeError())()


def test_where_only_the_library_is_installed_a_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "unrolled.shell.cli", raising=False)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(
        SystemExit, match=r"^error: this needs the laboratory, and its module click .*'unrolled\[lab\]'$"
    ):
        main()
    with pytest.raises(ModuleNotFoundError):  # a defect is none of the user's
        laboratory_missing(ModuleNotFoundError(name="unrolled.nowhere"))
