"""The run directory: the same bytes again, whole or not at all, and damage that is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from miniature import SIZES, arm_of, split_of, text_of
from unrolled.ground.checksums import sha256
from unrolled.ground.run import Run
from unrolled.ground.score import Sums
from unrolled.recurrence.profile import Addends
from unrolled.report.series import recurrent_alignment
from unrolled.shell.errors import UserError
from unrolled.training.clipping import Norms
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step, fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run, write_timings
from unrolled.training.training import Training

TRAIN, VALID = split_of(text_of(410)), split_of(text_of(90, seed=1))


def small(name: str, **changes: Any) -> dict[str, Any]:
    return arm_of(name, **({"embedding": 8, "hidden": 8, "epochs": 2} | changes))


def trained(directory: Path, arm: dict[str, Any]) -> Training:
    training = Training.of(arm, SIZES)
    history = History(training)
    for record in fit(training, TRAIN, VALID):
        history.add(record)
    write_run(directory, training, history, arm, SIZES, "digest-of-the-corpus")
    return training


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory to be harmed."""
    directory = tmp_path_factory.mktemp("runs") / "lstm-clipped-1"
    trained(directory, small("lstm-clipped-1", epochs=1))
    return directory


@pytest.mark.parametrize(
    ("arm", "changes"),
    [("rnn-unclipped-1", {}), ("bilstm-clipped-1", {}), ("bilstm-clipped-1", {"cell": "minlstm"})],
)
def test_the_same_settings_give_the_same_bytes(tmp_path: Path, arm: str, changes: dict[str, Any]) -> None:
    for name in ("first", "again"):
        trained(tmp_path / name, small(arm, **changes))
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(files) == 10
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    arm = small("lstm-clipped-1")
    training = trained(tmp_path / "lstm-clipped-1", arm)
    run = Run.read(tmp_path / "lstm-clipped-1")
    assert run.settings == {**arm, "sizes": SIZES, "corpus_digest": "digest-of-the-corpus"}
    assert (run.arm, run.main_stack, run.summary["stacks"]) == ("lstm-clipped-1", "forward", {"forward": False})
    assert run.summary["status"] == "finished" and run.summary["diverged_at_step"] is None
    assert run.settings["train"]["clip_norm"] == 0.25 and run.summary["reduction"] == "mean over all terms of a batch"
    assert run.summary["parameters"] == sum(parameter.numel() for parameter in training.model.parameters())
    assert run.steps.step.tolist() == list(range(1, run.summary["steps"] + 1))
    assert (run.steps.grad_norm_after <= 0.25 * (1 + 1e-6)).all()
    assert len(run.epochs) == run.summary["epochs"] == 2
    best = run.summary["best_epoch"]
    assert list(run.valid()) == ["loss", "forward_perplexity"]
    for score, sums in run.valid().items():
        row = run.epochs.set_index("epoch").loc[best]
        assert (row[f"{score}_sum"], row[f"{score}_terms"]) == (pytest.approx(sums.sum), sums.terms)
    assert run.lag_profile.epoch.unique().tolist() == [0, 1, 2] and run.profile.epoch.unique().tolist() == [1, 2]
    assert run.addends.groupby(["epoch", "stack", "layer", "weight"]).size().tolist() == [8] * 3 * 2
    of_weights = run.addends.groupby(["epoch", "weight"])
    assert (of_weights["sum_norm"].first() <= of_weights["norm"].sum()).all()
    if best == 2:  # then the weights kept are the last ones
        for name, parameter in run.model().named_parameters():
            assert torch.equal(parameter, dict(training.model.named_parameters())[name])


@pytest.mark.parametrize("cell", ["mingru", "minlstm"])
def test_what_a_cell_without_a_recurrent_matrix_has_not_is_absent(tmp_path: Path, cell: str) -> None:
    training = trained(tmp_path / "run", small("lstm-clipped-1", cell=cell, layers=2))
    run = Run.read(tmp_path / "run")
    assert run.addends["weight"].unique().tolist() == ["weight_ih"] and len(run.addends) == 8 * 3 * 2
    assert run.spectra.empty and run.spectra["spectral_radius"].dtype == float
    assert recurrent_alignment(run) is None
    assert (run.lag_profile["norm"] > 0).all() and set(run.lag_profile["layer"]) == {0, 1}
    assert run.profile.groupby(["epoch", "layer"]).size().tolist() == [8] * 2 * 2
    model = run.model()
    assert {"forward_stack.layers.1.weight_hh"} <= set(model.state_dict())
    assert run.summary["parameters"] == sum(parameter.numel() for parameter in training.model.parameters())


def test_the_best_epochs_weights_are_kept(tmp_path: Path) -> None:
    """A rate that ruins the network after a good first epoch: the weights are the first epoch's, not the last's."""
    arm = small("lstm-clipped-1", epochs=1)
    training = Training.of(arm, SIZES)
    history = History(training)
    untrained, *_, good = fit(training, TRAIN, VALID)
    assert isinstance(untrained, Epoch) and isinstance(good, Epoch)
    weights = {name: parameter.detach().clone() for name, parameter in training.model.named_parameters()}
    history.add(untrained)
    history.add(Step(1, 1, 32, 2.0, 1.0, Norms(1.0, 1.0, {})))
    history.add(good)
    for parameter in training.model.parameters():
        parameter.data.zero_()
    history.add(Step(2, 2, 32, 2.0, 1.0, Norms(1.0, 1.0, {})))
    ruined = {score: sums._replace(sum=1e9) for score, sums in good.valid.items()}
    history.add(Epoch(2, 1.0, ruined, {}, good.lag_profile, {}, {}))
    write_run(tmp_path / "kept", training, history, arm, SIZES, "")
    kept = Run.read(tmp_path / "kept")
    assert kept.summary["best_epoch"] == good.number and kept.valid() == good.valid
    assert all(torch.equal(parameter, weights[name]) for name, parameter in kept.model().named_parameters())


def test_addends_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    arm = small("lstm-clipped-1")
    training = Training.of(arm, SIZES)
    norms = torch.tensor([1 / 3, torch.inf, torch.nan, 0.0, 1e300], dtype=torch.float64)
    sums = torch.tensor(torch.nan), torch.tensor(torch.inf)
    history = History(training)
    addends = {"backward.1": Addends(norms, norms.flip(0), *sums)}
    history.add(Epoch(0, 1.0, {"loss": Sums(1.0, 1)}, {}, {}, addends, {}))
    history.add(Step(1, 1, 32, 2.0, 1.0, Norms(1.0, 1.0, {})))
    write_run(tmp_path / "run", training, history, arm, SIZES, "")
    read = Run.read(tmp_path / "run").addends
    assert read[["epoch", "stack", "layer"]].drop_duplicates().values.tolist() == [[0, "backward", 1]]
    for weight, expected, whole in (("weight_ih", norms, sums[0]), ("weight_hh", norms.flip(0), sums[1])):
        rows = read[read.weight == weight]
        assert rows.time_step.tolist() == [0, 1, 2, 3, 4]
        assert rows.norm.tolist() == pytest.approx(expected.tolist(), rel=1e-15, nan_ok=True)
        assert rows.sum_norm.tolist() == pytest.approx([whole.item()] * 5, nan_ok=True)


def test_a_diverged_run_is_a_run(tmp_path: Path) -> None:
    trained(tmp_path / "run", small("rnn-unclipped-1", learning_rate=1e30, cell="relu"))
    run = Run.read(tmp_path / "run")
    assert run.summary["status"] == "diverged"
    assert run.summary["diverged_at_step"] == run.summary["steps"] == len(run.steps)
    last = run.steps.iloc[-1]
    assert not (np.isfinite(last.loss) and np.isfinite(last.grad_norm))
    assert run.addends.epoch.unique().tolist() == [0]  # of the untrained network
    assert len(run.epochs) == len(run.profile) == 0  # yet their columns are numbers
    assert np.isfinite(run.profile.norm).all() and np.isfinite(run.epochs.forward_perplexity_sum).all()
    assert run.valid() == {} and run.summary["best_epoch"] is None


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "settings.json", "steps.parquet", "epochs.csv", "addends.csv", "summary.json"]
)
@pytest.mark.parametrize("harm", ["removed", "emptied", "truncated", "one byte flipped"])
def test_damage_is_named_with_its_mend(whole: Path, tmp_path: Path, name: str, harm: str) -> None:
    directory = tmp_path / "runs" / "lstm-clipped-1"
    shutil.copytree(whole, directory)
    path = directory / name
    content = path.read_bytes()
    if harm == "removed":
        path.unlink()
    else:
        middle = content.index(b"status") if name == "summary.json" else len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"emptied": b"", "truncated": content[: len(content) // 2], "one byte flipped": flipped}[harm])
    with pytest.raises(UserError) as caught:
        Run.read(directory)
    message = str(caught.value)
    assert str(path) in message and "dvc repro -f -s train@lstm-clipped-1" in message and "\n" not in message


def test_timings_name_the_run_they_belong_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training = trained(tmp_path / "runs" / "x", small("lstm-clipped-1", epochs=1))
    history = History(training)
    history.add(Step(1, 1, 1000, 2.0, 1.0, Norms(1.0, 1.0, {})))
    write_timings("x", training, history, 2.0, "cpu")
    timings = json.loads((tmp_path / "timings" / "x.json").read_text())
    assert timings["run"] == sha256(tmp_path / "runs" / "x" / "summary.json")
    assert (timings["tokens_per_second"], timings["device"]) == (500, "cpu")


def test_the_steps_read_as_a_table(tmp_path: Path) -> None:
    trained(tmp_path / "run", small("bilstm-clipped-1", epochs=1))
    steps = pd.read_parquet(tmp_path / "run" / "steps.parquet")
    groups = [name for name in steps.columns if name.startswith("grad_norm/")]
    assert groups == [f"grad_norm/{group}" for group in ("embedding", "forward.0", "backward.0", "head")]
    assert np.sqrt((steps[groups] ** 2).sum(axis=1)).tolist() == pytest.approx(steps.grad_norm.tolist(), rel=1e-6)


def test_the_stacks_say_which_way_each_reads(tmp_path: Path) -> None:
    trained(tmp_path / "run", small("bilstm-clipped-1", epochs=1, layers=2))
    run = Run.read(tmp_path / "run")
    assert run.summary["stacks"] == {"forward": False, "backward": True} and run.main_stack == "forward"
    assert set(zip(run.spectra["stack"], run.spectra["layer"], strict=True)) == {
        (stack, layer) for stack in run.summary["stacks"] for layer in (0, 1)
    }


def test_an_epochs_row_is_of_its_own_steps(tmp_path: Path) -> None:
    trained(tmp_path / "run", small("lstm-clipped-1", clip_norm=0.3, epochs=3))
    run = Run.read(tmp_path / "run")
    assert run.epochs.clipped_share.max() > 0
    for number, own in run.steps.groupby("epoch"):
        row = run.epochs.set_index("epoch").loc[number]
        assert row.train_loss == pytest.approx(np.average(own.loss, weights=own.tokens))
        assert row.clipped_share == pytest.approx((own.grad_norm > 0.3).mean())
        assert (row.grad_norm_median, row.grad_norm_max) == (own.grad_norm.median(), own.grad_norm.max())
        assert row.learning_rate == own.learning_rate.iloc[0]
