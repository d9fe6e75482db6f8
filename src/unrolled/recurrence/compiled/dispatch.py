"""Whether a call is for the compiled kernels."""

import os

import torch
from torch import Tensor


def runs_compiled(tensor: Tensor) -> bool:
    """True for float32 on the CPU, unless UNROLLED_COMPILED=0 is in the environment."""
    fits = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return fits and os.environ.get("UNROLLED_COMPILED") != "0"
