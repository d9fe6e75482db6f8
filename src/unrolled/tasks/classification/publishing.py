"""What MLflow is told of a text classifier beyond its scores; `tracking/` reads it."""

from collections.abc import Mapping
from typing import Any

EXPERIMENT = "unrolled-classification"  # of MLflow; the registered model has the same name
DESCRIPTION = "Recurrent text classifiers with and without gradient clipping, one run an arm."
STACK = "left_to_right"  # which every arm has: of its lowest layer are the charts of gradients through time

# The logged model: the module whose _load_pyfunc MLflow calls, the files that it reads beside the run's weights and
# settings, by their paths in the workspace, and the packages that it imports.
LOADER = "unrolled.tasks.classification.text.serving"
FILES = ("data/encoded/tokenizer.json", "data/encoded/names.json")
PACKAGES = (
    "charset-normalizer", "llvmlite", "numba", "numpy", "pandas", "pyarrow", "safetensors", "tokenizers", "torch",
)  # fmt: skip


def inputs(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The signature of what a run with these settings reads, as MLflow spells it in JSON."""
    return [{"name": "text", "type": "any"}]


def outputs(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the logged model answers with, a row a text."""
    return [
        {"name": "label", "type": "string", "required": False},
        {"name": "labels", "type": "array", "items": {"type": "string"}},
        {"name": "probabilities", "type": "array", "items": {"type": "double"}},
        {"name": "error", "type": "string", "required": False},
    ]


def may_be_champion(network: Mapping[str, Any], corpus: Mapping[str, Any]) -> bool:
    """Every arm: a classifier may read its text from both sides."""
    return True


def note(values: Mapping[str, float]) -> list[str]:
    """Sentences for the page of a run; ``values``: what is published of it, by metric."""
    return []
