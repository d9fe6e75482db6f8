"""How a stack of layers is described, in settings as in the engine: one value for all of it, or one for each part."""

from collections.abc import Sequence

PLACES = ("input", "between", "output")  # of dropout: before the first layer, before each above it, after the last


def sizes_of(hidden: int | Sequence[int], layers: int) -> list[int]:
    """The width of each layer, from the lowest up; ValueError where there is not one for each."""
    if layers < 1:
        raise ValueError(f"layers must be at least 1, not {layers}")
    sizes = [hidden] * layers if isinstance(hidden, int) else list(hidden)
    if len(sizes) != layers:
        raise ValueError(f"hidden must be one number or {layers}, one for each layer, not {sizes}")
    return sizes
