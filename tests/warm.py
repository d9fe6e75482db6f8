"""A warm start for the programs that a test's pipeline calls by name: `python`, `dvc` and `unrolled`.

A stage of a miniature computes for a tenth of a second and imports for five. So a server imports, once, what stages and
DVC take from others, and forks for each program that is to run; of ours it imports nothing, as a copy of the project
brings its own source by PYTHONPATH. A shim of the program's name, first on the PATH, hands over arguments, environment,
working directory and standard streams, hands on signals, and ends as the fork ends. What a fork cannot be true to is
left to the real interpreter: options of Python's own, such as -c, and its variables, such as PYTHONHASHSEED.

    warm.py serve SOCKET PROGRAM ...    the server of these programs; ends with its standard input
    warm.py SOCKET PROGRAM ...          what a shim does
"""

import atexit
import fcntl
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

SHIM = '#!/bin/sh\nexec "{python}" -I -S "{file}" "{address}" "{program}" "$@"\n'
SIGNALS = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
# What stages import, and what DVC does. None of it starts a thread or computes in parallel as it is imported: a fork
# would lack the threads.
STAGES = (
    "PIL.Image click jinja2 mlflow.pyfunc "
    "mlflow.store.tracking.sqlalchemy_store mlflow.tracking numba numpy pandas pooch pyarrow.dataset pyarrow.parquet "
    "pydantic requests ruamel.yaml safetensors.torch scipy.stats tokenizers torch._dynamo tqdm vl_convert"
)
MODULES = {
    "python": STAGES,
    "dvc": "dulwich.porcelain dvc._debug dvc.cli.parser dvc.dvcfile dvc.repo.experiments.queue.celery "
    "dvc.repo.open_repo dvc.repo.plots dvc.rwlock networkx opentelemetry.sdk.metrics pygit2 rich.console",
    "unrolled": STAGES,
}


@contextmanager
def warm_shims(folder: Path, *programs: str, **environment: str) -> Iterator[str]:
    """``folder``, with the shims of the programs beside this interpreter: it is to come first on the PATH.

    Several processes may share a folder: the first starts the server, which ends with the last of them, as the first
    then does. ``environment``: what a module or the interpreter reads as it starts, beside what is in this process's.
    """
    with locked(folder):
        server = None
        try:  # a pipe that nobody reads is of a server that has ended
            holding = os.open(folder / "held", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            server, holding = started(folder, programs, os.environ | environment)
    try:
        yield str(folder)
    finally:
        if server is None:
            os.close(holding)
        else:
            with locked(folder):  # so that nobody comes to hold what is about to end
                os.close(holding)
                server.communicate()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def started(
    folder: Path, programs: Sequence[str], variables: Mapping[str, str]
) -> tuple["subprocess.Popen[bytes]", int]:
    """The server, ready, and its shims; and the end of its standard input, a pipe by name, that keeps it alive."""
    held, address = folder / "held", folder / "server"
    for file in (held, address):
        file.unlink(missing_ok=True)
    os.mkfifo(held)
    ending, holding = (os.open(held, mode | os.O_NONBLOCK) for mode in (os.O_RDONLY, os.O_WRONLY))
    words = [sys.executable, __file__, "serve", address, *programs]
    server = subprocess.Popen(words, env=variables, stdin=ending, stdout=subprocess.PIPE)
    os.close(ending)
    for name in programs:
        beside = Path(sys.executable).with_name(name)
        places = {"python": sys.executable, "file": __file__, "address": address, "program": beside}
        (folder / name).write_text(SHIM.format_map(places))
        (folder / name).chmod(0o755)
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    return server, holding


def ask(address: str, program: str, *arguments: str) -> None:
    """Run ``program``, a script or the interpreter itself, in a fork of the server; end as it ends."""
    own = any(name.startswith("PYTHON") and name != "PYTHONPATH" for name in os.environ)
    script = arguments[:1] if os.path.basename(program) == "python" else (program,)
    if own or not script or script[0].startswith("-"):
        os.execv(program, [program, *arguments])
    words = arguments if script[0] is not program else (program, *arguments)
    order = json.dumps([os.getcwd(), dict(os.environ), words]).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(address)
        socket.send_fds(server, [len(order).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(order)
        for number in SIGNALS:
            signal.signal(number, lambda number, _: server.send(bytes([number])))
        status = int.from_bytes(server.recv(4), "big", signed=True)
    if status < 0:  # a signal ended it
        with suppress(OSError):  # of SIGKILL there is nothing to set
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def serve(address: str, *programs: str) -> None:
    """Fork for every program that is asked for, until standard input ends."""
    path = sys.path[1:]
    for name in dict.fromkeys(" ".join(MODULES[program] for program in programs).split()):
        import_module(name)
    know_what_kernels_call()
    gc.collect()
    gc.freeze()  # so that no fork copies what lies here, by looking whether it is still wanted
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen(64)
    ended, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    sources = selectors.DefaultSelector()
    for source in (sys.stdin, listening, ended):
        sources.register(source, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for key, _ in sources.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listening:
                client, _ = listening.accept()
                size, streams, *_ = socket.recv_fds(client, 8, 3)
                order = json.loads(client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
                if not (process := os.fork()):
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for source in (listening, ended, wake, client, *running.values()):
                        source.close()
                    run(*order, streams, path)
                for stream in streams:
                    os.close(stream)
                running[process] = client
                sources.register(client, selectors.EVENT_READ, process)
            elif key.fileobj is ended:
                ended.recv(4096)
                while running and (found := os.waitpid(-1, os.WNOHANG))[0]:
                    client = running.pop(found[0])
                    sources.unregister(client)
                    with suppress(OSError):  # the client is no more
                        client.send(os.waitstatus_to_exitcode(found[1]).to_bytes(4, "big", signed=True))
                    client.close()
            elif key.data in running:  # a signal, or the end of a client that was killed
                os.kill(key.data, ord(running[key.data].recv(1) or b"\x09"))


def know_what_kernels_call() -> None:
    """What numba reads before it gives the first kernel, kept ones too: half a second of every stage."""
    target = import_module("numba.core.registry").cpu_target
    target.typing_context.refresh()
    target.target_context.refresh()


def run(folder: str, environ: dict[str, str], words: list[str], streams: list[int], path: list[str]) -> NoReturn:
    """Be the interpreter that runs a script, in a process that was the server's."""
    os.chdir(folder)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environ)
    own = [os.path.abspath(entry) for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [os.path.dirname(os.path.abspath(words[0])), *own, *path]
    sys.argv = words
    signal.signal(signal.SIGINT, signal.default_int_handler)  # to which a shell's background jobs are deaf
    sys.modules["numpy"].random.seed()
    status: object = 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    os._exit(int(status or 0) & 255)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        ask(*sys.argv[1:])
