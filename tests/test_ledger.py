"""The run directory: the same bytes again, whole or not at all, and damage that is named."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from unrolled.bptt import Addends
from unrolled.clipping import Norms
from unrolled.errors import UserError
from unrolled.lab.fit import Epoch, Step, Training, fit
from unrolled.lab.ledger import Ledger
from unrolled.lab.runs import Run
from unrolled.nets.network import Network
from unrolled.sealed import sha256
from unrolled.settings import PARAMS, Settings
from unrolled.tasks.language_model import Sums

ROOT = Path(__file__).parents[1]
V, EOS = 20, 1


def small(arm: str, **train: object) -> Settings:
    settings = Settings.load(ROOT / PARAMS, arm)
    train = {"epochs": 2, "columns": 4, "window": 8, "learning_rate": 1.0} | train
    return settings.model_copy(
        update={
            "train": settings.train.model_copy(update=train),
            "network": settings.network.model_copy(update={"embedding": 8, "hidden": 8}),
        }
    )


def trained(directory: Path, settings: Settings) -> Network:
    tokens = (np.cumsum(np.random.default_rng(0).integers(0, 3, 500)) % V).astype(np.uint16)
    generator = torch.Generator().manual_seed(settings.train.seed)
    network = Network(V, **settings.network.model_dump(), generator=generator)
    training = Training(network, settings.train, generator)
    ledger = Ledger(training)
    for record in fit(training, tokens[:410], tokens[410:], eos=EOS):
        ledger.add(record)
    ledger.write(directory, settings, "digest-of-the-corpus")
    return network


@pytest.mark.parametrize("arm", ["rnn-unclipped", "bilstm-clipped"])
def test_the_same_settings_give_the_same_bytes(tmp_path: Path, arm: str) -> None:
    for name in ("first", "again"):
        trained(tmp_path / name, small(arm))
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(files) == 9
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    settings = small("lstm-clipped")
    network = trained(tmp_path / "lstm-clipped", settings)
    run = Run.read(tmp_path / "lstm-clipped")
    assert run.settings["train"] == settings.train.model_dump()
    assert run.settings["network"] == settings.network.model_dump()
    assert run.summary["status"] == "finished" and run.summary["diverged_at_step"] is None
    assert run.summary["clip_norm"] == 0.25 and run.summary["reduction"] == "mean over all tokens of a window"
    assert run.summary["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert run.history.step.tolist() == list(range(1, run.summary["steps"] + 1))
    assert (run.history.norm_after <= 0.25 * (1 + 1e-6)).all()
    assert len(run.epochs) == run.summary["epochs"] == 2
    best = run.summary["best_epoch"]
    sums = run.summary["valid"]["forward"]
    assert run.epochs.set_index("epoch").loc[best, "valid_nats_forward"] == pytest.approx(sums["nats"])
    assert run.lag_profile.epoch.unique().tolist() == [0, 1, 2] and run.profile.epoch.unique().tolist() == [1, 2]
    assert run.addends.groupby(["epoch", "stack", "layer", "weight"]).size().tolist() == [8] * 3 * 2
    of_weights = run.addends.groupby(["epoch", "weight"])
    assert (of_weights["sum_norm"].first() <= of_weights["norm"].sum()).all()
    if best == 2:  # then the weights kept are the last ones
        for name, parameter in run.network().named_parameters():
            assert torch.equal(parameter, dict(network.named_parameters())[name])


def test_the_best_epochs_weights_are_kept(tmp_path: Path) -> None:
    """A rate that ruins the network after a good first epoch: the weights are the first epoch's, not the last's."""
    settings = small("lstm-clipped", epochs=1)
    first = trained(tmp_path / "one", settings)
    training = Training(first, settings.train, torch.Generator())
    ledger = Ledger(training)
    tokens = (np.arange(500) % V).astype(np.uint16)
    untrained, *_, good = fit(training, tokens, tokens, eos=EOS)
    assert isinstance(untrained, Epoch) and isinstance(good, Epoch)
    weights = {name: parameter.detach().clone() for name, parameter in first.named_parameters()}
    ledger.add(untrained)
    ledger.add(Step(1, 1, 32, 2.0, 1.0, Norms(1.0, 1.0, {})))
    ledger.add(good)
    for parameter in first.parameters():
        parameter.data.zero_()
    ledger.add(Step(2, 2, 32, 2.0, 1.0, Norms(1.0, 1.0, {})))
    ledger.add(Epoch(2, 1.0, {"forward": good.valid["forward"]._replace(nats=1e9)}, {}, good.lag_profile, {}, {}))
    ledger.write(tmp_path / "kept", settings, "")
    kept = Run.read(tmp_path / "kept")
    assert kept.summary["best_epoch"] == good.number
    assert all(torch.equal(parameter, weights[name]) for name, parameter in kept.network().named_parameters())


def test_addends_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    settings = small("lstm-clipped")
    generator = torch.Generator()
    network = Network(V, **settings.network.model_dump(), generator=generator)
    norms = torch.tensor([1 / 3, torch.inf, torch.nan, 0.0, 1e300], dtype=torch.float64)
    sums = torch.tensor(torch.nan), torch.tensor(torch.inf)
    ledger = Ledger(Training(network, settings.train, generator))
    addends = {"backward.1": Addends(norms, norms.flip(0), *sums)}
    ledger.add(Epoch(0, 1.0, {"forward": Sums(1.0, 1)}, {}, {}, addends, {}))
    ledger.add(Step(1, 1, 32, 2.0, 1.0, Norms(1.0, 1.0, {})))
    ledger.write(tmp_path / "run", settings, "")
    read = Run.read(tmp_path / "run").addends
    assert read[["epoch", "stack", "layer"]].drop_duplicates().values.tolist() == [[0, "backward", 1]]
    for weight, expected, whole in (("weight_ih", norms, sums[0]), ("weight_hh", norms.flip(0), sums[1])):
        rows = read[read.weight == weight]
        assert rows.time_step.tolist() == [0, 1, 2, 3, 4]
        assert rows.norm.tolist() == pytest.approx(expected.tolist(), rel=1e-15, nan_ok=True)
        assert rows.sum_norm.tolist() == pytest.approx([whole.item()] * 5, nan_ok=True)


def test_a_diverged_run_is_a_run(tmp_path: Path) -> None:
    settings = small("rnn-unclipped", learning_rate=1e30)
    settings = settings.model_copy(update={"network": settings.network.model_copy(update={"cell": "relu"})})
    trained(tmp_path / "run", settings)
    run = Run.read(tmp_path / "run")
    assert run.summary["status"] == "diverged"
    assert run.summary["diverged_at_step"] == run.summary["steps"] == len(run.history)
    last = run.history.iloc[-1]
    assert not (np.isfinite(last.loss) and np.isfinite(last.norm_before))
    assert run.addends.epoch.unique().tolist() == [0]  # of the untrained network
    assert len(run.epochs) == len(run.profile) == 0  # yet their columns are numbers
    assert np.isfinite(run.profile.norm).all() and np.isfinite(run.epochs.valid_forward_perplexity).all()


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "settings.json", "history.parquet", "epochs.csv", "addends.csv", "summary.json"]
)
@pytest.mark.parametrize("harm", ["removed", "emptied", "truncated", "one byte flipped"])
def test_damage_is_named_with_its_mend(tmp_path: Path, name: str, harm: str) -> None:
    directory = tmp_path / "runs" / "lstm-clipped"
    trained(directory, small("lstm-clipped", epochs=1))
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
    assert str(path) in message and "dvc repro -f -s train@lstm-clipped" in message and "\n" not in message


def test_timings_name_the_run_they_belong_to(tmp_path: Path) -> None:
    settings = small("lstm-clipped", epochs=1)
    trained(tmp_path / "runs" / "x", settings)
    ledger = Ledger(Training(Network(V, **settings.network.model_dump()), settings.train, torch.Generator()))
    ledger.add(Step(1, 1, 1000, 2.0, 1.0, Norms(1.0, 1.0, {})))
    ledger.write_timings(tmp_path / "timings" / "x.json", tmp_path / "runs" / "x", 2.0)
    timings = json.loads((tmp_path / "timings" / "x.json").read_text())
    assert timings["run"] == sha256(tmp_path / "runs" / "x" / "summary.json")
    assert (timings["tokens_per_second"], timings["device"]) == (500, "cpu")


def test_the_history_reads_as_a_table(tmp_path: Path) -> None:
    trained(tmp_path / "run", small("bilstm-clipped", epochs=1))
    history = pd.read_parquet(tmp_path / "run" / "history.parquet")
    assert {"norm/embedding", "norm/forward.0", "norm/backward.0", "norm/head"} <= set(history.columns)
    parts = np.sqrt(sum(history[name] ** 2 for name in history.columns if name.startswith("norm/")))
    assert parts.tolist() == pytest.approx(history.norm_before.tolist(), rel=1e-6)
