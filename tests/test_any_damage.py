"""Whatever happens to a byte of a run, an evaluation, the probes or a checkpoint: it is told, never used."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import UserError
from unrolled.lab.checkpoint import Checkpoint
from unrolled.lab.evaluate import Text, evaluate
from unrolled.lab.fit import Training, fit
from unrolled.lab.ledger import Ledger
from unrolled.lab.probe import probe
from unrolled.lab.runs import Evaluation, Probes, Run
from unrolled.settings import PARAMS, Settings

ROOT = Path(__file__).parents[1]
V, EOS = 20, 1
TOKENS = (np.cumsum(np.random.default_rng(0).integers(0, 3, 200)) % V).astype(np.uint16)
TEXT = Text(TOKENS, TOKENS[:40], TOKENS[40:90], np.bincount(TOKENS, minlength=V), characters=200, eos=EOS)
ARM = "lstm-clipped"
READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "runs": (Run.read, f"train@{ARM}"),
    "evaluation": (Evaluation.read, f"evaluate@{ARM}"),
    "probes": (Probes.read, f"probe@{ARM}"),
}


class Trained(NamedTuple):
    place: Path
    settings: Settings


def tiny() -> Settings:
    whole = Settings.load(ROOT / PARAMS, ARM)
    changes: dict[str, dict[str, Any]] = {
        "network": {"embedding": 4, "hidden": 4},
        "train": {"epochs": 1, "columns": 4, "window": 8, "learning_rate": 1.0},
        "evaluate": {"bootstrap_samples": 5},
        "probe": {"contexts": [1, 3], "positions": 9, "lyapunov_steps": 9, "lyapunov_exponents": 3},
    }
    return whole.model_copy(
        update={name: getattr(whole, name).model_copy(update=change) for name, change in changes.items()}
    )


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    """What the stages leave of one tiny arm, and a checkpoint from the midst of its training."""
    made = Trained(Path(mkdtemp()), tiny())
    place, training = made.place, Training.of(made.settings, V)
    ledger = Ledger(training)
    checkpoint = Checkpoint(place / "arm.safetensors", training, ledger, made.settings, "corpus")
    for record in checkpoint.kept(fit(training, TOKENS[:150], TOKENS[150:], eos=EOS)):
        ledger.add(record)
        if training.step == 3:
            checkpoint.write()
            shutil.copy(checkpoint.path, place / "kept")
    shutil.copy(place / "kept", checkpoint.path)
    ledger.write(place / "runs" / ARM, made.settings, "corpus")
    nats = np.full(50, 2.0, dtype=np.float32)
    evaluate(place / "evaluation" / ARM, ARM, training.network, TEXT, made.settings.evaluate, (nats[:40], nats))
    norms, replay = pd.Series([1.0, 1.0]), partial(Training.of, made.settings, V)
    probe(place / "probes" / ARM, training.network, TEXT.test, nats, made.settings, EOS, norms, replay, TOKENS)
    yield made
    shutil.rmtree(place)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes | None]:
    """Bytes -> other bytes, or None for no file at all."""
    kind = draw(st.sampled_from(["removed", "emptied", "cut", "flipped", "flipped", "replaced", "longer"]))
    share, byte = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255))

    def done(content: bytes) -> bytes | None:
        at = int(share * len(content))
        return {
            "removed": None,
            "emptied": b"",
            "cut": content[:at],
            "flipped": content[:at] + bytes([content[at] ^ byte]) + content[at + 1 :],
            "replaced": content[:at] + (b"\n" if content[at : at + 1] == b" " else b" ") + content[at + 1 :],
            "longer": content + bytes([byte]),
        }[kind]

    return done


def put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", READERS)
@given(st.data(), damage())
def test_every_damage_to_a_directory_is_told(
    kind: str, trained: Trained, data: st.DataObject, damaged: Callable[[bytes], bytes | None]
) -> None:
    read, stage = READERS[kind]
    directory = trained.place / kind / ARM
    read(directory)
    path = data.draw(st.sampled_from(sorted(directory.iterdir())))
    content = path.read_bytes()
    after = damaged(content)
    put(path, after)
    try:
        if after == content:
            read(directory)
            return
        with pytest.raises(UserError) as caught:
            read(directory)
    finally:
        path.write_bytes(content)
    message = str(caught.value)
    assert str(path) in message and f"dvc repro -f -s {stage}" in message and "\n" not in message


@pytest.mark.parametrize("kind", READERS)
def test_a_file_that_came_later_is_told(kind: str, trained: Trained) -> None:
    read, stage = READERS[kind]
    extra = trained.place / kind / ARM / "notes.txt"
    extra.touch()
    with pytest.raises(UserError, match=rf"notes\.txt was not there when .* take it out, or .*{stage}"):
        read(extra.parent)
    extra.unlink()
    read(extra.parent)


@given(damage())
def test_a_damaged_checkpoint_is_told_and_training_starts_anew(
    trained: Trained, damaged: Callable[[bytes], bytes | None]
) -> None:
    path = trained.place / "arm.safetensors"
    content = path.read_bytes()
    after = damaged(content)
    training = Training.of(trained.settings, V)
    checkpoint = Checkpoint(path, training, Ledger(training), trained.settings, "corpus")
    put(path, after)
    said: list[str] = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.print", lambda line, **_: said.append(line))
            checkpoint.resume()
    finally:
        path.write_bytes(content)
    if after is None:
        assert not said
    elif after == content:
        assert "training goes on after step" in said[0]
    else:
        assert f"training starts anew: {path} is damaged" in said[0] and "\n" not in said[0]
    assert training.step == (3 if after == content else 0)
    assert len(list(islice(fit(training, TOKENS[:150], TOKENS[150:], eos=EOS), 2))) == 2


def test_numbers_of_another_type_are_not_those_that_were_written(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same bytes, read as whole numbers: a header's damage that leaves every tensor's bytes as they were."""
    path = trained.place / "arm.safetensors"
    content = path.read_bytes()
    at = content.index(b'"F32"', content.index(b'"weights/'))
    training = Training.of(trained.settings, V)
    path.write_bytes(content[:at] + b'"I32"' + content[at + 5 :])
    try:
        Checkpoint(path, training, Ledger(training), trained.settings, "corpus").resume()
    finally:
        path.write_bytes(content)
    assert "training starts anew" in capsys.readouterr().err and training.step == 0
