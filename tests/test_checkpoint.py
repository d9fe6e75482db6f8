"""A checkpoint: wherever a training was cut off, what goes on from it ends in the same bytes; another's is refused."""

import math
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from stages import train as stage

from miniature import SIZES, arm_of, lay_out, split_of, text_of
from unrolled.ground.registry import task_part
from unrolled.ground.run import Run
from unrolled.recurrence.compiled import dispatch
from unrolled.training import checkpoint as checkpoints
from unrolled.training.carry import like, tensors_in
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.fit import Step, fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

TOKENS = text_of(470)
TRAIN, VALID = split_of(TOKENS[:380]), split_of(TOKENS[380:])


def small(name: str, **changes: Any) -> dict[str, Any]:
    return arm_of(name, **({"layers": 2, "dropout": 0.2, "epochs": 2} | changes))


def prepared(folder: Path, arm: dict[str, Any], corpus: str = "corpus") -> tuple[Training, History, Checkpoint]:
    training = Training.of(arm, SIZES)
    history = History(training)
    return training, history, Checkpoint(folder, training, history, arm, corpus)


def train(folder: Path, arm: dict[str, Any], records: int | None = None) -> tuple[Training, History]:
    """Train from the checkpoint in ``folder`` if there is one, cut off after so many records, as by a kill."""
    training, history, checkpoint = prepared(folder, arm)
    checkpoint.resume()
    for record in islice(checkpoint.kept(fit(training, TRAIN, VALID)), records):
        history.add(record)
    return training, history


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


CASES = {
    "rnn-unclipped-1": {},
    "lstm-clipped-1": {"optimiser": "adam", "learning_rate": 0.01, "weight_dropout": 0.3, "embedding_dropout": 0.2},
    "bilstm-clipped-1": {
        "learning_rate": 30.0,
        "average_after": 0,
        "average_again": 1,
        "anneal_after": 1,
        "epochs": 4,
        "profile_every": 3,
    },
}


def test_no_checkpoint_is_written_after_the_step_that_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That step was not taken: a training that went on from there would take it, and its masks, once more."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    training, history, checkpoint = prepared(tmp_path, small("rnn-clipped-1"))
    written: list[int] = []
    monkeypatch.setattr(checkpoint, "write", lambda: written.append(training.step))
    *records, last = islice(fit(training, TRAIN, VALID), 5)
    assert isinstance(last, Step) and not last.diverged
    for record in checkpoint.kept(iter([*records, replace(last, loss=math.nan)])):
        history.add(record)
    assert history.diverged_at == last.number and len(written) == len(records)


@pytest.mark.parametrize("arm", CASES)
def test_a_training_cut_off_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, arm: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut at random, again and again, until nothing is left to do."""
    settings, folder = small(arm, **CASES[arm]), tmp_path / "checkpoints"
    write_run(tmp_path / "whole", *train(tmp_path / "none", settings), settings, SIZES, "corpus")
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)  # after each step ...
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)  # ... whatever it takes
    cuts = np.random.default_rng(settings["train"]["epochs"]).integers(3, 14, 4).tolist()
    for cut in cuts:
        train(folder, settings, cut)
    resumed = train(folder, settings)
    (path,) = folder.iterdir()
    # The untrained network's record comes first, and a kill right after a record loses that one.
    assert f"{arm}: training goes on after step {_steps_of(cuts)}, from {path}" in capsys.readouterr().err
    write_run(tmp_path / "resumed", *resumed, settings, SIZES, "corpus")
    assert contents(tmp_path / "whole") == contents(tmp_path / "resumed")
    assert list(folder.iterdir()) == [path]


def _steps_of(cuts: list[int]) -> int:
    """Steps kept of so many records each time; an epoch's record comes after every twelfth step."""
    kept = 0  # records after the untrained network's
    for index, cut in enumerate(cuts):
        kept += cut - 1 - (index == 0)
    return kept - kept // 13


def test_without_a_file_there_is_nothing_to_say_and_a_finished_one_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, checkpoint = prepared(tmp_path, small("lstm-clipped-1"))
    checkpoint.resume()
    assert not capsys.readouterr().err
    checkpoint.write()
    assert checkpoint.path.exists()
    checkpoint.remove()
    assert not checkpoint.path.exists()


@pytest.mark.parametrize("call", [0, 1])
def test_ctrl_c_in_the_clean_up_leaves_no_half_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Of what a killed process left, before a file is written, and of what it was written in, after."""
    remove, calls = shutil.rmtree, iter(range(100))

    def interrupted(place: Path, **options: Any) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        remove(place, **options)

    arm, folder = small("lstm-clipped-1"), tmp_path / "checkpoints"
    path = prepared(folder, arm)[2].path
    left = folder / f".{path.name}.0123abcd.partial"
    left.mkdir(parents=True)
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(folder, arm)
    assert list(folder.iterdir()) == [[left], [path]][call]
    prepared(folder, arm)[2].remove()
    assert not list(folder.iterdir())


def test_the_same_training_twice_at_once_does_not_meet_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two experiments of the same settings share the repository's folder: one may write, or end, while another does."""
    settings = small("lstm-clipped-1")
    (_, _, one), (training, _, other) = (prepared(tmp_path, settings) for _ in range(2))
    save, meanwhile = checkpoints.save_file, [other.remove, other.write]

    def interleaved(tensors: dict[str, torch.Tensor], path: Path, **options: Any) -> None:
        if meanwhile:
            meanwhile.pop()()
        save(tensors, path, **options)
        if meanwhile:
            meanwhile.pop()()

    monkeypatch.setattr(checkpoints, "save_file", interleaved)
    one.write()
    assert not meanwhile and list(tmp_path.iterdir()) == [one.path]
    other.resume()
    assert training.step == 0
    other.remove()
    one.write()
    one.remove()
    assert not list(tmp_path.iterdir())


def test_the_time_of_earlier_processes_counts(tmp_path: Path) -> None:
    settings = small("lstm-clipped-1")
    _, _, first = prepared(tmp_path, settings)
    first.seconds = 1000.0
    first.write()
    training, history, second = prepared(tmp_path, settings)
    second.resume()
    for record in second.kept(fit(training, TRAIN, VALID)):
        history.add(record)
    assert 1000 < second.seconds < 1100


OTHERS: list[tuple[dict[str, Any], str, str]] = [
    ({"learning_rate": 2.0}, "corpus", "train.learning_rate: 1.0, now 2.0"),
    ({"clip_norm": None}, "corpus", "train.clip_norm: 0.25, now None"),
    ({"hidden": 7, "embedding": 7}, "corpus", "network.embedding: 6, now 7"),
    ({}, "another", "corpus"),
]


@pytest.mark.parametrize(("changes", "corpus", "reason"), OTHERS)
def test_experiments_side_by_side_have_a_checkpoint_each(
    tmp_path: Path, changes: dict[str, Any], corpus: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, small("lstm-clipped-1"))[2].write()
    training, _, other = prepared(tmp_path, small("lstm-clipped-1", **changes), corpus)
    other.resume()
    assert not capsys.readouterr().err and training.step == 0
    other.write()
    assert len(list(tmp_path.iterdir())) == 2
    other.remove()
    assert list(tmp_path.iterdir()) == [prepared(tmp_path, small("lstm-clipped-1"))[2].path]


@pytest.mark.parametrize(("changes", "corpus", "reason"), OTHERS)
def test_another_trainings_checkpoint_is_not_used(
    tmp_path: Path, changes: dict[str, Any], corpus: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though it lay under this one's name."""
    training, _, checkpoint = prepared(tmp_path, small("lstm-clipped-1", **changes), corpus)
    _, _, other = prepared(tmp_path, small("lstm-clipped-1"))
    other.write()
    shutil.move(other.path, checkpoint.path)
    checkpoint.resume()
    said = f"lstm-clipped-1: training starts anew: {checkpoint.path} is of another {reason}\n"
    assert capsys.readouterr().err == said
    assert training.step == 0


def test_another_codes_checkpoint_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, small("lstm-clipped-1"))[2].write()
    monkeypatch.setattr(checkpoints, "_code_digest", lambda: "edited")
    prepared(tmp_path, small("lstm-clipped-1"))[2].resume()
    assert capsys.readouterr().err.endswith("is of another code\n")


@pytest.mark.parametrize(
    ("edited", "same"),
    [
        ('"""Other words."""\n\n\ndef f(x):\n    # why\n    return x + 1\n', True),
        ('def f(x):\n    """Said."""\n    return x+1', True),
        ("def f(x):\n    return x + 2\n", False),
        ('def f(x):\n    "a"\n    "b"\n    return x + 1\n', False),
    ],
)
def test_a_comment_makes_no_other_code(tmp_path: Path, edited: str, same: bool) -> None:
    (tmp_path / "now.py").write_text('"""Words."""\n\n\ndef f(x):\n    return x + 1\n')
    (tmp_path / "edited.py").write_text(edited)
    one, other = (checkpoints._said_in(str(tmp_path / name)) for name in ("now.py", "edited.py"))
    assert (one == other) == same


@pytest.mark.parametrize("harm", ["emptied", "truncated", "one byte flipped"])
def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = small("lstm-clipped-1")
    path = prepared(tmp_path, settings)[2].path
    train(tmp_path, settings)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"emptied": b"", "truncated": content[:middle], "one byte flipped": flipped}[harm])
    training, history, checkpoint = prepared(tmp_path, settings)
    checkpoint.resume()
    said = capsys.readouterr().err
    assert f"starts anew: {path} is damaged" in said and said.count("\n") == 1
    assert training.step == 0 and not history.state()[1]["epochs"]


# ---- what batches carry on


Pair = namedtuple("Pair", ["left", "right"])
SHAPES = st.recursive(
    st.none(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.tuples(inner, inner).map(lambda pair: Pair(*pair)),
)


@given(SHAPES)
def test_nested_tuples_of_tensors_come_back_in_their_shape(shape: Any) -> None:
    """Of any task, though all that is kept of them is their tensors in a row."""
    numbers = iter(range(1000))

    def made(part: Any) -> Any:
        if part is None:
            return torch.full((2,), next(numbers))
        return type(part)(*map(made, part)) if isinstance(part, Pair) else tuple(map(made, part))

    def read(part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            return part.tolist()
        return (type(part).__name__, *map(read, part))

    carry, start = made(shape), made(shape)
    flat = tensors_in(carry)
    assert [each.tolist() for each in flat] == [[number] * 2 for number in range(len(flat))]
    assert read(like(start, iter(flat))) == read(carry)


@pytest.mark.parametrize("arm", ["lstm-clipped-1", "bilstm-clipped-1"])
def test_the_state_in_the_midst_of_an_epoch_comes_back(tmp_path: Path, arm: str) -> None:
    training, _, checkpoint = prepared(tmp_path, small(arm))
    for _ in islice(fit(training, TRAIN, VALID), 5):
        pass
    checkpoint.write()
    resumed, _, other = prepared(tmp_path, small(arm))
    other.resume()
    assert (resumed.step, resumed.position, resumed.epoch) == (4, 4, 0)
    assert type(resumed.carry) is type(training.carry) and resumed.carry._fields == ("forward", "backward")
    for ours, theirs in zip(resumed.carry, training.carry, strict=True):
        assert [[part.tolist() for part in layer] for layer in ours] == [
            [part.tolist() for part in layer] for layer in theirs
        ]


# ---- where it lies


def test_an_experiment_in_a_copy_goes_on_from_the_repositorys_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run --temp` works in a folder of its own below the repository, and names that one DVC_ROOT."""
    lay_out(tmp_path, epochs=2)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "one"
    for name in ("resolved", "data"):
        shutil.copytree(tmp_path / name, copy / name)
    task_part("language_model", "scores")  # what a training imports at last, in a process of its own; it counts as code
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr("unrolled.shell.memory.keep_freed_memory", lambda: None)  # of all tests after this one
    monkeypatch.chdir(copy)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_run", killed)
        cut = CliRunner().invoke(stage.main, ["lstm-clipped-1"])
    assert cut.exit_code == 130 and not (copy / "runs").exists()
    (path,) = (tmp_path / "checkpoints").iterdir()
    monkeypatch.chdir(tmp_path)
    resumed = CliRunner().invoke(stage.main, ["lstm-clipped-1"])
    steps = Run.read(tmp_path / "runs" / "lstm-clipped-1").summary["steps"]
    assert f"training goes on after step {steps}, from {path}" in resumed.stderr
    assert not list((tmp_path / "checkpoints").iterdir()) and not (copy / "checkpoints").exists()


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_code_that_a_checkpoint_is_of_has_the_kernels_called_yet_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = Path(dispatch.__file__).parent, set[str]()
    for name in [name for name in sys.modules if name.startswith(f"{dispatch.__package__}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(checkpoints, "_said_in", lambda file: read.add(file) or "")
    checkpoints._code_digest()
    assert {str(file) for file in folder.glob("*.py")} <= read
