"""A checkpoint: wherever a training was cut off, what goes on from it ends in the same bytes; another's is refused."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.lab import checkpoint as checkpoints
from unrolled.lab.checkpoint import Checkpoint
from unrolled.lab.fit import Training, fit
from unrolled.lab.ledger import Ledger
from unrolled.settings import PARAMS, Settings

ROOT = Path(__file__).parents[1]
V, EOS = 20, 1
TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 470)) % V).astype(np.uint16)


def small(arm: str, **changes: Any) -> Settings:
    settings = Settings.load(ROOT / PARAMS, arm)
    network = {"embedding": 6, "hidden": 6, "layers": 2, "dropout": 0.2}
    train = {"epochs": 2, "columns": 4, "window": 8, "learning_rate": 1.0}
    network |= {key: value for key, value in changes.items() if key in settings.network.model_fields_set}
    train |= {key: value for key, value in changes.items() if key not in network}
    return settings.model_copy(
        update={
            "train": settings.train.model_copy(update=train),
            "network": settings.network.model_copy(update=network),
        }
    )


def prepared(path: Path, settings: Settings, corpus: str = "corpus") -> tuple[Training, Ledger, Checkpoint]:
    training = Training.of(settings, V)
    ledger = Ledger(training)
    return training, ledger, Checkpoint(path, training, ledger, settings, corpus)


def train(path: Path, settings: Settings, records: int | None = None) -> Ledger:
    """Train from the checkpoint at ``path`` if there is one, cut off after so many records, as by a kill."""
    training, ledger, checkpoint = prepared(path, settings)
    checkpoint.resume()
    for record in islice(checkpoint.kept(fit(training, TOKENS[:380], TOKENS[380:], eos=EOS)), records):
        ledger.add(record)
    return ledger


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


CASES = {
    "rnn-unclipped": {},
    "lstm-clipped": {"optimiser": "adam", "learning_rate": 0.01, "weight_dropout": 0.3, "embedding_dropout": 0.2},
    "bilstm-clipped": {"learning_rate": 30.0, "average_after": 1, "anneal_after": 1, "epochs": 4},
}


@pytest.mark.parametrize("arm", CASES)
def test_a_training_cut_off_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, arm: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut at random, again and again, until nothing is left to do."""
    settings, path = small(arm, **CASES[arm]), tmp_path / "checkpoints" / "arm.safetensors"
    whole = train(tmp_path / "none.safetensors", settings)
    whole.write(tmp_path / "whole", settings, "corpus")
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)  # after each step ...
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)  # ... whatever it takes
    cuts = np.random.default_rng(settings.train.epochs).integers(3, 14, 4).tolist()
    for cut in cuts:
        train(path, settings, cut)
    resumed = train(path, settings)
    # The untrained network's record comes first, and a kill right after a record loses that one.
    assert f"arm: training goes on after step {_steps_of(cuts)}, from {path}" in capsys.readouterr().err
    resumed.write(tmp_path / "resumed", settings, "corpus")
    assert contents(tmp_path / "whole") == contents(tmp_path / "resumed")
    assert list(path.parent.iterdir()) == [path]


def _steps_of(cuts: list[int]) -> int:
    """Steps kept of so many records each time; an epoch's record comes after every twelfth step."""
    kept = 0  # records after the untrained network's
    for index, cut in enumerate(cuts):
        kept += cut - 1 - (index == 0)
    return kept - kept // 13


def test_without_a_file_there_is_nothing_to_say_and_a_finished_one_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, checkpoint = prepared(tmp_path / "arm.safetensors", small("lstm-clipped"))
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
    """Before a file is written, and after: a folder may be there that no `finally` of the writing removes."""
    remove, calls = shutil.rmtree, iter(range(100))

    def interrupted(place: Path, **options: Any) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        remove(place, **options)

    path = tmp_path / "checkpoints" / "arm.safetensors"
    (path.parent / ".arm.partial").mkdir(parents=True)
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(path, small("lstm-clipped"))
    assert list(path.parent.iterdir()) == [path][:call]


def test_the_time_of_earlier_processes_counts(tmp_path: Path) -> None:
    settings = small("lstm-clipped")
    _, _, first = prepared(tmp_path / "arm.safetensors", settings)
    first.seconds = 1000.0
    first.write()
    training, ledger, second = prepared(tmp_path / "arm.safetensors", settings)
    second.resume()
    for record in second.kept(fit(training, TOKENS[:380], TOKENS[380:], eos=EOS)):
        ledger.add(record)
    assert 1000 < second.seconds < 1100


@pytest.mark.parametrize(
    ("changes", "corpus", "reason"),
    [
        ({"learning_rate": 2.0}, "corpus", "of another train.learning_rate: 1.0, now 2.0"),
        ({"hidden": 7, "embedding": 7}, "corpus", "of another network.embedding: 6, now 7"),
        ({}, "another", "of another corpus"),
    ],
)
def test_another_trainings_checkpoint_is_not_used(
    tmp_path: Path, changes: dict[str, Any], corpus: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path / "arm.safetensors", small("lstm-clipped"))[2].write()
    training, _, checkpoint = prepared(tmp_path / "arm.safetensors", small("lstm-clipped", **changes), corpus)
    checkpoint.resume()
    assert capsys.readouterr().err == f"arm: training starts anew: {checkpoint.path} is {reason}\n"
    assert training.step == 0


def test_another_codes_checkpoint_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path / "arm.safetensors", small("lstm-clipped"))[2].write()
    monkeypatch.setattr(checkpoints, "_code_digest", lambda: "edited")
    prepared(tmp_path / "arm.safetensors", small("lstm-clipped"))[2].resume()
    assert capsys.readouterr().err.endswith("is of another code\n")


@pytest.mark.parametrize("harm", ["emptied", "truncated", "one byte flipped"])
def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings, path = small("lstm-clipped"), tmp_path / "arm.safetensors"
    train(path, settings)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"emptied": b"", "truncated": content[:middle], "one byte flipped": flipped}[harm])
    training, ledger, checkpoint = prepared(path, settings)
    checkpoint.resume()
    said = capsys.readouterr().err
    assert f"starts anew: {path} is damaged" in said and said.count("\n") == 1
    assert training.step == 0 and not ledger.state()[1]["epochs"]
