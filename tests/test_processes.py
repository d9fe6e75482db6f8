"""Several processes take the steps that one takes: with every cell and task, from one to two and back, in a stage."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from stages.train import main as stage
from torch.distributed import destroy_process_group

import together
from miniature import ROOT, SIZES, corpus_of, environment, lay_out, run_stage
from unrolled.shell.errors import UserError
from unrolled.shell.stage import check_alone
from unrolled.training import together as starting
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.history import History
from unrolled.training.state import state_of
from unrolled.training.training import Training

RUN = "runs/bilstm-clipped-1"


class Stopped(Exception):
    pass


def kept_until(step: int) -> Any:
    """`Checkpoint.kept`, as if it were stopped after a step, and had written just then."""

    def kept(checkpoint: Checkpoint, records: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
        for record in records:
            yield record
            if isinstance(record, Step) and record.number == step:
                checkpoint.write()
                raise Stopped

    return kept


def test_two_processes_take_the_steps_that_one_takes(tmp_path: Path, warm: str) -> None:
    words = ["python", str(ROOT / "tests" / "together.py"), str(tmp_path)]
    path = f"{ROOT / 'src'}:{ROOT / 'tests'}"
    with subprocess.Popen(words, env=environment(PATH=warm, PYTHONPATH=path), stderr=subprocess.PIPE) as second:
        processes = together.meet(str(tmp_path), 0)
        try:
            for (name, alone, *splits), (_, shared, *_) in zip(together.trainings(), together.trainings(), strict=True):
                shared.processes = processes
                compare(name, alone, shared, *splits)
        finally:
            destroy_process_group()
        assert second.stderr is not None
        said = second.stderr.read().decode()
        assert second.wait() == 0, said


def compare(name: str, alone: Training, shared: Training, train: Any, valid: Any) -> None:
    """Step by step, and in the end all that is carried on; to 1e-6 a step, and adam's first steps are of any size."""
    loose = 100 if alone.options.optimiser != "sgd" else 1
    pairs = zip(together.steps(alone, train, valid), together.steps(shared, train, valid), strict=True)
    for number, (one, two) in enumerate(pairs, 1):
        close = {"rtol": 1e-5, "atol": loose * number * 1e-6, "msg": f"{name}, step {number}"}
        assert one.tokens == two.tokens and one.learning_rate == two.learning_rate
        assert one.diverged == two.diverged, name
        if name == "diverges":
            continue
        assert [two.loss, two.norms.before] == pytest.approx([one.loss, one.norms.before], rel=loose * 2e-5), name
        assert two.norms.groups == pytest.approx(one.norms.groups, rel=loose * 1e-4, abs=1e-6), name
        for mine, theirs in zip(alone.model.parameters(), shared.model.parameters(), strict=True):
            torch.testing.assert_close(theirs, mine, **close)
            assert (mine.grad is None) == (theirs.grad is None), name
            assert mine.grad is None or mine.grad.is_sparse == theirs.grad.is_sparse, name
    if name == "diverges":
        assert one.diverged and number < together.STEPS
        return
    assert number == together.STEPS
    assert alone.profiled == shared.profiled and alone.profiles.keys() == shared.profiles.keys()
    for layer, norms in alone.profiles.items():
        kept = slice(alone.profiled)
        close = {"rtol": loose * 1e-4, "atol": 1e-6, "msg": name}  # nan where a window was shorter than the usual one
        torch.testing.assert_close(shared.profiles[layer][kept], norms[kept], equal_nan=True, **close)
    assert alone.generator.get_state().equal(shared.generator.get_state()), name
    carried = [state_of(each, History(each))[0] for each in (alone, shared)]
    assert carried[0].keys() == carried[1].keys() and (alone.averages is None) == (shared.averages is None)
    for part in carried[0]:
        if part.startswith(("carry/", "averages/")):
            torch.testing.assert_close(carried[1][part], carried[0][part], rtol=1e-4, atol=loose * 1e-5, msg=name)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: str) -> Path:
    """In which the stage `train` starts its others warm."""
    lay_out(tmp_path, dropout=0.2, epochs=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "stages" / "train.py"), "bilstm-clipped-1"])
    monkeypatch.setattr(sys, "executable", str(Path(warm.split(os.pathsep)[0], "python")))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setattr("unrolled.shell.memory.keep_freed_memory", lambda: None)  # of all tests after this one
    return tmp_path


def test_a_training_goes_on_in_two_processes_and_then_in_one(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in mid-epoch each time; what it leaves is what one process leaves, and who made it is noted."""
    run_stage("train", "bilstm-clipped-1")
    (workspace / "runs" / "bilstm-clipped-1").rename(workspace / "alone")
    for processes, stop in (("1", 3), ("2", 7), ("2", None)):
        monkeypatch.setenv(starting.WANTED, processes)
        with monkeypatch.context() as patch:
            if stop:
                patch.setattr(Checkpoint, "kept", kept_until(stop))
                with pytest.raises(Stopped):
                    run_stage("train", "bilstm-clipped-1")
                continue
            said = run_stage("train", "bilstm-clipped-1")
    assert "training goes on after step 7" in said
    timings = json.loads(Path("timings", "bilstm-clipped-1.json").read_text())
    assert timings["device"] == "cpu in 2 processes"
    for name in ("epochs", "profile", "lag_profile", "addends", "spectra"):
        mine, theirs = (pd.read_csv(place / f"{name}.csv") for place in (workspace / "alone", Path(RUN)))
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-4, atol=1e-6)
    weights = [load_file(place / "weights.safetensors") for place in (workspace / "alone", Path(RUN))]
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({starting.WANTED: "0"}, "UNROLLED_TRAIN_PROCESSES must be a number of processes, 1 or more, not '0'"),
        ({starting.WANTED: "two"}, "UNROLLED_TRAIN_PROCESSES must be a number of processes, 1 or more, not 'two'"),
        ({starting.WANTED: "5"}, "train.columns: 4 cannot be shared out among 5 processes; start 4 at most"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set without RANK, MASTER_ADDR, MASTER_PORT; start with torchrun, or set "),
    ],
)
def test_what_cannot_be_shared_out_is_told_in_one_line(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(stage, ["bilstm-clipped-1"])
    assert result.exit_code == 1 and result.output.startswith(f"error: {said}") and result.output.count("\n") == 1
    assert not Path("runs").exists()


def test_a_task_that_has_no_share_trains_in_one_process() -> None:
    settings = together.language_arm("rnn")
    training = Training.of(settings, SIZES)
    training.task = object()  # type: ignore[assignment]
    with pytest.raises(UserError, match="the task language_model trains in one process, not in 2"):
        starting._check(training, 2, settings, corpus_of(*[together.VALID] * 3))
    own = settings | {"train": settings["train"] | {"feeding": "own", "reset": "sentence"}}
    drawing = Training.of(own, SIZES)
    with pytest.raises(UserError, match="feeding: own trains in one process alone; use teacher"):
        starting._check(drawing, 2, own, corpus_of(*[together.LINES] * 3))


def test_other_stages_run_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stages/evaluate.py", "bilstm-clipped-1"])
    with pytest.raises(UserError, match="evaluate runs in one process, and WORLD_SIZE is 2; start it without torchrun"):
        check_alone({"WORLD_SIZE": "2"})
    check_alone({"WORLD_SIZE": "1"})
