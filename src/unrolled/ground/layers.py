"""How a stack of layers is described, in settings as in the engine: one value for all of it, or one for each part."""

from collections.abc import Mapping, Sequence
from typing import Any

PLACES = ("input", "between", "output")  # of dropout: before the first layer, before each above it, after the last


def sizes_of(hidden: int | Sequence[int], layers: int) -> list[int]:
    """The width of each layer, from the lowest up; ValueError where there is not one for each."""
    if layers < 1:
        raise ValueError(f"layers must be at least 1, not {layers}")
    sizes = [hidden] * layers if isinstance(hidden, int) else list(hidden)
    if len(sizes) != layers:
        raise ValueError(f"hidden must be one number or {layers}, one for each layer, not {sizes}")
    return sizes


def spelled_out(network: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``network`` with a value for each layer and place, whichever way it was stated; a task may lack any.

    So two that mean the same are equal: hidden 64 of two layers and [64, 64], dropout 0.2 and 0.2 at each place.
    """
    own = dict(network)
    if "hidden" in own and "layers" in own:
        own["hidden"] = sizes_of(own["hidden"], own["layers"])
    for key in ("dropout", "dropout_mask"):
        if key in own and not isinstance(own[key], Mapping):
            own[key] = dict.fromkeys(PLACES, own[key])
    return own
