"""Whether a call is for the compiled kernels, and which of the loops over time.

The modules of the kernels themselves are imported where they are called: Numba takes a third of a second and 140 MB,
which whoever only reads with torch's own layers does without.
"""

import os

import torch
from torch import Tensor

RNN, RELU, LSTM, GRU = range(4)  # the kinds of loop over time


def runs_compiled(tensor: Tensor) -> bool:
    """True for float32 on the CPU, unless UNROLLED_COMPILED=0 is in the environment."""
    fits = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return fits and os.environ.get("UNROLLED_COMPILED") != "0"
