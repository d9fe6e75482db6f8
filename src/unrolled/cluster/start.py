"""A cluster is started: a scheduler in this process, and workers on this machine, by ssh, or by a script for SLURM."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed
from distributed.utils import get_ip

from unrolled.shell.errors import UserError

Processes = dict[str, "subprocess.Popen[bytes]"]  # by host
# A worker is one arm at a time; it waits a minute for its scheduler, and ends with it.
WORKER = "-m distributed.cli.dask_worker {address} --nworkers 1 --nthreads {threads} --no-dashboard --death-timeout 60"


@contextmanager
def scheduler(workers: int, threads: int, host: str | None, port: int) -> Iterator[str]:
    """A scheduler with ``workers`` on this machine, of ``threads`` each; yields its address.

    ``host`` and ``port``: where it listens, None being the loopback of this machine. UserError where it cannot.
    """
    try:
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=threads, processes=True,
            host=host or "127.0.0.1", scheduler_port=port, dashboard_address=f"{host or '127.0.0.1'}:0",
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"no scheduler at {host or '127.0.0.1'}:{port}: {error}; another one: --port 0") from error
    with cluster:
        yield str(cluster.scheduler_address)


@contextmanager
def by_ssh(hosts: Sequence[str], address: str, threads: int, folder: Path) -> Iterator[Processes]:
    """A worker on each of ``hosts``, started by the ssh of this machine in ``folder`` there, a clone that is set up."""
    worker = WORKER.format(address=address, threads=threads)
    command = f"cd {shlex.quote(str(folder))} && exec .venv/bin/python {worker}"
    with ExitStack() as stack:
        started: Processes = {}
        for host in hosts:
            words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", host, command]
            started[host] = subprocess.Popen(words, stdin=subprocess.DEVNULL)
            stack.callback(started[host].terminate)
        yield started


def slurm_script(address: str, threads: int, folder: Path) -> str:
    """A job script that starts a worker; `sbatch --array=1-8` of it starts eight."""
    worker = WORKER.format(address=address, threads=f'"${{SLURM_CPUS_PER_TASK:-{threads}}}"')
    return f"""#!/usr/bin/env bash
# A worker of the scheduler at {address}, which takes one arm after the other: sbatch --array=1-8 THIS_FILE
#SBATCH --job-name=unrolled
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --mem=4G
#SBATCH --time=24:00:00
set -euo pipefail
cd {shlex.quote(str(folder))}
exec .venv/bin/python {worker} --local-directory "${{SLURM_TMPDIR:-${{TMPDIR:-/tmp}}}}"
"""


def reachable_host() -> str:
    """The address of this machine by which others reach it, as far as Dask can tell."""
    return str(get_ip())


def wait_for(processes: Processes) -> None:
    """Until a Ctrl-C; a line for each process that ends before."""
    while True:
        for host in [host for host, process in processes.items() if process.poll() is not None]:
            status = processes.pop(host).returncode
            print(f"the worker on {host} ended (status {status}); its reason stands above", file=sys.stderr)
        time.sleep(0.5)
