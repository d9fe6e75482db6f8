"""Training on another device than the CPU: the same numbers, a checkpoint that goes on, a mistake told in one line."""

import copy
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from stages.train import main as stage

import unrolled
from miniature import ROOT, SIZES, arm_of, lay_out, split_of, text_of
from unrolled.library.distances import DistanceNorms
from unrolled.library.modules import cell_of, layer_weights
from unrolled.recurrence.bptt import unroll
from unrolled.shell.device import CPU, find_device
from unrolled.shell.errors import UserError
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

TOKENS = text_of(85)
TRAIN, VALID = split_of(TOKENS[:60]), split_of(TOKENS[60:])
DROPOUT = {"dropout": 0.2, "weight_dropout": 0.3, "embedding_dropout": 0.2}
CASES: dict[str, dict[str, Any]] = {  # among them all cells, connections and optimisers, and what else makes tensors
    "rnn-unclipped-1": {"connection": "residual"},
    "lstm-clipped-1": {"average_after": 1, "epochs": 4, "profile_every": 2, **DROPOUT},
    "bilstm-clipped-1": {"cell": "gru", "connection": "dense", "tied": False},
    "lstm-unclipped-1": {"cell": "relu", "optimiser": "adam", "learning_rate": 0.01, "connection": "highway"},
}
CUT = "lstm-clipped-1"  # in its fourth epoch, when masks are drawn and weights averaged


def small(name: str) -> dict[str, Any]:
    return arm_of(name, **({"layers": 2, "window": 5} | CASES[name]))


def leave_run(
    directory: Path, name: str, device: torch.device, cut: int | None = None, before: torch.device | None = None
) -> None:
    """Train and write the run directory.

    ``cut``: as if killed after so many records, which were trained on ``before`` where that is given.
    """
    arm, folder = small(name), directory.with_suffix(".checkpoints")
    for place, records in ((before or device, cut), (device, None)) if cut else ((device, None),):
        training = Training.of(arm, SIZES, place)
        history = History(training)
        checkpoint = Checkpoint(folder, training, history, arm, "corpus")
        checkpoint.resume()
        for record in islice(fit(training, TRAIN, VALID), records):
            history.add(record)
        checkpoint.write()
    assert (training.averages is None) == (arm["train"]["average_after"] is None)
    assert training.device.type == device.type
    write_run(directory, training, history, arm, SIZES, "corpus")


def compare(here: Path, there: Path) -> None:
    """Two run directories, their numbers equal but for rounding."""
    frames = {path.name: pd.read_csv(path) for path in here.glob("*.csv")}
    assert len(frames) == 5
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, pd.read_csv(there / name), rtol=1e-4, atol=1e-6)
    steps = [pd.read_parquet(place / "steps.parquet") for place in (here, there)]
    pd.testing.assert_frame_equal(*steps, rtol=1e-4)
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


def check_modules(device: str) -> None:
    """Those of the library: outputs and profiles, also of columns of different lengths, as on the CPU."""
    for kind in (unrolled.RNN, unrolled.GRU, unrolled.LSTM):
        here, inputs, found = kind(3, 4, 2, bidirectional=True), torch.randn(5, 2, 3), []
        for module in (here, copy.deepcopy(here).to(device)):
            read, cell, norms = inputs.to(module.all_weights[0][0].device), cell_of(module), DistanceNorms()
            outputs, _ = module(read)
            outputs.sum().backward()
            state = tuple(read.new_zeros(2, 4) for _ in range(cell.states))
            lengths, weights = torch.tensor([2, 5]), layer_weights(module, "l0")
            unroll(cell, read, weights, state, lengths=lengths, profile=norms, name="l0")[0].sum().backward()
            profiles = {**module.profile, "ragged": norms.norms["l0"]}
            found.append([outputs.cpu(), *(profile.cpu() for profile in profiles.values())])
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def leave_runs(folder: str, device: str) -> None:
    check_modules(device)
    there = torch.device(device) if device == "elsewhere" else find_device(device)
    for arm in CASES:
        leave_run(Path(folder, device, arm), arm, there)
    leave_run(Path(folder, "cut", CUT), CUT, there, cut=15)
    leave_run(Path(folder, "moved", CUT), CUT, there, cut=15, before=CPU)
    if device == "elsewhere":
        os._exit(0)  # torch's threads for a device of Python's making do not end


def check_runs(folder: Path, device: str) -> None:
    for arm in CASES:
        leave_run(folder / "cpu" / arm, arm, CPU)
        compare(folder / "cpu" / arm, folder / device / arm)
    assert contents(folder / device / CUT) == contents(folder / "cut" / CUT)
    compare(folder / "cpu" / CUT, folder / "moved" / CUT)


def test_on_a_gpu_cudnn_rounds_as_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    find_device("cpu")
    assert torch.backends.cudnn.allow_tf32
    find_device("cuda")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:99", "device: cuda:99 not found (torch "),
        ("gpu", "device: 'gpu' is not a known device; use cpu, cuda or cuda:1"),
        ("mps", "device: 'mps' is not a known device"),
        ("", "device: '' is not a known device"),
    ],
)
def test_a_device_that_is_not_there_is_told_in_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        find_device(name)
    assert str(caught.value).startswith(said)


def test_the_environment_names_the_device_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLLED_DEVICE", "cuda:99")
    done = CliRunner().invoke(stage, ["lstm-clipped-1"])
    assert done.exit_code == 1
    assert "cuda:99 not found" in done.output
