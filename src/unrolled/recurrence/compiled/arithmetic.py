"""exp, sigmoid and tanh of a float32, in a form that the compiler vectorises, eight at a time; NaN stays NaN."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

CONTRACT = {"contract"}  # multiply and add in one rounding; nothing that could lose a NaN


@intrinsic
def _power_of_two(typingctx: Any, exponent: Any) -> Any:
    """2^n for a whole number n from -126 to 127, from the exponent's bits (numba's own integers would be 64 wide)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(32)
        biased = builder.add(builder.fptosi(arguments[0], bits), ir.Constant(bits, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(bits, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@njit(error_model="numpy", fastmath=CONTRACT, inline="always")
def exp(x):
    """e^x between e^-87 and e^88: 2^n times a polynomial, to 2 units in the last place (Moshier, Cephes' expf)."""
    y = np.float32(88.0) if x > np.float32(88.0) else x
    y = np.float32(-87.0) if y < np.float32(-87.0) else y
    n = np.floor(y * np.float32(1.44269504088896341) + np.float32(0.5))
    r = y - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * r * r + r + np.float32(1)) * _power_of_two(n)


@njit(error_model="numpy", fastmath=CONTRACT, inline="always")
def sigmoid(x):
    return np.float32(1) / (np.float32(1) + exp(-x))


@njit(error_model="numpy", fastmath=CONTRACT, inline="always")
def tanh(x):
    """2 sigmoid(2x) - 1, as in `recurrence/cells.py`."""
    return np.float32(2) * sigmoid(x + x) - np.float32(1)
