"""The parity task's sections of params.yaml."""

from collections.abc import Mapping
from typing import Any, Literal

from unrolled.settings.sections import Count, LyapunovSettings, ResampledSettings, Strict, TrainSettings, Width


class NetworkSettings(Strict):
    cell: Literal["rnn", "relu", "gru", "lstm"]
    hidden: Width


class BatchedTrainSettings(TrainSettings):
    lines: Count  # of text, side by side in a batch


SECTIONS: dict[str, type[Strict]] = {
    "network": NetworkSettings,
    "train": BatchedTrainSettings,
    "evaluate": ResampledSettings,
    "probe": LyapunovSettings,
}


def memory(network: Mapping[str, Any], train: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    return {"network.hidden": 4 * parameters(network, sizes)}


def parameters(network: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    return int(4 * network["hidden"] ** 2)
