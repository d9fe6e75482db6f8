"""What MLflow is told of the parity task beyond its scores."""

from collections.abc import Mapping

EXPERIMENT = "unrolled-parity"
DESCRIPTION = "Networks that count the ones of a line, modulo two."
STACK = "bits"
LOADER = None  # no model is logged


def note(values: Mapping[str, float]) -> list[str]:
    return []
