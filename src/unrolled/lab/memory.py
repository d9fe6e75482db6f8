"""Whether a training fits into memory, said in one line before it starts; and memory kept from step to step."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

from unrolled.errors import UserError
from unrolled.nets.cells import CELLS
from unrolled.settings import Network, Settings

GIGABYTE = 10**9
# What a container allows in all, in bytes: control groups of version 2 and of version 1.
CONTAINER = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
MMAP_MOST = 32 * 2**20  # the largest that glibc takes for the second; arrays above it are fresh pages each time


def check_memory(settings: Settings, types: int, device: torch.device) -> None:
    """UserError where a lower bound of what training takes is more than ``device`` has; ``types`` of the vocabulary."""
    network, train = settings.network, settings.train
    copies = 2 if train.optimiser == "sgd" else 4  # the best epoch's beside them; adam has two moments
    stacks, gates = 1 + network.bidirectional, CELLS[network.cell].gates
    needs = {
        "network.hidden, network.embedding or network.layers": 4 * copies * weights(network, types),
        "train.window or train.columns": 4
        * train.window
        * train.columns
        * stacks
        * network.layers
        * gates
        * network.hidden,
    }
    there = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available()
    if (need := sum(needs.values())) > there:
        raise UserError(
            f"{settings.arm}: training takes more than {need / GIGABYTE:,.1f} GB of memory, and there are "
            f"{there / GIGABYTE:,.1f} GB here; lower {max(needs, key=lambda each: needs[each])}"
        )


def weights(network: Network, types: int) -> int:
    """The numbers in the matrices of the network, without drawing one."""
    hidden, above = network.hidden, network.layers - 1
    below = hidden * above  # what the layers above the first read
    if network.connection == "dense":
        below = network.embedding * above + hidden * above * (above + 1) // 2
    of_stack = CELLS[network.cell].gates * hidden * (network.embedding + below + hidden * network.layers)
    of_stack += hidden * hidden * above if network.connection == "highway" else 0
    outside = types * (network.embedding + (0 if network.tied else hidden))
    return outside + (2 * of_stack + 2 * hidden * hidden if network.bidirectional else of_stack)


def available() -> int:
    """The bytes of memory that this process may take: the machine's, or fewer where its container allows fewer."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in CONTAINER:
        with suppress(OSError, ValueError):  # not there, or "max"
            sizes.append(int(limit.read_text()))
    return min(sizes)


def keep_freed_memory() -> bool:
    """Have malloc keep what is freed, for a step later the same arrays are wanted again; false where it cannot.

    Left alone, glibc hands freed memory back to the system whenever much of it lies at the heap's end, and a training
    step then touches a thousand fresh pages and more, which the system clears first. The peak stays what it was. For
    the whole process, so it is for a program to call, not for a library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_MOST) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
