"""Whether a training fits into memory, said in one line before it starts; and memory kept from step to step."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from unrolled.ground.registry import task_part
from unrolled.shell.errors import UserError
from unrolled.shell.malloc import keep_freed_memory

GIGABYTE = 10**9
# What a container allows in all, in bytes: control groups of version 2 and of version 1.
CONTAINER = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


def prepare_memory(arm: Mapping[str, Any], sizes: Mapping[str, int], device: torch.device) -> None:
    """Before a training: see that it fits, as ``check_memory``, and keep what its steps free."""
    check_memory(arm, sizes, device)
    keep_freed_memory()


def check_memory(arm: Mapping[str, Any], sizes: Mapping[str, int], device: torch.device) -> None:
    """UserError where a lower bound of what training takes is more than ``device`` has.

    ``arm``: its resolved settings; ``sizes``: what its task read off the encoded corpus.
    """
    needs: dict[str, int] = task_part(arm["task"], "settings").memory(arm["network"], arm["train"], sizes)
    there = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available()
    if (need := sum(needs.values())) > there:
        raise UserError(
            f"{arm['arm']}: training takes more than {need / GIGABYTE:,.1f} GB of memory, and there are "
            f"{there / GIGABYTE:,.1f} GB here; lower {max(needs, key=lambda each: needs[each])}"
        )


def available() -> int:
    """The bytes of memory that this process may take: the machine's, or fewer where its container allows fewer."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in CONTAINER:
        with suppress(OSError, ValueError):  # not there, or "max"
            sizes.append(int(limit.read_text()))
    return min(sizes)
