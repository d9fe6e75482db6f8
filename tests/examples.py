"""A layer in double precision and a small language model, each drawn the same way every time: what tests measure on."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.model.task import Task

T, B, E, H = 7, 3, 5, 4  # of the layer
V = 13  # types of the language model


def example(cell: str, reverse: bool = False) -> tuple[RecurrentLayer, Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(5)
    layer = RecurrentLayer(cell, E, H, reverse=reverse).double()
    state = tuple(torch.randn(B, H, dtype=torch.float64) for _ in range(CELLS[cell].states))
    return layer, torch.randn(T, B, E, dtype=torch.float64), state


def network(*, bidirectional: bool, layers: int = 2, cell: str = "lstm", dropout: float = 0.0) -> Network:
    return Network(
        V,
        cell=cell,
        bidirectional=bidirectional,
        embedding=6,
        hidden=6,
        layers=layers,
        dropout=dropout,
        tied=False,
        generator=torch.Generator().manual_seed(0),
    )


def tokens(length: int = 101) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, length).astype(np.uint16)


def task_of(**changes: Any) -> Task:
    return Task({"columns": 4, "window": 10, "optimiser": "sgd", "weight_decay": 0.0} | changes)
