"""What a run was trained with that does not state a key of the section ``train``, as it is older or of another task."""

from collections.abc import Mapping
from typing import Any

LATER: Mapping[str, Any] = {
    "average_again": None,
    "reset": "never",
    "window_varies": False,
    "activation_regularisation": 0.0,
    "temporal_activation_regularisation": 0.0,
}


def completed(train: Mapping[str, Any]) -> dict[str, Any]:
    """The section with all keys of LATER."""
    return {**LATER, **train}
