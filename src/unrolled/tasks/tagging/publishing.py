"""What MLflow is told of a tagger beyond its scores; `tracking/` reads it."""

from collections.abc import Mapping
from typing import Any

EXPERIMENT = "unrolled-tagging"  # of MLflow; the registered model has the same name: models:/unrolled-tagging@champion
DESCRIPTION = "Recurrent taggers with and without gradient clipping, one run an arm."
STACK = "forward"  # which every arm has: of its lowest layer are the charts of gradients through time

LOADER = "unrolled.tasks.tagging.text.serving"
FILES = ("data/encoded/names.json", "data/corpus.json")
PACKAGES = ("llvmlite", "numba", "numpy", "pandas", "safetensors", "torch")


def inputs(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The signature of what a run with these settings reads, as MLflow spells it in JSON: all parted by spaces."""
    return [{"name": name, "type": "any"} for name in ["text", *(["given"] if settings["sizes"]["given"] else [])]]


def outputs(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the logged model answers with, a row a sentence: lists with an entry a word."""
    of_words = {"words": "string", "tags": "string", "probabilities": "double", "known": "boolean"}
    lists = [{"name": name, "type": "array", "items": {"type": kind}} for name, kind in of_words.items()]
    return [*lists, {"name": "error", "type": "string", "required": False}]


def may_be_champion(network: Mapping[str, Any], corpus: Mapping[str, Any]) -> bool:
    """Any arm: to read the whole sentence is legal here, as the tag is no input."""
    return True


def note(values: Mapping[str, float]) -> list[str]:
    """Sentences for the page of a run; ``values``: what is published of it, by metric."""
    parts = {
        "known words": "known_accuracy",
        "unknown words": "unknown_accuracy",
        "whole sentences": "sentence_accuracy",
    }
    said = [f"{what} {values[f'{name}/test']:.2f} %" for what, name in parts.items() if f"{name}/test" in values]
    return [f"Tagged right: {', '.join(said)}."] if said else []
