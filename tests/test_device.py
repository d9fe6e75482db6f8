"""Training on another device than the CPU: the same numbers, a checkpoint that goes on, a mistake told in one line."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from stages.train import train as stage

from unrolled.errors import UserError
from unrolled.lab.checkpoint import Checkpoint
from unrolled.lab.device import CPU, find_device
from unrolled.lab.fit import Training, fit
from unrolled.lab.ledger import Ledger
from unrolled.settings import PARAMS, Settings

ROOT = Path(__file__).parents[1]
V, EOS = 20, 1
TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 130)) % V).astype(np.uint16)
DROPOUT = {"dropout": 0.2, "weight_dropout": 0.3, "embedding_dropout": 0.2}
CASES: dict[str, dict[str, Any]] = {  # among them all cells, connections and optimisers, and what else makes tensors
    "rnn-unclipped": {"connection": "residual"},
    "lstm-clipped": {"average_after": 1, "epochs": 4, **DROPOUT},
    "bilstm-clipped": {"cell": "gru", "connection": "dense", "tied": False},
    "lstm-unclipped": {"cell": "relu", "optimiser": "adam", "learning_rate": 0.01, "connection": "highway"},
}
CUT = "lstm-clipped"  # in its fourth epoch, when masks are drawn and weights averaged


def small(arm: str) -> Settings:
    settings = Settings.load(ROOT / PARAMS, arm)
    network = {"embedding": 6, "hidden": 6, "layers": 2}
    train = {"epochs": 1, "columns": 4, "window": 8, "learning_rate": 1.0}
    network |= {key: value for key, value in CASES[arm].items() if key in settings.network.model_fields_set}
    train |= {key: value for key, value in CASES[arm].items() if key in settings.train.model_fields_set}
    return settings.model_copy(
        update={
            "network": settings.network.model_copy(update=network),
            "train": settings.train.model_copy(update=train),
        }
    )


def leave_run(
    directory: Path, arm: str, device: torch.device, cut: int | None = None, before: torch.device | None = None
) -> None:
    """Train and write the run directory.

    ``cut``: as if killed after so many records, which were trained on ``before`` where that is given.
    """
    settings, path = small(arm), directory.with_suffix(".safetensors")
    for place, records in ((before or device, cut), (device, None)) if cut else ((device, None),):
        training = Training.of(settings, V, place)
        ledger = Ledger(training)
        checkpoint = Checkpoint(path, training, ledger, settings, "corpus")
        checkpoint.resume()
        for record in islice(fit(training, TOKENS[:100], TOKENS[100:], eos=EOS), records):
            ledger.add(record)
        checkpoint.write()
    assert (training.averages is None) == (settings.train.average_after is None)
    assert training.network.device.type == device.type
    ledger.write(directory, settings, "corpus")


def compare(here: Path, there: Path) -> None:
    """Two run directories, their numbers equal but for rounding."""
    frames = {path.name: pd.read_csv(path) for path in here.glob("*.csv")}
    assert len(frames) == 5
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, pd.read_csv(there / name), rtol=1e-4, atol=1e-6)
    histories = [pd.read_parquet(place / "history.parquet") for place in (here, there)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    weights = [load_file(place / "weights.safetensors") for place in (here, there)]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_whole_trainings_on_a_device_that_shares_no_tensor_with_the_cpu(tmp_path: Path) -> None:
    code = f"import elsewhere, test_device; test_device.leave_runs({str(tmp_path)!r}, 'elsewhere')"
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "of a training on cpu, now on elsewhere: rounding will differ" in done.stderr
    check_runs(tmp_path, "elsewhere")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_whole_trainings_on_a_gpu(tmp_path: Path) -> None:
    leave_runs(str(tmp_path), "cuda")
    check_runs(tmp_path, "cuda")


def leave_runs(folder: str, device: str) -> None:
    for arm in CASES:
        leave_run(Path(folder, device, arm), arm, torch.device(device))
    leave_run(Path(folder, "cut", CUT), CUT, torch.device(device), cut=18)
    leave_run(Path(folder, "moved", CUT), CUT, torch.device(device), cut=18, before=CPU)
    if device == "elsewhere":
        os._exit(0)  # torch's threads for a device of Python's making do not end


def check_runs(folder: Path, device: str) -> None:
    for arm in CASES:
        leave_run(folder / "cpu" / arm, arm, CPU)
        compare(folder / "cpu" / arm, folder / device / arm)
    assert contents(folder / device / CUT) == contents(folder / "cut" / CUT)
    compare(folder / "cpu" / CUT, folder / "moved" / CUT)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:99", "device: cuda:99 is not here (torch "),
        ("gpu", "device: 'gpu' is none that is known here; cpu, cuda, or cuda:1 and so on"),
        ("mps", "device: 'mps' is none that is known here"),
        ("", "device: '' is none that is known here"),
    ],
)
def test_a_device_that_is_not_there_is_told_in_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        find_device(name)
    assert str(caught.value).startswith(said)


def test_the_environment_names_the_device_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("UNROLLED_DEVICE", "cuda:99")
    done = CliRunner().invoke(stage, ["lstm-clipped"])
    assert done.exit_code == 1
    assert "cuda:99 is not here" in done.output
