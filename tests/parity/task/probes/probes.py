"""What the probes need of the parity task."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from unrolled.tasks.parity.model.task import Network

from unrolled.ground.corpus import Split
from unrolled.recurrence.stack import Stack


def stacks(network: Network, split: Split, steps: int) -> dict[str, tuple[Stack, torch.Tensor]]:
    bits = torch.from_numpy(np.asarray(split.tokens[:steps], dtype=np.int64))[:, None]
    return {"bits": (network.stack, network.embedded(bits))}


def context(network: Network, split: Split, units: Any, probe: Mapping[str, Any]) -> None:
    """No such probe: all bits of the line count."""


def targets(network: Network, split: Split, given: None, probe: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """No such probe."""
    return {}
