"""All that a training needs to go on as if nothing had happened, as tensors by name and text that JSON takes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from unrolled.ground.start import WEIGHTS
from unrolled.training.carry import like, tensors_in
from unrolled.training.history import History
from unrolled.training.training import Training

Content = tuple[dict[str, Tensor], dict[str, Any]]

COUNTERS = ("step", "epoch", "position", "profiled", "valid_losses", "averaged", "began")


def state_of(training: Training, history: History) -> Content:
    """Weights, optimiser, what batches carry on, averages, random generator, profiles and counters, and the history.

    The tensors are copies, on the CPU.
    """
    tensors: dict[str, Tensor] = {f"weights/{name}": each for name, each in training.model.named_parameters()}
    for index, state in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": each for name, each in state.items() if each is not None}
    tensors |= {f"carry/{place}": each for place, each in enumerate(tensors_in(training.carry))}
    tensors |= {f"profiles/{name}": each for name, each in training.profiles.items()}
    tensors |= {f"averages/{name}": each for name, each in (training.averages or {}).items()}
    tensors["generator"] = training.generator.get_state()
    rows, of_history = history.state()
    tensors |= {f"history/{name}": each for name, each in rows.items()}
    tensors = {name: each.detach().to("cpu", copy=True) for name, each in tensors.items()}  # views share storage
    counters = {name: getattr(training, name) for name in COUNTERS}
    return tensors, {"training": counters | {"learning_rate": training.learning_rate}, "history": of_history}


def set_state(training: Training, history: History, tensors: Mapping[str, Tensor], text: Mapping[str, Any]) -> None:
    """Undo ``state_of``: set both to where they stood then."""
    device, counters = training.device, text["training"]  # torch sees to the device of its weights and its optimiser
    training.model.load_state_dict(_under(tensors, "weights"))
    optimiser = training.optimiser.state_dict()
    for name, each in _under(tensors, "optimiser").items():
        index, key = name.split("/")
        optimiser["state"].setdefault(int(index), {})[key] = each
    for group in optimiser["param_groups"]:
        group["lr"] = counters["learning_rate"]
    training.optimiser.load_state_dict(optimiser)
    carried = _under(tensors, "carry", device)
    start = training.task.start(training.model)
    training.carry = like(start, iter(carried[str(place)] for place in range(len(carried)))) if carried else None
    training.profiles = _under(tensors, "profiles", device)
    training.averages = _under(tensors, "averages", device) or None
    training.generator.set_state(tensors["generator"])
    for name in COUNTERS:
        setattr(training, name, counters.get(name, getattr(training, name)))  # a run of before may have fewer
    history.restore(_under(tensors, "history"), text["history"])


LAST = "last.safetensors"  # of a run directory: its end, as WEIGHTS are of its best epoch
TEXT = "state"  # the one entry of metadata


def write_last(directory: Path, training: Training, history: History) -> None:
    """LAST beside WEIGHTS: the state at a training's end, less what is read there already."""
    tensors, text = state_of(training, history)
    beside = {name: history.weights[_in_weights(name)] for name in tensors if _in_weights(name)}
    own = {name: each for name, each in tensors.items() if not (name in beside and each.equal(beside[name]))}
    save_file(own, directory / LAST, metadata={TEXT: json.dumps({**text, "names": list(tensors)})})


def read_last(directory: Path) -> Content:
    """What ``write_last`` wrote; the columns of tables in their order, which safetensors does not keep."""
    with safe_open(directory / LAST, framework="pt") as file:
        text = json.loads(file.metadata()[TEXT])
        own = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    best = load_file(directory / WEIGHTS)
    return {name: own[name] if name in own else best[_in_weights(name)] for name in text.pop("names")}, text


def _in_weights(name: str) -> str:
    """Under which name WEIGHTS may hold a tensor of the state too; "" where it never does."""
    folder = next((each for each in ("weights/", "history/best/") if name.startswith(each)), None)
    return name.removeprefix(folder) if folder else ""


def _under(tensors: Mapping[str, Tensor], folder: str, device: torch.device | None = None) -> dict[str, Tensor]:
    own = {name: each.to(device) for name, each in tensors.items() if name.startswith(f"{folder}/")}
    return {name.removeprefix(f"{folder}/"): each for name, each in own.items()}
