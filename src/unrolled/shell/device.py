"""Where a training computes: on the CPU, or on a GPU that torch can reach through CUDA.

No setting of an arm names it, as none names the threads: it is the machine's affair, and what comes out is the same but
for rounding. So nothing is trained anew for it, and who has no GPU takes over what was trained on one.
"""

import os

import torch

from unrolled.shell.errors import UserError

CPU = torch.device("cpu")


def find_device(name: str) -> torch.device:
    """cpu, cuda, or cuda:1 and so on. UserError where torch has no such device.

    Of several processes that train together, as torchrun numbers them, ``cuda`` gives each a GPU of its own.
    """
    if name == "cuda" and (number := os.environ.get("LOCAL_RANK")):
        name = f"cuda:{number}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: {name!r} is not a known device; use cpu, cuda or cuda:1")
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        found = f"torch {torch.__version__} finds {torch.cuda.device_count()} GPUs"
        raise UserError(f"device: {name} not found ({found}); leave UNROLLED_DEVICE unset to train on the CPU")
    if device.type == "cuda":  # else cuDNN's layers round to ten bits, and differ from our own loops by 1e-3
        torch.backends.cudnn.allow_tf32 = False
    return device


def describe(device: torch.device) -> str:
    """What the record calls it: a GPU by its maker's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
