"""What MLflow is told of a language model beyond its scores; `tracking/` reads it."""

from collections.abc import Mapping
from typing import Any

from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD

EXPERIMENT = "unrolled"  # of MLflow; the registered model has the same name: models:/unrolled@champion
DESCRIPTION = "Recurrent language models with and without gradient clipping, one run an arm."
STACK = "forward"  # which every arm has: of its lowest layer are the charts of gradients through time

# The logged model: the module whose _load_pyfunc MLflow calls (None: no model is logged), the files that it reads
# beside the run's weights and settings, by their paths in the workspace, and the packages that it imports.
LOADER = "unrolled.tasks.language_model.text.serving"
FILES = ("data/encoded/tokenizer.json", "data/encoded/manifest.json")
PACKAGES = (
    "charset-normalizer", "llvmlite", "numba", "numpy", "pandas", "pyarrow", "safetensors", "tokenizers", "torch",
)  # fmt: skip


def inputs(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The signature of what a run with these settings reads, as MLflow spells it in JSON; see `shell/rows.py`."""
    return [{"name": "text", "type": "any"}]


def outputs(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the logged model answers with; ``network``: that section of an arm's settings."""
    heads = SCORE_OF_HEAD if network["bidirectional"] else ("forward",)
    return [
        {"name": "tokens", "type": "long"},
        {"name": "unknown", "type": "long"},
        *(
            {"name": name, "type": "double", "required": False}
            for name in ("nats", *(SCORE_OF_HEAD[head] for head in heads))
        ),
        {"name": "next_words", "type": "array", "items": {"type": "string"}},
        {"name": "next_probabilities", "type": "array", "items": {"type": "double"}},
        {"name": "error", "type": "string", "required": False},
    ]


def may_be_champion(network: Mapping[str, Any], corpus: Mapping[str, Any]) -> bool:
    """Whether an arm reads from left to right, and real text: others cannot generate, or have nothing to say."""
    return not network["bidirectional"] and not corpus.get("source")


def note(values: Mapping[str, float]) -> list[str]:
    """Sentences for the page of a run; ``values``: what is published of it, by metric."""
    if "pseudo_perplexity/test" not in values:
        return []
    return [
        f"Pseudo-perplexity {values['pseudo_perplexity/test']:.4g}: it sees both sides of its target and does not "
        "compare with a perplexity."
    ]
