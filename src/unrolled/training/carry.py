"""What batches carry on, as a list of tensors: a task nests them in tuples as it likes."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def tensors_in(carry: Any) -> list[Tensor]:
    """The tensors of nested tuples, in their order."""
    if isinstance(carry, Tensor):
        return [carry]
    return [each for part in carry or () for each in tensors_in(part)]


def like(carry: Any, tensors: Iterator[Tensor]) -> Any:
    """Undo `tensors_in`: the tensors in nested tuples such as ``carry``."""
    if isinstance(carry, Tensor):
        return next(tensors)
    parts = [like(part, tensors) for part in carry]
    return type(carry)(*parts) if hasattr(carry, "_fields") else tuple(parts)
